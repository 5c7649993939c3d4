"""``manage.py retrytasks breakers``."""

from __future__ import annotations

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from django_retrytasks.models import OpenBreaker

pytestmark = pytest.mark.django_db
NAME = "tests.support.service.calls"
BY_HOST = "tests.support.service.calls_host"


def told(*args: str) -> str:
    out = StringIO()
    call_command("retrytasks", *args, stdout=out)
    return out.getvalue()


def test_open_list_and_close() -> None:
    assert told("breakers") == ""
    assert (
        told("breakers", "open", NAME, "--reason", "it moves") == f"the breaker of {NAME} is open\n"
    )
    assert told("breakers", "open", NAME) == f"the breaker of {NAME} was open already\n"
    assert told("breakers", "open", BY_HOST, "--key", "a") == (
        f"the breaker of {BY_HOST} (a) is open\n"
    )

    first, second = told("breakers").splitlines()
    assert first.startswith(f"{NAME}: open since 20")
    assert first.endswith("it moves")
    assert second.startswith(f"{BY_HOST} (a): open since 20")
    listed = json.loads(told("breakers", "--json"))
    assert [(each["name"], each["key"], each["state"]) for each in listed] == [
        (NAME, "", "OPEN"),
        (BY_HOST, "a", "OPEN"),
    ]
    assert f"breaker open: {NAME}\n" in told("health")
    state = json.loads(told("health", "--json"))
    assert (state["ok"], state["breakers"][0]["reason"]) == (True, "it moves")

    assert told("breakers", "close", NAME) == f"the breaker of {NAME} is closed\n"
    assert OpenBreaker.objects.get().key == "a"


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        (("open",), "breakers open needs the dotted path"),
        (("open", "tests.support.tasks.echoes"), "has no breaker: pause it instead"),
        (("open", "no.such.task"), "no.such.task"),
        (("open", BY_HOST), 'each value of "host": give a key'),
        (("open", NAME, "--key", "a"), "give no key"),
        (("close", NAME), "was not open"),
    ],
)
def test_a_slip_is_refused(args: tuple[str, ...], problem: str) -> None:
    with pytest.raises(CommandError, match=problem):
        told("breakers", *args)
