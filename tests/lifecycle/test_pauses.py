"""A paused queue or function: its due Tasks wait, uncharged, and go on when it is resumed."""

from __future__ import annotations

import io
import uuid
from datetime import timedelta
from getpass import getuser
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.db.models import F
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django_q.models import OrmQ

from django_retrytasks import health, lifecycle, worker
from django_retrytasks.database import DatabaseNow
from django_retrytasks.lifecycle import lanes, pauses
from django_retrytasks.models import Attempt, Pause, Status, Task
from tests.support import tasks
from tests.support.driver import KEY, Driver, in_another_session

pytestmark = pytest.mark.django_db

ECHOES = "tests.support.tasks.echoes"


def waits(of: Any, driver: Driver) -> bool:
    row = driver.row(of)
    return row.status == Status.PENDING and not row.attempt_count


class TestQueue:
    def test_its_due_tasks_wait_uncharged_until_it_is_resumed(self, driver: Driver) -> None:
        pauses.pause(queue_name="mail")
        result = tasks.echoes.using(queue_name="mail").enqueue(1)
        other = tasks.echoes.enqueue(2)

        driver.run_due()

        assert waits(result, driver)
        assert driver.row(other).status == Status.SUCCEEDED
        assert pauses.resume(queue_name="mail")
        driver.run_due()
        assert driver.row(result).status == Status.SUCCEEDED
        assert [attempt.number for attempt in driver.attempts(result)] == [1]

    def test_what_announces_its_failures_goes_on(self, driver: Driver) -> None:
        tasks.fails_once_for_all.using(queue_name="mail").enqueue()
        driver.run_due()
        pauses.pause(queue_name="mail")
        due = tasks.echoes.using(queue_name="mail", priority=100).enqueue(1)

        for _ in range(5):
            driver.run_due()

        assert not Task.objects.filter(internal=True).unfinished().exists()
        assert waits(due, driver)
        pauses.resume(queue_name="mail")
        driver.run_due()
        assert driver.row(due).status == Status.SUCCEEDED

    def test_the_sweep_rings_for_none_of_it(self) -> None:
        tasks.echoes.using(queue_name="mail").enqueue(1)
        OrmQ.objects.all().delete()
        pauses.pause(queue_name="mail")

        lifecycle.sweep()
        assert not OrmQ.objects.exists()

        pauses.resume(queue_name="mail")
        assert OrmQ.objects.exists()

    def test_health_tells_of_it_and_counts_no_lag(self, driver: Driver) -> None:
        driver.make_due(tasks.echoes.using(queue_name="mail").enqueue(1))
        pauses.pause(queue_name="mail")

        found = health.check()

        [queue] = found.queues
        assert (queue.queue_name, queue.is_paused, queue.due_count) == ("mail", True, 1)
        assert found.lag == 0


