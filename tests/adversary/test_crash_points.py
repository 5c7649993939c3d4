"""The process dies before and after each write of each verb; what is left is made good."""

import os
import traceback
import uuid
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

import pytest
from django.conf import settings
from django.db import connection, connections
from django.db.models import F
from django.utils import timezone
from django_q.models import OrmQ

from django_retrytasks import lifecycle, worker
from django_retrytasks.alerts import Alert
from django_retrytasks.errors.reports import report
from django_retrytasks.models import Attempt, FailureGroup, Status, Task
from django_retrytasks.signals import task_failed
from tests.adversary import breaker_stories
from tests.support import tasks, unique
from tests.support.cluster import wait_for
from tests.support.crashes import KILLED as CRASHED
from tests.support.crashes import crash_at
from tests.support.driver import KEY, Driver, Outcome
from tests.support.happenings import delete_everything, end_leases, finishing, move_time
from tests.support.invariants import final_failures, violations

pytestmark = pytest.mark.django_db(transaction=True)

Act = Callable[[], object]

SURVIVED = 0


@pytest.fixture(autouse=True)
def no_alerts(settings: Any) -> None:
    settings.RETRYTASKS = {"ALERTS": ["tests.adversary.test_crash_points.alert"]}


@pytest.fixture
def heard(tmp_path: Path) -> Iterator[Path]:
    """Return a directory in which two receivers of ``task_failed`` note what they hear."""
    directory, told["in"] = tmp_path / "heard", tmp_path / "told"
    for each in (directory, told["in"]):
        each.mkdir()

    def first(task: Task, attempt: Attempt, **others: Any) -> None:
        tasks.note(str(directory), f"first {task.pk} {attempt.number}")

    def second(task: Task, attempt: Attempt, **others: Any) -> None:
        tasks.note(str(directory), f"second {task.pk} {attempt.number}")

    for receiver in (first, second):
        task_failed.connect(receiver, weak=False, dispatch_uid=receiver.__name__)
    yield directory
    for receiver in (first, second):
        task_failed.disconnect(dispatch_uid=receiver.__name__)


told: dict[str, Path] = {}


def alert(alert: Alert) -> None:
    tasks.note(str(told["in"]), alert.kind)


def nothing_yet() -> Act:
    return lambda: tasks.echoes.enqueue_many([(1,), (2,)])


def nothing_yet_for_one() -> Act:
    return lambda: tasks.echoes.enqueue(1)


def nothing_yet_for_a_unique_one() -> Act:
    return lambda: unique.ships_once.enqueue(1)


def a_period_that_is_over() -> Act:
    unique.reminds.enqueue(1)
    serve()
    move_time(61)
    Task.objects.update(unique_until=F("enqueued_at"))
    return lambda: unique.reminds.enqueue(1)


def a_waiting_task() -> Act:
    tasks.echoes.enqueue(1)
    return serve


def a_batch_being_claimed() -> Act:
    tasks.echoes.enqueue_many([(n,) for n in range(3)])
    return lambda: Driver().claim(limit=3)


def a_batch_being_settled() -> Act:
    tasks.echoes.enqueue_many([(n,) for n in range(3)])
    claimed = Driver().claim(limit=3).tasks
    endings = [Driver().ending(task) for task in claimed]
    return lambda: lifecycle.settle(endings)


def a_failing_task() -> Act:
    tasks.fails_twice.enqueue()
    return serve


def a_hopeless_task() -> Act:
    tasks.fails_once_for_all.enqueue()
    return serve


def a_failure_to_announce() -> Act:
    tasks.fails_once_for_all.enqueue()
    [task] = Driver().claim().tasks
    error = report(ValueError("not today"))
    lifecycle.settle([Driver().ending(task, Outcome.FAILED, error=error)])
    return announce


def a_group_that_recovers() -> Act:
    tasks.fails_twice.using(max_retries=0).enqueue()
    announce()
    FailureGroup.objects.update(last_failed_at=F("last_failed_at") - timedelta(minutes=6))
    tasks.fails_twice.enqueue()
    serve()
    return sweep_and_tell


