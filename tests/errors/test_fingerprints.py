"""Failures of one cause share a fingerprint, those of two causes do not."""

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from itertools import combinations
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from django_retrytasks import Discard, Retry, Snooze, exceptions
from django_retrytasks.errors.fingerprints import fingerprint, origin_of
from django_retrytasks.errors.reports import class_path
from django_retrytasks.exceptions import (
    AttemptTimedOut,
    MessageUnavailable,
    NotATask,
    NotImportable,
    ResultNotStorable,
    RetryTasksError,
    WorkerLost,
)
from django_retrytasks.worker.timeouts import call_briefly
from tests.errors.failing_code import (
    HERE,
    NOON,
    are_apart,
    are_one,
    fetch,
    group_of,
    pay,
    raised,
    stay_here,
    stay_there,
    unhurried,
)

ROOT = Path(__file__).parents[2]


class TestNoOwnLine:
    """Without a line of the site's own, the message is the cause."""

    def in_library(self, function: Callable[..., object], *args: object) -> BaseException:
        """Return what a library's function raises when a library calls it."""
        with ThreadPoolExecutor(1) as executor:
            exception = executor.submit(function, *args).exception()
        assert exception is not None
        assert exception.__traceback__ is not None
        assert origin_of(exception) == ""
        return exception

    def test_one_failure_at_two_places_of_the_input(self) -> None:
        texts = ["[1 2]", '["a", "b", "c" 4]']

        assert are_one(self.in_library(json.loads, text) for text in texts)

    def test_two_failures(self) -> None:
        failures = [self.in_library(json.loads, text) for text in ("[1 2]", "[", "{1}")]

        assert are_apart(failures)

    def test_one_failure_of_two_ids(self) -> None:
        failures = [
            self.in_library(HTTPConnection("shop.example.com").request, "GET", f"/orders/{order} a")
            for order in ("7", "88b")
        ]

        assert str(failures[0]) != str(failures[1])
        assert are_one(failures)

    def test_one_failure_of_two_values(self) -> None:
        assert are_one(self.in_library(int, text) for text in ("one", "the second", "it's 3"))

    def test_an_exception_that_was_never_raised(self) -> None:
        failures = [OSError(f"host {number} is down") for number in (1, 2)]

        assert failures[0].__traceback__ is None
        assert are_one(failures)
        assert are_apart([failures[0], OSError("host 1 is slow")])

    def test_two_tasks(self) -> None:
        failure = OSError("down")

        assert group_of(failure, "shop.tasks.pay") != group_of(failure, "shop.tasks.pay_again")

    def test_two_classes(self) -> None:
        assert are_apart([ValueError("no luck"), TypeError("no luck")])


class TestClassEnough:
    """Of what this package itself reports, the class is the cause."""

    def test_timeouts_at_two_lines(self) -> None:
        failures = [raised(call_briefly, stay_here, 0.01), raised(call_briefly, stay_there, 0.02)]

        assert {type(each) for each in failures} == {AttemptTimedOut}
        assert str(failures[0]) != str(failures[1])
        assert are_one(failures)

    def test_two_lost_workers(self) -> None:
        assert are_one([WorkerLost("ada:17:Process-1", NOON), WorkerLost("eve:4:Process-1:2")])

    def test_code_missing_on_one_host_and_broken_on_another(self) -> None:
        def import_broken() -> None:
            raise NotImportable("shop.tasks.send") from ImportError("no smtp")

        assert are_one([NotImportable("shop.tasks.send"), raised(import_broken)])

    def test_two_results_that_cannot_be_stored(self) -> None:
        name = "shop.tasks.send"

        assert are_one(
            [ResultNotStorable(name, "set at [0]"), ResultNotStorable(name, "bytes at [1]")]
        )

    def test_two_classes(self) -> None:
        failures = [AttemptTimedOut(1), WorkerLost("ada"), NotImportable("a"), NotATask("a", 1)]

        assert are_apart(failures)

    def test_two_tasks(self) -> None:
        lost = WorkerLost("ada")

        assert group_of(lost, "shop.tasks.pay") != group_of(lost, "shop.tasks.pay_again")

    def test_it_holds_for_every_exception_that_is_recorded(self) -> None:
        told = {each for each in vars(exceptions).values() if isinstance(each, type)}
        failures = {each for each in told if issubclass(each, BaseException)}
        for cls in failures - {RetryTasksError, Retry, Discard, Snooze, MessageUnavailable}:
            first, second = (fingerprint("a", class_path(cls), "", text) for text in ("x", "y"))

            assert first == second, cls

    def test_a_sites_own_subclass_is_as_any_other(self) -> None:
        class CardDeclined(WorkerLost):
            pass

        def charge(worker: str) -> None:
            raise CardDeclined(worker)

        assert origin_of(raised(charge, "ada")).endswith("charge: raise CardDeclined(worker)")


texts = st.text(st.characters()) | st.sampled_from(["", "\0", "a", ",", '"', '", "', "\ud800"])


class TestFingerprint:
    def test_it_stays_what_it_is_for_ever(self) -> None:
        place = ("shop.tasks.send", "builtins.OSError")

        with_origin = fingerprint(*place, "shop.mail.deliver: smtp.send(message)", "")
        without_origin = fingerprint(*place, "", "host 10.0.0.1 is down")

        assert str(with_origin) == "d4dfd870-9c77-8a85-be64-714344c36926"
        assert str(without_origin) == "24593b8f-2f35-8197-bb47-604f02447b94"

    def test_the_message_counts_only_without_an_origin(self) -> None:
        place = ("shop.tasks.send", "builtins.OSError")

        assert fingerprint(*place, "here", "one") == fingerprint(*place, "here", "two")
        assert fingerprint(*place, "", "one") != fingerprint(*place, "", "two")
        assert fingerprint(*place, "here", "") != fingerprint(*place, "", "here")

    @unhurried
    @given(texts, texts, texts, texts)
    def test_it_is_a_uuid_of_version_8(
        self, name: str, path: str, origin: str, message: str
    ) -> None:
        made = fingerprint(name, path, origin, message)

        assert (made.version, made.variant) == (8, uuid.RFC_4122)
        assert made == fingerprint(name, path, origin, message)

    @unhurried
    @given(texts, texts, texts)
    def test_no_part_runs_into_the_next(self, name: str, path: str, origin: str) -> None:
        joined = name + path + origin
        made = {
            fingerprint(joined[:first], joined[first:second], joined[second:], "")
            for first, second in combinations(range(len(joined) + 1), 2)
        }

        assert len(made) == len(joined) * (len(joined) + 1) // 2

    def test_it_is_the_same_in_every_process(self) -> None:
        failures = [raised(pay, 0), raised(fetch, 1), OSError("host 10.0.0.1 is down")]
        program = f"""
from {HERE} import *
print(*map(group_of, [raised(pay, 0), raised(fetch, 7), OSError("host 10.0.0.2 is down")]))
"""
        for seed in "1", "2":
            environment = os.environ | {"PYTHONHASHSEED": seed}
            run = subprocess.run(
                [sys.executable, "-c", f"import django; django.setup(){program}"],
                cwd=ROOT,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )

            assert run.stdout.split() == [str(group_of(each)) for each in failures], run.stderr


def test_every_one_can_be_stored_as_mariadb_takes_them() -> None:
    made = [fingerprint(f"shop.tasks.task_{n}", "builtins.OSError", "", "") for n in range(3000)]

    assert {one.version for one in made} == {8}
    assert 0x80 not in {one.bytes[8] for one in made}