class TestFunction:
    def test_its_due_tasks_wait_uncharged_until_it_is_resumed(self, driver: Driver) -> None:
        pauses.pause(name=ECHOES)
        result = tasks.echoes.enqueue(1)
        other = tasks.succeeds.enqueue()

        for _ in range(3):
            driver.run_due()

        assert waits(result, driver)
        assert driver.row(result).is_parked
        assert driver.row(other).status == Status.SUCCEEDED
        assert pauses.resume(name=ECHOES)
        assert not driver.row(result).is_parked
        driver.run_due()
        assert driver.row(result).status == Status.SUCCEEDED

    def test_a_retry_waits_and_keeps_its_moment(self, driver: Driver) -> None:
        result = tasks.always_fails.enqueue()
        driver.run_due()
        retry_at = driver.row(result).run_after
        pauses.pause(name="tests.support.tasks.always_fails")
        driver.run_due()
        assert driver.row(result).run_after == retry_at

        Task.objects.update(run_after=DatabaseNow() - timedelta(1), queued_at=retry_at)
        driver.run_due()

        assert driver.row(result).is_parked
        assert driver.row(result).status == Status.RETRYING
        pauses.resume(name="tests.support.tasks.always_fails")
        assert driver.row(result).run_after == retry_at

    def test_a_resume_ends_beside_a_row_written_for_the_moment_of_parked_ones(
        self, driver: Driver
    ) -> None:
        pauses.pause(name=ECHOES)
        parked, other = tasks.echoes.enqueue(1), tasks.echoes.enqueue(2)
        driver.run_due()
        Task.objects.filter(pk=other.id).update(queued_at=F("run_after"))

        assert pauses.resume(name=ECHOES)

        driver.run_due()
        assert driver.row(parked).status == Status.SUCCEEDED

    def test_many_of_them_do_not_hide_others_behind_them(self, driver: Driver) -> None:
        pauses.pause(name=ECHOES)
        tasks.echoes.enqueue_many([(n,) for n in range(300)])
        behind = tasks.succeeds.enqueue()

        for _ in range(3):
            driver.run_due()

        assert driver.row(behind).status == Status.SUCCEEDED
        assert not Attempt.objects.filter(task__name=ECHOES).exists()
        assert Task.objects.due().count() == 0

    def test_one_that_runs_is_not_interrupted(self, driver: Driver) -> None:
        tasks.echoes.enqueue(1)
        [task] = driver.claim().tasks
        pauses.pause(name=ECHOES)

        [settled] = lifecycle.settle([driver.ending(task)])

        assert settled.ending.task.status == Status.SUCCEEDED

    def test_a_lost_attempt_is_recorded_and_its_retry_waits(self, driver: Driver) -> None:
        result = tasks.echoes.enqueue(1)
        driver.claim()
        driver.make_due(result)
        pauses.pause(name=ECHOES)

        for _ in range(3):
            driver.attempt(result)

        assert [attempt.outcome for attempt in driver.attempts(result)] == ["LOST"]
        assert driver.row(result).is_parked

    def test_a_parked_task_can_be_discarded_and_snoozed(self, driver: Driver) -> None:
        pauses.pause(name=ECHOES)
        first, second = tasks.echoes.enqueue_many([(1,), (2,)])
        driver.run_due()

        assert lifecycle.discard([uuid.UUID(first.id)]) == 1
        assert lifecycle.snooze([uuid.UUID(second.id)], 60) == 1

        assert driver.row(first).status == Status.DISCARDED
        assert not driver.row(second).is_parked

    def test_paused_twice_over_it_waits_for_both(self, driver: Driver) -> None:
        pauses.pause(name=ECHOES)
        result = tasks.echoes.using(queue_name="mail").enqueue(1)
        driver.run_due()
        pauses.pause(queue_name="mail")

        pauses.resume(name=ECHOES)
        driver.run_due()
        assert waits(result, driver)

        pauses.resume(queue_name="mail")
        driver.run_due()
        assert driver.row(result).status == Status.SUCCEEDED

    def test_a_claim_parks_nothing_that_was_resumed_meanwhile(self, driver: Driver) -> None:
        pauses.pause(name=ECHOES)
        known = lanes.paused_now()
        result = tasks.echoes.enqueue(1)
        pauses.resume(name=ECHOES)

        due = lanes.survey().for_cluster(KEY).due
        lifecycle.claim(due, limit=1, worker="host:1:one", paused=known)

        assert not driver.row(result).is_parked

    def test_a_claim_beside_parked_tasks_reads_few_rows(self, driver: Driver) -> None:
        pauses.pause(name=ECHOES)
        tasks.echoes.enqueue_many([(n,) for n in range(200)])
        driver.run_due()

        with CaptureQueriesContext(connection) as queries:
            driver.run_due()

        parking = [q["sql"] for q in queries if 'FROM "retrytasks_pause"' in q["sql"].upper()]
        assert len(queries) < 12, parking

    @pytest.mark.django_db(transaction=True)
    def test_a_resume_waits_for_a_claim_that_parks(self, driver: Driver) -> None:
        if not connection.features.has_select_for_update:
            pytest.skip("there is one writer at a time")
        pauses.pause(name=ECHOES)
        result = tasks.echoes.enqueue(1)
        known, task = lanes.paused_now(), driver.row(result)

        with transaction.atomic():
            pauses.park([task])
            resuming = in_another_session(lambda: pauses.resume(name=ECHOES))
            assert known.holds(task)

        assert resuming.result()
        assert not driver.row(result).is_parked