def a_flood() -> Act:
    settings.RETRYTASKS["ALERT_LIMIT"] = 2
    for error in ("OSError", "ValueError", "FileNotFoundError"):
        tasks.raises.using(max_retries=0).enqueue(error)
    announce()
    return worker.sweep


def a_lost_task() -> Act:
    tasks.echoes.enqueue(1)
    Driver().claim()
    end_leases()
    return serve


def lost_neighbours() -> Act:
    tasks.echoes.enqueue_many([(n,) for n in range(3)])
    Driver().claim(limit=3)
    end_leases()
    return serve


def purged_wake_ups() -> Act:
    tasks.echoes.enqueue(1)
    tasks.echoes.using(queue_name="slow").enqueue(1)
    OrmQ.objects.all().delete()
    return lifecycle.sweep


def old_rows() -> Act:
    Driver().task_in(Status.SUCCEEDED)
    Driver().task_in(Status.DISCARDED)
    move_time(31 * 86400)
    tasks.echoes.enqueue(1)
    return lifecycle.sweep


def a_failed_task() -> Act:
    task = Driver().task_in(Status.FAILED)
    return lambda: lifecycle.redrive([task.pk])


def expired_tasks() -> Act:
    moment = timezone.now() + timedelta(minutes=1)
    tasks.echoes.using(expires=moment).enqueue_many([(1,), (2,)])
    tasks.echoes.enqueue(3)
    Task.objects.filter(expires_at=moment).update(expires_at=timezone.now())
    return serve


def two_waiting_tasks() -> Act:
    ids = [uuid.UUID(result.id) for result in tasks.echoes.enqueue_many([(1,), (2,)])]
    return lambda: lifecycle.discard(ids)


def serve() -> None:
    worker.run(KEY)


def announce() -> None:
    """Run what announces, and then those who hear of it."""
    for _ in range(3):
        worker.run(KEY)


def sweep_and_tell() -> None:
    worker.sweep()
    announce()


STORIES: dict[Callable[[], Act], set[tuple[str, ...]]] = {
    nothing_yet: {(), ("SUCCEEDED", "SUCCEEDED")},
    nothing_yet_for_one: {(), ("SUCCEEDED",)},
    nothing_yet_for_a_unique_one: {(), ("SUCCEEDED",)},
    a_period_that_is_over: {("SUCCEEDED",), ("SUCCEEDED", "SUCCEEDED")},
    a_waiting_task: {("SUCCEEDED",)},
    a_batch_being_claimed: {("SUCCEEDED",) * 3},
    a_batch_being_settled: {("SUCCEEDED",) * 3},
    a_failing_task: {("SUCCEEDED",)},
    a_hopeless_task: {("FAILED",)},
    a_failure_to_announce: {("FAILED",)},
    a_group_that_recovers: {("FAILED", "SUCCEEDED")},
    a_flood: {("FAILED",) * 3},
    a_lost_task: {("SUCCEEDED",)},
    lost_neighbours: {("SUCCEEDED",) * 3},
    purged_wake_ups: {("SUCCEEDED", "SUCCEEDED")},
    old_rows: {("SUCCEEDED",)},
    a_failed_task: {("FAILED",), ("SUCCEEDED",)},
    expired_tasks: {("DISCARDED", "DISCARDED", "SUCCEEDED")},
    **{story: {("SUCCEEDED",) * 4} for story in breaker_stories.STORIES},
    two_waiting_tasks: {("SUCCEEDED", "SUCCEEDED"), ("DISCARDED", "DISCARDED")},
}

# The statements that write, and the COMMIT.
WRITES: dict[Callable[[], Act], int] = {
    nothing_yet: 3,
    nothing_yet_for_one: 3,
    nothing_yet_for_a_unique_one: 3,
    a_period_that_is_over: 4,
    a_batch_being_claimed: 3,
    a_batch_being_settled: 3,
    a_failed_task: 3,
    two_waiting_tasks: 2,
}

