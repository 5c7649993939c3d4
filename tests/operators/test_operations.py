"""An operator's verb for many Tasks: in chunks, at a rate, behind a canary, to be stopped."""

from __future__ import annotations

import io
import os
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from django_retrytasks import Snooze, lifecycle, retry_task, worker
from django_retrytasks.models import FailureGroup, Operation, Status, Task
from django_retrytasks.operators import operations
from tests.support import tasks
from tests.support.driver import KEY, Driver
from tests.support.unique import ships_once

pytestmark = pytest.mark.django_db

VERB = Operation.VerbName
STATUS = Operation.Status
HERE = "tests.operators.test_operations"
mood = {"fails": True}


@retry_task(max_retries=0)
def sends(number: int) -> None:
    if mood["fails"] or number < 0:
        raise ConnectionError(f"refused: {number}")


@pytest.fixture(autouse=True)
def _no_alerts_and_small_chunks(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.RETRYTASKS = {"ALERTS": []}
    monkeypatch.setattr(operations, "CHUNK", 7)
    mood["fails"] = True


def fail(driver: Driver, count: int, *, of: Any = sends) -> FailureGroup:
    """Have so many Tasks fail for good; return their group."""
    of.enqueue_many([(n,) for n in range(count)])
    driver.drain()
    group: FailureGroup = FailureGroup.objects.get(name=of.module_path)
    return group


def statuses(name: str = f"{HERE}.sends") -> dict[str, int]:
    rows = Task.objects.filter(name=name).values_list("status", flat=True)
    return {status: list(rows).count(status) for status in set(rows)}


def fresh(operation: Operation) -> Operation:
    operation.refresh_from_db()
    return operation


class TestStart:
    def test_all_that_a_selection_matches_are_redriven_in_chunks(self, driver: Driver) -> None:
        group = fail(driver, 20)
        tasks.fails_once_for_all.enqueue()
        driver.drain()
        mood["fails"] = False

        operation = operations.start(
            VERB.REDRIVE, {"failure_group": str(group.pk)}, by="ada", reason="server is back"
        )
        assert (operation.matched_count, operation.status) == (20, STATUS.RUNNING)
        driver.drain()

        assert statuses() == {"SUCCEEDED": 20}
        assert statuses("tests.support.tasks.fails_once_for_all") == {"FAILED": 1}
        row = fresh(operation)
        assert (row.status, row.done_count, row.skipped_count) == (STATUS.DONE, 20, 0)
        assert (row.started_by, row.reason) == ("ada", "server is back")
        assert row.finished_at is not None

    def test_tasks_enqueued_after_it_began_are_left_alone(self, driver: Driver) -> None:
        fail(driver, 3)
        operation = operations.start(VERB.DISCARD, {"name": f"{HERE}.sends"})
        later = [sends.enqueue(n) for n in range(3)]

        driver.drain()

        assert {driver.row(result).status for result in later} == {Status.FAILED}
        assert fresh(operation).done_count == 3

    def test_what_fails_again_is_not_redriven_for_ever(self, driver: Driver) -> None:
        fail(driver, 10)
        operation = operations.start(VERB.REDRIVE, {"name": f"{HERE}.sends"})

        driver.drain()

        assert statuses() == {"FAILED": 10}
        assert fresh(operation).done_count == 10
        assert {task.attempt_count for task in Task.objects.filter(internal=False)} == {2}

    @pytest.mark.parametrize(
        ("verb", "status", "becomes"),
        [
            (VERB.RUN_NOW, Status.RETRYING, "SUCCEEDED"),
            (VERB.DISCARD, Status.PENDING, "DISCARDED"),
            (VERB.CANCEL, Status.RUNNING, "DISCARDED"),
        ],
    )
    def test_the_other_verbs(self, driver: Driver, verb: str, status: Status, becomes: str) -> None:
        task = driver.task_in(status)

        operations.start(verb, {"status": status})
        for _ in range(3):
            driver.run_due()

        assert driver.row(task).status == becomes

    def test_a_cancel_is_signed(self, driver: Driver) -> None:
        task = driver.task_in(Status.PENDING)

        operations.start(VERB.CANCEL, {"name": task.name}, by="anna", reason="wrong file")
        for _ in range(3):
            driver.run_due()

        assert driver.row(task).stop_note == "cancelled by anna: wrong file"

    def test_snooze(self, driver: Driver) -> None:
        task = driver.task_in(Status.PENDING)

        operations.start(VERB.SNOOZE, {"name": task.name}, countdown=3600)
        for _ in range(3):
            driver.run_due()

        assert driver.row(task).status == Status.PENDING

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"verb": "REDRVE"}, "there is no verb 'REDRVE'. Did you mean \"REDRIVE\"?"),
            ({"verb": VERB.SNOOZE}, "SNOOZE needs a countdown"),
            ({"countdown": 5}, "REDRIVE takes no countdown"),
            ({"per_minute": 0}, "per_minute must be from 1"),
            ({"canary": -1}, "canary must be from 0"),
            ({"verb": VERB.DISCARD, "canary": 1}, "DISCARD takes no canary"),
            ({"selection": {"naem": "x"}}, "unknown condition 'naem'. Did you mean \"name\"?"),
            ({"selection": {"status": "FALED"}}, 'Did you mean "FAILED"?'),
            ({"selection": {"failure_group": "x"}}, "'x' is no fingerprint"),
        ],
    )
    def test_what_cannot_be_is_refused_at_once(self, options: Any, message: str) -> None:
        given = {"verb": VERB.REDRIVE, "selection": {"name": "x"}, **options}

        with pytest.raises((TypeError, ValueError), match=message.replace("?", r"\?")):
            operations.start(given.pop("verb"), given.pop("selection"), **given)

        assert not Operation.objects.exists()