class TestVerbs:
    @pytest.mark.parametrize("given", [{}, {"queue_name": "a", "name": "b"}])
    @pytest.mark.parametrize("verb", [pauses.pause, pauses.resume])
    def test_one_thing_at_a_time(self, verb: Any, given: dict[str, str]) -> None:
        with pytest.raises(TypeError, match="give either queue_name or name"):
            verb(**given)

    def test_pausing_and_resuming_twice_changes_nothing(self) -> None:
        assert pauses.pause(queue_name="mail", by="ada", reason="first")
        assert not pauses.pause(queue_name="mail", by="bob", reason="second")
        assert Pause.objects.get().paused_by == "ada"

        assert pauses.resume(queue_name="mail")
        assert not pauses.resume(queue_name="mail")

    @pytest.mark.parametrize("what", ["queue_name", "name"])
    def test_a_resume_is_of_this_very_name(self, driver: Driver, what: str) -> None:
        pauses.pause(**{what: "mail"})

        for other in ("Mail", "máil", "mail "):
            assert not pauses.resume(**{what: other})

        assert Pause.objects.exists()
        assert pauses.resume(**{what: "mail"})

    def test_a_pause_waits_for_no_other_name(self, driver: Driver) -> None:
        pauses.pause(name=ECHOES)
        result = tasks.echoes.enqueue(1)
        driver.run_due()
        pauses.pause(queue_name="mail")
        Pause.objects.filter(name=ECHOES).update(name=ECHOES.title())

        pauses.resume(queue_name="mail")

        assert not driver.row(result).is_parked

    def test_a_waiting_task_runs_now(self, driver: Driver) -> None:
        result = tasks.always_fails.enqueue()
        driver.run_due()

        assert lifecycle.run_now([uuid.UUID(result.id)]) == 1
        driver.run_due()

        assert [attempt.number for attempt in driver.attempts(result)] == [1, 2]
        assert lifecycle.run_now([driver.task_in(Status.FAILED).pk]) == 0

    def test_a_snoozed_task_waits_longer_and_spends_no_retry(self, driver: Driver) -> None:
        result = tasks.echoes.enqueue(1)

        assert lifecycle.snooze([uuid.UUID(result.id)], 3600) == 1
        driver.run_due()

        row = driver.row(result)
        assert (row.status, row.retry_count, row.attempt_count) == (Status.PENDING, 0, 0)
        assert Task.objects.filter(run_after__gt=DatabaseNow() + timedelta(minutes=59)).exists()

    @pytest.mark.parametrize("countdown", [-1, 367 * 86_400, "soon"])
    def test_a_snooze_has_its_bounds(self, countdown: Any) -> None:
        with pytest.raises((TypeError, ValueError), match="countdown must be"):
            lifecycle.snooze([], countdown)

    @pytest.mark.parametrize("status", [Status.PENDING, Status.RETRYING, Status.RUNNING])
    def test_an_unfinished_task_is_cancelled(self, driver: Driver, status: Status) -> None:
        task = driver.task_in(status)

        assert lifecycle.cancel([task.pk]) == 1

        row = driver.row(task)
        assert (row.status, row.stop_reason) == (Status.DISCARDED, "CANCELLED")
        assert row.claim_token is None
        assert row.finished_at is not None

    def test_what_comes_of_a_cancelled_run_is_refused(self, driver: Driver) -> None:
        tasks.echoes.enqueue(1)
        [task] = driver.claim().tasks
        lifecycle.cancel([task.pk])

        assert lifecycle.settle([driver.ending(task)]) == []
        assert driver.row(task).status == Status.DISCARDED


def told(*args: str) -> str:
    out = io.StringIO()
    call_command("retrytasks", *args, stdout=out)
    return out.getvalue()


class TestCommand:
    def test_pause_list_and_resume(self) -> None:
        tasks.echoes.using(queue_name="mail").enqueue(1)
        assert told("pause", "--queue", "mail", "--reason", "server moves") == "mail is paused\n"
        assert told("pause", "--queue", "mail") == "mail was paused already\n"
        told("pause", "--task", ECHOES)

        listed = told("pauses")
        assert listed.startswith("queue mail, since 20")
        assert "server moves\n" in listed
        assert f"task {ECHOES}, since 20" in listed

        assert told("resume", "--queue", "mail") == "mail is resumed\n"
        with pytest.raises(CommandError, match="mail was not paused"):
            told("resume", "--queue", "mail")

    @pytest.mark.parametrize(("option", "name"), [("--queue", "mail"), ("--task", ECHOES)])
    def test_a_name_in_another_case_is_paused_or_refused(self, option: str, name: str) -> None:
        told("pause", option, name.title(), "--force")

        if connection.vendor == "mysql":
            with pytest.raises(CommandError, match=f"is paused, and this database takes {name}"):
                told("pause", option, name, "--force")
        else:
            assert told("pause", option, name, "--force") == f"{name} is paused\n"

    def test_a_queue_in_another_case_is_unknown(self) -> None:
        tasks.echoes.using(queue_name="Mail").enqueue(1)

        with pytest.raises(CommandError, match="mail"):
            told("pause", "--queue", "mail")

        assert not Pause.objects.exists()

    def test_health_shows_what_is_paused(self) -> None:
        tasks.echoes.using(queue_name="mail").enqueue(1)
        told("pause", "--queue", "mail")
        told("pause", "--task", ECHOES)

        text = told("health")

        assert "paused\n" in text
        assert f"paused: {ECHOES}\n" in text

    def test_the_verbs_of_single_tasks(self, driver: Driver) -> None:
        ids = [result.id for result in tasks.echoes.enqueue_many([(1,), (2,)])]

        assert told("snooze", *ids, "--for", "60") == "2 snoozed, 0 skipped\n"
        assert told("run-now", ids[0]) == "1 made due, 0 skipped\n"
        assert told("cancel", *ids, "--reason", "no need") == "2 cancelled, 0 skipped\n"
        notes = set(Task.objects.values_list("stop_note", flat=True))
        assert notes == {f"cancelled by {getuser()}: no need"}
        with pytest.raises(CommandError, match="0 cancelled, 1 skipped"):
            told("cancel", ids[0])


def test_the_list_says_that_a_task_is_paused(driver: Driver, admin_client: Client) -> None:
    pauses.pause(name=ECHOES)
    result = tasks.echoes.enqueue(1)
    worker.run(KEY)
    Task.objects.update(queued_at=F("queued_at") - timedelta(minutes=5))

    assert "paused for 5" in admin_client.get("/admin/retrytasks/task/").content.decode()
    page = admin_client.get(f"/admin/retrytasks/task/{result.id}/change/").content.decode()
    assert "waits until its queue or function is resumed" in page
