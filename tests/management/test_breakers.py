"""``manage.py retrytasks breakers``."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from django_retrytasks.models import OpenBreaker
from tests.checks.sites import bare_site

pytestmark = pytest.mark.django_db
NAME = "tests.support.service.calls"
SHOP = "from django_retrytasks import retry_task\n@retry_task\ndef charge() -> None: ..."
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
        (("close", NAME), r"was not open\. There is none to choose from\.$"),
    ],
)
def test_a_slip_is_refused(args: tuple[str, ...], problem: str) -> None:
    with pytest.raises(CommandError, match=problem):
        told("breakers", *args)


def test_where_no_function_has_one_it_says_so(tmp_path: Path) -> None:
    site = bare_site(
        tmp_path, apps=["django.contrib.contenttypes", "django_q", "django_retrytasks"]
    )
    site("migrate")
    (tmp_path / "shop.py").write_text(SHOP)

    told = site("retrytasks", "breakers", "open", "shop.charge")

    assert told == (
        "CommandError: shop.charge has no breaker: pause it instead. There is none to choose "
        "from.\n"
    )