class TestCanary:
    def test_the_others_follow_once_all_of_the_canary_succeeded(self, driver: Driver) -> None:
        fail(driver, 12)
        mood["fails"] = False
        operation = operations.start(VERB.REDRIVE, {"name": f"{HERE}.sends"}, canary=3)

        worker.run(KEY)
        assert len(fresh(operation).canary_ids) == 3
        driver.drain()

        assert statuses() == {"SUCCEEDED": 12}
        assert fresh(operation).status == STATUS.DONE

    def test_it_stops_when_one_of_the_canary_fails_again(self, driver: Driver) -> None:
        fail(driver, 12)
        operation = operations.start(VERB.REDRIVE, {"name": f"{HERE}.sends"}, canary=3)

        driver.drain()

        row = fresh(operation)
        assert (row.status, row.done_count) == (STATUS.STOPPED, 3)
        assert row.stopped_because == "canary: 3 of 3 did not succeed"
        counts = [task.attempt_count for task in Task.objects.filter(name=f"{HERE}.sends")]
        assert sorted(counts) == [1] * 9 + [2] * 3

    def test_one_whose_unique_key_another_task_holds_is_skipped(self, driver: Driver) -> None:
        ships_once.enqueue_many([{"order": n, "fails": True} for n in range(6)])
        driver.drain()
        Task.objects.filter(name=ships_once.module_path).update(kwargs={"order": 0})
        later = timezone.now() + timedelta(days=1)
        ships_once.using(run_after=later).enqueue_many([(order,) for order in (0, 1, 4)])
        operation = operations.start(VERB.REDRIVE, {"name": ships_once.module_path}, canary=2)

        for _ in range(10):
            driver.make_due(*Task.objects.unfinished().filter(internal=True))
            driver.run_due()

        row = fresh(operation)
        assert (row.status, row.done_count, row.skipped_count) == (STATUS.DONE, 3, 3)
        assert statuses(ships_once.module_path) == {"SUCCEEDED": 3, "FAILED": 3, "PENDING": 3}

    def test_it_waits_while_the_canary_is_unfinished(self, driver: Driver) -> None:
        fail(driver, 5)
        operation = operations.start(VERB.REDRIVE, {"name": f"{HERE}.sends"}, canary=2)

        for _ in range(2):
            with pytest.raises(Snooze):
                run_alone(operation)

            assert fresh(operation).done_count == 2


def run_alone(operation: Operation) -> None:
    """Run an attempt of the operation's internal Task, and nothing else."""
    context: Any = None
    operations.run_operation.func(context, str(operation.pk))


class TestRate:
    def test_a_chunk_is_followed_by_the_wait_that_keeps_the_rate(self, driver: Driver) -> None:
        fail(driver, 10)
        operation = operations.start(VERB.DISCARD, {"name": f"{HERE}.sends"}, per_minute=24)

        with pytest.raises(Snooze) as waits:
            run_alone(operation)

        assert waits.value.countdown == 10
        assert fresh(operation).done_count == 4

    def test_it_goes_on_to_the_end(self, driver: Driver) -> None:
        fail(driver, 10)
        operation = operations.start(VERB.DISCARD, {"name": f"{HERE}.sends"}, per_minute=24)

        driver.drain()

        assert statuses() == {"DISCARDED": 10}
        assert fresh(operation).status == STATUS.DONE


