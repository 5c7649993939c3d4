"""What the rows tell of the work's progress, and the command that prints it."""

from __future__ import annotations

import json
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django_q.models import Schedule

from django_retrytasks import health
from django_retrytasks.broker import sweep_schedule
from django_retrytasks.database import DatabaseNow
from django_retrytasks.models import Task
from tests.support import tasks
from tests.support.driver import Driver

pytestmark = pytest.mark.django_db


def make_due_for(seconds: float, *of: Any) -> None:
    """Have these Tasks been due for so long."""
    rows = Task.objects.filter(pk__in=[one.id for one in of])
    rows.update(run_after=DatabaseNow() - timedelta(seconds=seconds))


def told(*options: str) -> str:
    """Return what the command prints."""
    out = StringIO()
    call_command("retrytasks", "health", *options, stdout=out)
    return out.getvalue()


class TestCheck:
    def test_site_without_work_has_no_queues_and_no_lag(self) -> None:
        found = health.check()

        assert (found.queues, found.lag, found.running_count) == ([], 0, 0)
        assert found.last_claim_at is None

    def test_queues_are_told_apart_with_the_age_of_their_oldest_due_task(self) -> None:
        make_due_for(30, tasks.succeeds.enqueue())
        make_due_for(10, tasks.succeeds.using(priority=5).enqueue())
        make_due_for(70, tasks.succeeds.using(queue_name="slow").enqueue())

        first, second = health.check().queues

        assert (first.queue_name, first.due_count) == ("default", 2)
        assert first.lag == pytest.approx(30, abs=5)
        assert (second.queue_name, second.due_count) == ("slow", 1)
        assert health.check().lag == pytest.approx(70, abs=5)

    def test_task_of_the_future_is_not_due(self) -> None:
        tasks.succeeds.using(run_after=timezone.now() + timedelta(hours=1)).enqueue()

        [queue] = health.check().queues

        assert (queue.due_count, queue.lag) == (0, 0)

    def test_running_task_is_counted_and_its_claim_is_the_last(self, driver: Driver) -> None:
        result = tasks.succeeds.enqueue()
        driver.claim()

        found = health.check()

        assert found.running_count == 1
        assert found.last_claim_at == driver.row(result).claimed_at
        assert found.lag == 0

    def test_claim_of_a_finished_task_is_remembered(self, driver: Driver) -> None:
        claimed_at = driver.attempt(tasks.succeeds.enqueue()).claimed_at

        found = health.check()

        assert found.running_count == 0
        assert found.last_claim_at == claimed_at

    def test_task_of_a_dead_worker_is_due_since_its_lease_ended(self, driver: Driver) -> None:
        result = tasks.succeeds.enqueue()
        driver.claim()
        make_due_for(40, result)

        assert health.check().lag == pytest.approx(40, abs=5)

    def test_sweep_was_handed_over_a_minute_before_it_is_scheduled_next(self) -> None:
        sweep_schedule.ensure_sweep()
        next_run = timezone.now().replace(microsecond=0) + timedelta(seconds=20)
        Schedule.objects.update(next_run=next_run)

        assert health.check().swept_at == next_run - timedelta(minutes=1)

    def test_sweep_that_is_not_scheduled_never_ran(self) -> None:
        Schedule.objects.all().delete()

        assert health.check().swept_at is None

    @pytest.mark.skipif(
        connection.vendor != "sqlite", reason="other databases choose plans by the rows there are"
    )
    def test_reads_no_table_through(self, driver: Driver) -> None:
        driver.attempt(tasks.succeeds.enqueue())
        make_due_for(1, *tasks.succeeds.enqueue_many([()] * 20))
        with CaptureQueriesContext(connection) as queries:
            health.check()

        # That of the pauses is small, and read whole.
        told = [query["sql"] for query in queries if "retrytasks_pause" not in query["sql"]]
        statements = [sql for sql in told if "retrytasks_" in sql]

        assert len(statements) > 3
        assert [sql for sql in statements if reads_through(sql)] == []


def reads_through(sql: str) -> bool:
    """Whether the plan reads a table or index further than to the first row in its order."""
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {sql}")
        plan = "\n".join(step for *_, step in cursor.fetchall())
    first_rows = sql.endswith("LIMIT 1") + sql.count("LIMIT 1) head")
    return plan.count("SCAN retrytasks") > first_rows or "TEMP B-TREE" in plan


class TestCommand:
    def test_prints_a_line_for_each_queue(self) -> None:
        make_due_for(30, *tasks.succeeds.enqueue_many([(), ()]))
        sweep_schedule.ensure_sweep()

        head, queue, running, claim, sweep = told().splitlines()

        assert head.split() == ["queue", "due", "oldest", "due", "for"]
        assert queue.split()[:2] == ["default", "2"]
        assert float(queue.split()[2]) == pytest.approx(30, abs=5)
        assert (running, claim) == ("running: 0", "last claim: never")
        assert sweep.startswith("last sweep: 20")

    def test_task_due_for_too_long_is_an_error(self) -> None:
        make_due_for(30, tasks.succeeds.enqueue())

        with pytest.raises(CommandError, match=r"due for 3\d.* s, more than 20 s$"):
            told("--max-lag", "20")

    def test_json_has_all_that_is_known(self, driver: Driver) -> None:
        result = tasks.succeeds.enqueue()
        driver.claim()
        make_due_for(5, tasks.succeeds.enqueue())

        read = json.loads(told("--json", "--max-lag", "60"))

        assert read.keys() == {
            *("ok", "lag", "queues", "paused_names", "running_count", "last_claim_at", "swept_at"),
            *("breakers", "broken_schedules"),
        }
        assert read["ok"] is True
        [queue] = read["queues"]
        assert (queue["queue_name"], queue["due_count"]) == ("default", 1)
        assert queue["lag"] == read["lag"] == pytest.approx(5, abs=3)
        assert read["running_count"] == 1
        claimed_at = driver.row(result).claimed_at
        assert claimed_at is not None
        assert read["last_claim_at"][:19] == claimed_at.isoformat()[:19]

    def test_json_is_printed_although_the_exit_code_is_1(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        make_due_for(30, tasks.succeeds.enqueue())

        with pytest.raises(CommandError):
            call_command("retrytasks", "health", "--json", "--max-lag", "1")

        assert json.loads(capsys.readouterr().out)["ok"] is False

    @pytest.mark.parametrize("text", ["soon", "-1", "nan", "inf"])
    def test_lag_that_is_no_duration_is_refused(self, text: str) -> None:
        with pytest.raises(CommandError, match="give seconds, 0 or more"):
            told(f"--max-lag={text}")
