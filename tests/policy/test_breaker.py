"""A Breaker checks its arguments when it is made, and a task the parameter that it names."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import pytest

from django_retrytasks import Breaker, retry_task

decorate: Any = retry_task


class Down(ConnectionError): ...


def posts(host: str, *hosts: str, token: str = "") -> None: ...


def test_its_arguments_are_kept_in_plain_types() -> None:
    breaker = Breaker(on=OSError, probe_every=timedelta(minutes=1), by="host")

    assert (breaker.on, breaker.failures) == ((OSError,), 10)
    assert (breaker.probe_every, breaker.by) == (60.0, "host")
    assert Breaker(on=[OSError]) == Breaker(on=(OSError,))
    with pytest.raises(dataclasses.FrozenInstanceError):
        breaker.by = ""  # type: ignore[misc]


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"failures": 0}, "failures must be from 1"),
        ({"failures": 2.5}, "failures must be an int"),
        ({"on": ()}, "on must hold the exception classes of a service that is down"),
        ({"on": "OSError"}, "on must hold exception classes, not the name of one"),
        ({"on": (OSError, int)}, "on must hold exception classes only"),
        ({"probe_every": 0}, "probe_every must be above 0"),
        ({"probe_every": "soon"}, "probe_every must be seconds"),
        ({"by": 5}, "by must be a string"),
    ],
)
def test_a_wrong_one_is_an_error_that_names_it(wrong: dict[str, Any], problem: str) -> None:
    with pytest.raises((TypeError, ValueError), match=problem):
        Breaker(**{"on": OSError, **wrong})


@pytest.mark.parametrize(
    ("error", "counts"),
    [
        (ConnectionError(), True),
        (Down(), True),
        (OSError(), False),
        (ExceptionGroup("", [ValueError(), ExceptionGroup("", [Down()])]), True),
        (ExceptionGroup("", [ValueError()]), False),
    ],
)
def test_subclasses_and_leaves_of_groups_count(error: Exception, counts: bool) -> None:
    assert Breaker(on=ConnectionError).counts(error) is counts


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (
            {"breaker": Breaker(on=OSError, by="hots")},
            "breaker names 'hots', which is no parameter",
        ),
        (
            {"breaker": Breaker(on=OSError, by="token"), "sensitive": ["token"]},
            "breaker names 'token', which is sensitive",
        ),
        (
            {"breaker": Breaker(on=OSError, by="hosts")},
            "breaker names 'hosts', which collects any number of arguments",
        ),
        ({"breaker": 10}, "breaker must be a Breaker"),
    ],
)
def test_a_task_refuses_one_that_does_not_fit_it(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(TypeError, match=problem):
        decorate(**options)(posts)