class TestStop:
    def test_what_is_done_stays_done_and_the_rest_is_left(self, driver: Driver) -> None:
        fail(driver, 10)
        operation = operations.start(VERB.DISCARD, {"name": f"{HERE}.sends"}, per_minute=24)
        worker.run(KEY)

        assert operations.stop(operation.pk, "by ada")
        driver.drain()

        assert statuses() == {"DISCARDED": 4, "FAILED": 6}
        row = fresh(operation)
        assert (row.status, row.stopped_because) == (STATUS.STOPPED, "by ada")
        assert not operations.stop(operation.pk, "again")

    def test_a_selection_of_another_version_stops_it(self, driver: Driver) -> None:
        fail(driver, 2)
        operation = operations.start(VERB.DISCARD, {"name": f"{HERE}.sends"})
        Operation.objects.update(selection={"flavour": "sweet"})

        driver.drain()

        assert fresh(operation).status == STATUS.STOPPED
        assert "flavour" in operation.stopped_because


def test_a_crash_in_a_chunk_repeats_and_skips_nothing(driver: Driver) -> None:
    group = fail(driver, 10)
    operation = operations.start(VERB.REDRIVE, {"failure_group": str(group.pk)})
    [internal] = lifecycle.claim_inline(
        Task.objects.filter(internal=True).unfinished().values_list("pk", flat=True),
        worker=f"host:{os.getpid()}:one",
    ).tasks
    assert internal.name.endswith("run_operation")

    driver.make_due(internal)
    driver.drain()

    assert fresh(operation).done_count == 10
    assert {task.attempt_count for task in Task.objects.filter(internal=False)} == {2}


def told(*args: str) -> str:
    out = io.StringIO()
    call_command("retrytasks", *args, stdout=out)
    return out.getvalue()


class TestCommand:
    def test_goes_by_a_search_and_not_by_an_empty_one(self, driver: Driver) -> None:
        task = driver.attempt(tasks.ships.enqueue("A-7", fails=True))
        driver.attempt(tasks.ships.enqueue("B-8", fails=True))

        assert told("redrive", "--search", "key: A-7", "--dry-run") == "1 would be re-driven\n"
        for words in ("", " ", "key:"):
            with pytest.raises(CommandError, match=f"no Task matches '{words}'"):
                told("redrive", "--search", words)
        assert not Operation.objects.exists()
        assert driver.row(task).status == Status.FAILED

    def test_a_dry_run_counts_and_changes_nothing(self, driver: Driver) -> None:
        group = fail(driver, 5)

        assert told("redrive", "--group", str(group.pk), "--dry-run") == "5 would be re-driven\n"

        assert statuses() == {"FAILED": 5}
        assert not Operation.objects.exists()

    def test_a_group_is_redriven_and_listed(self, driver: Driver) -> None:
        group = fail(driver, 5)
        mood["fails"] = False

        began = told("redrive", "--group", str(group.pk), "--canary", "2", "--reason", "mended")
        driver.drain()

        operation = Operation.objects.get()
        assert began == f"operation {operation.pk} began: 5 to be re-driven\n"
        assert operation.reason == "mended"
        assert told("operations").split() == [
            str(operation.pk), "REDRIVE", "DONE", *["5", "of", "5", "done,", "0", "skipped"]
        ]  # fmt: skip

    def test_one_is_stopped(self, driver: Driver) -> None:
        fail(driver, 3)
        told("discard", "--task", f"{HERE}.sends", "--per-minute", "1")
        pk = str(Operation.objects.get().pk)

        assert told("stop", pk) == "1 stopped, 0 skipped\n"
        with pytest.raises(CommandError, match="0 stopped, 1 skipped"):
            told("stop", pk)

    @pytest.mark.parametrize("args", [[], [str(uuid.uuid4()), "--task", "x"]])
    def test_ids_or_a_selection(self, args: list[str]) -> None:
        with pytest.raises(CommandError, match="give either ids or a selection"):
            told("redrive", *args)

    def test_a_wrong_selection_is_told(self) -> None:
        with pytest.raises(CommandError, match="there is no status 'LOST'"):
            told("redrive", "--status", "LOST")
