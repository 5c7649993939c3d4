"""What a test asserts about its Tasks, and what it reads when that does not hold."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from pytest_django import Settings

from django_retrytasks.lifecycle import breakers
from django_retrytasks.testing import (
    advance,
    assert_alerted,
    assert_attempts,
    assert_enqueued,
    drain,
    failing,
    step,
    timeline,
)
from django_retrytasks.worker import run_next
from tests.support import service, tasks
from tests.support.driver import Driver
from tests.support.outage import NAME, let_the_probe_come
from tests.support.outage import new_worker as new_worker
from tests.support.service import down
from tests.support.third_party import tasks as plain

pytestmark = pytest.mark.django_db

ALERTS = "django_retrytasks.alerts"


class TestEnqueued:
    def test_returns_the_rows(self) -> None:
        results = [tasks.echoes.enqueue(n) for n in range(2)]

        rows = assert_enqueued(tasks.echoes, count=2)

        assert [str(row.pk) for row in rows] == [result.id for result in results]

    def test_counts_finished_tasks_too(self) -> None:
        tasks.echoes.enqueue(1)
        drain()

        [row] = assert_enqueued(tasks.echoes)

        assert row.is_finished

    @pytest.mark.parametrize(
        ("args", "kwargs"),
        [
            ((1,), {"other": date(2026, 1, 2)}),
            ((), {"value": 1, "other": date(2026, 1, 2)}),
            (None, {"other": date(2026, 1, 2), "value": 1}),
        ],
    )
    def test_takes_arguments_by_position_or_name(self, args: Any, kwargs: Any) -> None:
        tasks.echoes.enqueue(1, other=date(2026, 1, 2))
        tasks.echoes.enqueue(2, other=date(2026, 1, 2))

        assert len(assert_enqueued(tasks.echoes, args, kwargs)) == 1

    def test_compares_arguments_as_they_are_stored(self) -> None:
        tasks.echoes.enqueue((1, 2))

        assert_enqueued(tasks.echoes, [(1, 2)], count=1)
        assert_enqueued(tasks.echoes, [[1, 2]], {"other": None}, count=1)

    def test_knows_plain_tasks(self) -> None:
        plain.sends_receipt.enqueue(42)

        assert_enqueued(plain.sends_receipt, [42])

    def test_of_none_shows_what_was_enqueued_without_secrets(self) -> None:
        tasks.echoes.enqueue(1)
        tasks.echoes.enqueue({"password": "hunter2"})

        with pytest.raises(AssertionError) as error:
            assert_enqueued(tasks.echoes, [3])

        text = str(error.value)
        assert text.startswith(
            "expected at least 1 Tasks of tests.support.tasks.echoes with "
            "{'value': 3, 'other': None} enqueued, found 0\n"
        )
        assert text.count("PENDING, due now: {'value': ") == 2
        assert "hunter2" not in text

    def test_of_none_of_a_function_shows_the_other_ones(self) -> None:
        tasks.succeeds.enqueue()

        with pytest.raises(AssertionError, match=r"found 0\n  tests.support.tasks.succeeds .*due"):
            assert_enqueued(tasks.echoes)

    def test_counts_exactly(self) -> None:
        tasks.echoes.enqueue(1)

        assert assert_enqueued(tasks.succeeds, count=0) == []
        with pytest.raises(AssertionError, match=r"expected 0 Tasks of .*echoes enqueued, found 1"):
            assert_enqueued(tasks.echoes, count=0)

    def test_refuses_what_is_no_decorated_function(self) -> None:
        with pytest.raises(TypeError, match="takes a decorated function, not <built-in function"):
            assert_enqueued(len)  # type: ignore[arg-type]

    def test_refuses_arguments_that_the_function_does_not_take(self) -> None:
        with pytest.raises(TypeError, match="too many positional arguments"):
            assert_enqueued(tasks.succeeds, [1])


class TestAttempts:
    def test_returns_them(self) -> None:
        result = tasks.fails_twice.enqueue()
        drain(until=result)

        attempts = assert_attempts(result, ["FAILED", "FAILED", "SUCCEEDED"])

        assert [attempt.number for attempt in attempts] == [1, 2, 3]

    def test_are_none_before_it_runs(self) -> None:
        assert_attempts(tasks.succeeds.enqueue(), [])

    def test_have_the_countdowns_that_were_decided(self) -> None:
        result = tasks.always_fails.enqueue()
        drain(until=result)

        assert_attempts(result, ["FAILED"] * 4, countdowns=[5, 10, 20])
        with pytest.raises(AssertionError, match=r"were \[5.0, 10.0, 20.0\], expected \[5\]"):
            assert_attempts(result, ["FAILED"] * 4, countdowns=[5])

    def test_have_the_countdown_of_a_snooze(self) -> None:
        result = tasks.snoozes_once.enqueue()
        drain(until=result)

        assert_attempts(result, ["SNOOZED", "SUCCEEDED"], countdowns=[60])

    def test_have_the_countdown_of_a_probe(self, driver: Driver) -> None:
        breakers.open_breaker(NAME, probe_every=60)
        result = service.calls.enqueue()
        let_the_probe_come()
        with down():
            driver.attempt(result)

        assert_attempts(result, ["FAILED"], countdowns=[60])

    def test_may_have_jitter(self) -> None:
        result = tasks.echoes.enqueue(1)
        with failing(tasks.echoes):
            drain(until=result)

        assert_attempts(result, ["FAILED", "SUCCEEDED"], countdowns=[pytest.approx(3.75, abs=1.26)])

    def test_that_are_others_are_shown_as_a_timeline(self) -> None:
        result = tasks.always_fails.enqueue("no luck")
        step()
        advance()
        step()

        with pytest.raises(AssertionError) as error:
            assert_attempts(result, ["FAILED", "SUCCEEDED"])

        first, head, one, two, *trace = str(error.value).splitlines()
        assert first == "the attempts ended ['FAILED', 'FAILED'], expected ['FAILED', 'SUCCEEDED']"
        assert head.startswith(
            f"tests.support.tasks.always_fails {result.id}: RETRYING, retry 2 of"
        )
        assert ", due in " in head
        assert one.split("  ")[-1].strip() == "ConnectionError: no luck; retry 1 of 3 in 5 s"
        number, _, seconds, _, outcome, *_ = two.split()
        assert (number, outcome) == ("2", "FAILED")
        assert float(seconds) == pytest.approx(5, abs=2)
        assert trace[0] == "  the traceback of attempt 2 ends:"
        assert trace[-1] == "    ConnectionError: no luck"

    def test_refuse_an_unknown_outcome(self) -> None:
        with pytest.raises(ValueError, match=r"no outcome 'SUCCEDED'\. Did you mean \"SUCCEEDED\""):
            assert_attempts(tasks.succeeds.enqueue(), ["SUCCEDED"])

    def test_refuse_what_is_no_task(self) -> None:
        with pytest.raises(TypeError, match="give a Task's row or the result of enqueue"):
            assert_attempts("charge", ["FAILED"])  # type: ignore[arg-type]


class TestAlerted:
    @pytest.fixture(autouse=True)
    def _sinks(self, settings: Settings) -> None:
        settings.RETRYTASKS = {
            "ALERTS": [
                f"{ALERTS}.mail_admins",
                {"sink": f"{ALERTS}.mail", "name": "ann", "to": ["ann@example.com"]},
            ]
        }

    def test_returns_the_alerts_one_for_each_sink(self) -> None:
        result = tasks.fails_once_for_all.enqueue()
        drain()

        alerts = assert_alerted(result, count=2)

        assert {alert.subject for alert in alerts} == {
            "fails_once_for_all failed: ValueError (attempt 1)"
        }

    def test_asks_for_a_function_a_kind_and_a_sink(self) -> None:
        tasks.fails_once_for_all.enqueue()
        tasks.fails_in_a_library.using(max_retries=0).enqueue()
        drain()

        assert_alerted(count=4)
        assert_alerted(tasks.fails_in_a_library, kind="FAILING", sink="ann", count=1)
        assert_alerted(tasks.succeeds, count=0)
        with pytest.raises(
            AssertionError, match="expected at least 1 alerts, found 0 among these 6:"
        ):
            assert_alerted(kind="RECOVERED")

    def test_is_not_before_the_last_attempt(self) -> None:
        result = tasks.always_fails.enqueue()
        drain()

        with pytest.raises(
            AssertionError, match=r"found 0 among these 0:\n.*RETRYING, retry 1 of 3"
        ):
            assert_alerted(result)

    def test_says_that_alerts_wait(self) -> None:
        result = tasks.fails_once_for_all.enqueue()
        step()
        run_next()  # the announcement, which enqueues the alerts

        with pytest.raises(AssertionError, match="more not run yet: call drain"):
            assert_alerted(result)

    def test_refuses_to_be_about_anything_else(self) -> None:
        with pytest.raises(TypeError, match="about must be a Task's row, the result of "):
            assert_alerted(about="x")  # type: ignore[arg-type]

    def test_refuses_an_unknown_kind(self) -> None:
        with pytest.raises(ValueError, match="no kind 'FAILED' of alerts"):
            assert_alerted(kind="FAILED")

    def test_knows_the_alerts_that_the_immediate_backend_kept(self, settings: Settings) -> None:
        path = "django_retrytasks.testing.ImmediateBackend"
        settings.TASKS = {"default": {"BACKEND": path, "QUEUES": []}}

        result = tasks.fails_once_for_all.enqueue()

        assert_alerted(result, sink="ann")


def test_timeline_of_a_task_that_has_not_run() -> None:
    result = tasks.succeeds.enqueue()

    assert timeline(result) == (
        f"tests.support.tasks.succeeds {result.id}: PENDING, due now\n  no attempt yet"
    )


def test_timeline_of_a_running_task(driver: Driver) -> None:
    result = tasks.succeeds.enqueue()
    driver.claim()

    assert "RUNNING, its lease ends in " in timeline(result)