# On PostgreSQL, statements without a transaction.
ONE_BY_ONE = {nothing_yet_for_one: 1, nothing_yet_for_a_unique_one: 1, a_period_that_is_over: 2}


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_whatever_write_it_dies_at_every_task_ends_right(
    story: Callable[[], Act], after: bool, heard: Path
) -> None:
    number, code = 0, CRASHED

    while code == CRASHED:
        number += 1
        delete_everything()
        act = story()
        owed = len(lost_attempts_owed())
        code = exit_code_of(act, number, after)
        recover()

        crashed_there = f"crashed {'after' if after else 'before'} write {number}"
        assert violations() == [], crashed_there
        assert endings() in STORIES[story], crashed_there
        assert owed <= losses() <= owed + 1, crashed_there
        noted = tasks.noted(heard)
        assert failures() <= set(noted), crashed_there
        alerts = Counter(tasks.noted(told["in"]))
        assert set(alerts) == expected_alerts(), crashed_there
        repeats = [times - 1 for times in (*Counter(noted).values(), *alerts.values())]
        assert sum(repeats) <= 1, crashed_there
        for directory in (heard, told["in"]):
            forget(directory)

    assert code == SURVIVED
    writes = number - 1
    assert writes == expected_writes(story) if story in WRITES else writes > 1


def expected_writes(story: Callable[[], Act]) -> int:
    """Return how many writes a verb has: on SQLite, a transaction takes the lock by one more."""
    if connection.vendor == "postgresql" and story in ONE_BY_ONE:
        return ONE_BY_ONE[story]
    return WRITES[story] + (connection.vendor == "sqlite")


def lost_attempts_owed() -> list[Task]:
    lapsed = Task.objects.due().filter(status=Status.RUNNING)
    return [task for task in lapsed if task.was_started]


def exit_code_of(act: Act, number: int, after: bool) -> int:
    """Return how a process ended that did this and was to crash at that write."""
    connections.close_all()
    with warnings.catch_warnings():
        # The heart's thread sleeps, and holds no lock that the child could need.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        crash(act, number, after)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def crash(act: Act, number: int, after: bool) -> NoReturn:
    """Do this in a forked process, which must never come back into the tests."""
    code = 1
    try:
        with crash_at(number, after=after):
            act()
        code = SURVIVED
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def recover() -> None:
    """Do what a cluster and its schedule do, the dead worker's leases having ended."""
    wait_for(lambda: other_sessions() == 0, 10)
    end_leases()
    for _ in finishing():
        worker.run("slow")
    worker.sweep()
    for _ in finishing():
        pass


SESSIONS = {
    "postgresql": "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()",
    "mysql": "SELECT count(*) FROM information_schema.processlist"
    " WHERE db = database() AND id <> connection_id()",
}


def other_sessions() -> int:
    """Count the sessions of others: a server takes a moment to notice that a process died."""
    if connection.vendor not in SESSIONS:
        return 0
    with connection.cursor() as cursor:
        cursor.execute(SESSIONS[connection.vendor])
        return int(cursor.fetchone()[0])


def endings() -> tuple[str, ...]:
    """Return how the users' Tasks ended."""
    statuses = Task.objects.filter(internal=False).values_list("status", flat=True)
    return tuple(sorted(statuses))


def losses() -> int:
    return Attempt.objects.filter(outcome=Outcome.LOST).count()


def failures() -> set[str]:
    """Return what the receivers note of each final failure."""
    found = final_failures(Task.objects.all(), Attempt.objects.all())
    return {f"{who} {pk} {number}" for pk, number in found for who in ("first", "second")}


def expected_alerts() -> set[str]:
    """Return the kinds of alerts that there have to be, by what the groups have been through."""
    failed = FailureGroup.objects.filter(failure_count__gt=0)
    recovered = failed.filter(recovered_at__isnull=False)
    flood = failed.filter(pk=FailureGroup.FLOOD)
    kinds = {"FAILING": failed, "RECOVERED": recovered, "FLOOD": flood}
    return {kind for kind, groups in kinds.items() if groups.exists()}


def forget(directory: Path) -> None:
    for note in directory.iterdir():
        note.unlink()
