"""What must hold of all rows at every moment, and a machine that does its worst to break it."""

from __future__ import annotations

import uuid
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db.models import F, Sum
from django.utils import timezone
from django_q.models import OrmQ
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
)

from django_retrytasks import Discard, RetryTaskContext, Snooze, lifecycle, retry_task
from django_retrytasks.broker import wakeups
from django_retrytasks.database import DatabaseNow
from django_retrytasks.exceptions import AttemptTimedOut
from django_retrytasks.lifecycle import Ending
from django_retrytasks.lifecycle.internal import INTERNAL_RETENTION
from django_retrytasks.lifecycle.lanes import survey
from django_retrytasks.models import FINAL, UNFINISHED, Attempt, FailureGroup, Status, Task
from django_retrytasks.signals import task_failed
from django_retrytasks.values.entries import ANNOUNCE_ENTRY
from django_retrytasks.worker import run
from django_retrytasks.worker.attempt import AttemptRun
from tests.support.driver import KEY

Outcome = Attempt.Outcome
FAILURES = (Outcome.FAILED, Outcome.TIMED_OUT, Outcome.LOST)
MOMENTS = (
    "run_after",
    "queued_at",
    "enqueued_at",
    "started_at",
    "last_attempted_at",
    "claimed_at",
    "finished_at",
)


# ---- what must hold of the rows


def violations(*, is_pruned: bool = False) -> list[str]:
    """Return what is wrong with the rows, one sentence each; nothing, if all is well.

    Args:
        is_pruned: whether announcements may have been deleted by a prune.
    """
    tasks, attempts = list(Task.objects.all()), list(Attempt.objects.order_by("number"))
    attempts_of: dict[uuid.UUID, list[Attempt]] = defaultdict(list)
    for attempt in attempts:
        attempts_of[attempt.task_id].append(attempt)
    wrong = [
        f"{task} ({task.status}): {what}"
        for task in tasks
        for what in _wrong_with(task, attempts_of[task.pk])
    ]
    counted = [] if is_pruned else _wrong_groups(tasks, attempts)
    return [*wrong, *_wrong_announcements(tasks, attempts, is_pruned), *counted]


def _wrong_with(task: Task, attempts: Sequence[Attempt]) -> Iterator[str]:
    checks = (_wrong_columns, _wrong_numbers, _wrong_counts, _wrong_ends)
    for check in checks:
        yield from check(task, attempts)


def _wrong_columns(task: Task, attempts: Sequence[Attempt]) -> Iterator[str]:
    is_final = task.status in FINAL
    if is_final == (task.status in UNFINISHED):
        yield "its status is none, or two, of a kind"
    if (task.run_after is None) != is_final:
        yield f"its run_after is {task.run_after}"
    if (task.finished_at is not None) != is_final:
        yield f"its finished_at is {task.finished_at}"
    if (task.claim_token is not None) != (task.status == Status.RUNNING):
        yield f"its claim token is {task.claim_token}"
    if bool(task.stop_reason) != (task.status in (Status.FAILED, Status.DISCARDED)):
        yield f"its stop_reason is {task.stop_reason!r}"
    if task.status in (Status.PENDING, Status.RETRYING) and task.status != task.waiting_status:
        yield f"it has spent {task.retry_count} retries"


def _wrong_numbers(task: Task, attempts: Sequence[Attempt]) -> Iterator[str]:
    numbers = [attempt.number for attempt in attempts]
    if numbers != list(range(1, task.attempt_count + 1)):
        yield f"its attempts are numbered {numbers}, attempt_count is {task.attempt_count}"


def _wrong_counts(task: Task, attempts: Sequence[Attempt]) -> Iterator[str]:
    for drive in _drives(attempts):
        charged = [attempt for attempt in drive if attempt.outcome != Outcome.SNOOZED]
        if task.max_retries is not None and len(charged) > task.max_retries + 1:
            yield f"{len(charged)} attempts in a drive, max_retries is {task.max_retries}"
    last = _drives(attempts)[-1]
    failed = [attempt for attempt in last if attempt.outcome in FAILURES]
    retried = sum(attempt.next_run_after is not None for attempt in failed)
    lost = sum(attempt.outcome == Outcome.LOST for attempt in failed)
    is_redriven = task.status in UNFINISHED and last and last[-1].next_run_after is None
    expected = (0, 0) if is_redriven else (retried, lost)
    if (task.retry_count, task.crash_count) != expected:
        yield f"retry_count, crash_count are {task.retry_count, task.crash_count}, not {expected}"


def _drives(attempts: Sequence[Attempt]) -> list[list[Attempt]]:
    """Part attempts into drives: the last attempt of each has no next run_after."""
    drives: list[list[Attempt]] = [[]]
    for attempt in attempts:
        if drives[-1] and drives[-1][-1].next_run_after is None:
            drives.append([])
        drives[-1].append(attempt)
    return drives


def _wrong_ends(task: Task, attempts: Sequence[Attempt]) -> Iterator[str]:
    for attempt in attempts:
        is_last = attempt.next_run_after is None
        if is_last and attempt.outcome == Outcome.SNOOZED:
            yield f"nothing follows snoozed attempt {attempt.number}"
        ended_it = is_last and attempt is attempts[-1] and task.status == attempt.outcome
        if attempt.outcome in (Outcome.SUCCEEDED, Outcome.DISCARDED) and not ended_it:
            yield f"attempt {attempt.number} {attempt.outcome} was not its end"
    if task.status in (Status.SUCCEEDED, Status.FAILED):
        last = attempts[-1] if attempts else None
        if last is None or last.next_run_after is not None:
            yield "no attempt ended it"
        elif (task.status == Status.FAILED) != (last.outcome in FAILURES):
            yield f"it ended by an attempt {last.outcome}"


def _wrong_announcements(
    tasks: Iterable[Task], attempts: Iterable[Attempt], is_pruned: bool
) -> Iterator[str]:
    announced = Counter(failure for task in tasks for failure in announced_by(task))
    failures = set(final_failures(tasks, attempts))
    for failure, times in announced.items():
        if times > 1:
            yield f"final failure {failure} has {times} announcements"
        if failure not in failures and not is_pruned:
            yield f"no final failure {failure} is announced"
    for failure in () if is_pruned else failures - set(announced):
        yield f"final failure {failure} has no announcement"


def _wrong_groups(tasks: Iterable[Task], attempts: Iterable[Attempt]) -> Iterator[str]:
    """Yield where what the groups count is not what the rows hold."""
    internal = {task.pk for task in tasks if task.internal}
    own = [a for a in attempts if a.exception_class_path and a.task_id not in internal]
    counts = FailureGroup.objects.filter(kind=FailureGroup.Kind.FAILURE).aggregate(
        attempts=Sum("failed_attempt_count", default=0), finals=Sum("failure_count", default=0)
    )
    finals = sum(attempt.next_run_after is None for attempt in own)
    if counts != {"attempts": len(own), "finals": finals}:
        yield f"groups count {counts}, the rows hold {len(own)} and {finals}"


def announced_by(task: Task) -> Iterator[tuple[uuid.UUID, int]]:
    """Yield the final failures that a Task announces: a Task and an attempt's number."""
    if task.name == ANNOUNCE_ENTRY:
        for pk, number in task.args[0]:
            yield uuid.UUID(pk), number


def final_failures(
    tasks: Iterable[Task], attempts: Iterable[Attempt]
) -> Iterator[tuple[uuid.UUID, int]]:
    """Yield a Task and an attempt's number for each final failure that is to be announced."""
    internal = {task.pk for task in tasks if task.internal}
    for attempt in attempts:
        is_end = attempt.next_run_after is None and attempt.outcome in FAILURES
        if is_end and attempt.task_id not in internal:
            yield attempt.task_id, attempt.number


# ---- what happens


TOLD = {"to": "return"}
"""What the next attempts do."""


@retry_task(bind=True, countdown=5, jitter=False)
def does_as_told(self: RetryTaskContext) -> str:
    deeds[TOLD["to"]](self)
    return "done"


def _raises(error: BaseException) -> None:
    raise error


def _retries_at_once(context: RetryTaskContext) -> None:
    raise context.retry(exc=ConnectionError("at once"), countdown=0)


deeds: dict[str, Callable[[RetryTaskContext], Any]] = {
    "return": lambda context: None,
    "raise": lambda context: _raises(ConnectionError("no luck")),
    "raise, retry at once": _retries_at_once,
    "time out": lambda context: _raises(AttemptTimedOut(1)),
    "snooze": lambda context: _raises(Snooze(60)),
    "discard": lambda context: _raises(Discard("no such order")),
}


def delete_everything() -> None:
    Attempt.objects.all().delete()
    Task.objects.all().delete()
    FailureGroup.objects.all().delete()
    OrmQ.objects.all().delete()


def database_now() -> datetime:
    """Return the database's time; the host's where there are no rows to ask."""
    now: datetime | None = Task.objects.values_list(DatabaseNow(), flat=True).first()
    return now or timezone.now()


def move_time(seconds: float, *, of_hosts: bool = True) -> None:
    """Let time go by, or a clock step back: all that is stored moves the other way.

    Without ``of_hosts`` the database's clock alone steps.
    """
    moved = timedelta(seconds=seconds)
    Task.objects.update(**{name: F(name) - moved for name in MOMENTS})
    if of_hosts:
        OrmQ.objects.update(lock=F("lock") - moved)


def end_leases(of: Iterable[uuid.UUID] | None = None) -> None:
    """End the leases of these Tasks, or of all that run."""
    running = Task.objects.filter(status=Status.RUNNING)
    if of is not None:
        running = running.filter(pk__in=list(of))
    running.update(run_after=DatabaseNow() - timedelta(seconds=1))


def serve_wake_up() -> bool:
    """Do as a cluster does with its next visible wake-up; return whether there was one."""
    visible = OrmQ.objects.filter(key=KEY, lock__lte=timezone.now())
    wake_up = visible.order_by("lock", "pk").first()
    if wake_up is None:
        return False
    package = wake_up.task
    wake_up.delete()
    run(*package["args"])
    return True


def finishing() -> Iterator[None]:
    """Do as a cluster and its schedule do, nothing else, until every Task is final.

    Time goes by in steps of ten minutes, one for each value yielded.
    """
    for _ in range(200):
        lifecycle.sweep()
        while serve_wake_up():
            pass
        yield
        if not Task.objects.unfinished().exists():
            return
        move_time(600)
    raise AssertionError(f"never finished: {list(Task.objects.unfinished().values())}")


# ---- the machine


@dataclass(kw_only=True)
class Holding:
    """What one worker holds: the rest of its claim, and endings not yet settled."""

    waiting: deque[Task] = field(default_factory=deque)
    endings: list[Ending] = field(default_factory=list)

    @property
    def tasks(self) -> list[Task]:
        return [*self.waiting, *(ending.task for ending in self.endings)]


Rows = dict[uuid.UUID, dict[str, Any]]

PICKS = st.integers(0, 5)
DEEDS = st.sampled_from(sorted(deeds))


class Machine(RuleBasedStateMachine):
    """Several workers, operators and clocks at work on one database, in any order.

    Each rule knows what it may change, and every step ends with the invariants.
    """

    def __init__(self) -> None:
        super().__init__()
        delete_everything()
        self.ids: list[uuid.UUID] = []
        self.holdings: list[Holding] = []
        self.is_pruned = False
        self.written: dict[int, dict[str, Any]] = {}
        self.final: dict[uuid.UUID, str] = {}
        # Tasks whose present claim is known to have started them; those of them whose worker was
        # found dead, which are owed a LOST attempt, and how many they had by then.
        self.started: set[uuid.UUID] = set()
        self.owed: dict[uuid.UUID, int] = {}
        self.failures: set[tuple[uuid.UUID, int]] = set()
        self.announced: dict[tuple[uuid.UUID, int], uuid.UUID] = {}
        self.heard: set[tuple[uuid.UUID, int]] = set()
        task_failed.connect(self.hear, dispatch_uid="machine")

    def teardown(self) -> None:
        try:
            TOLD["to"] = "return"
            before = self.rows()
            for _ in finishing():
                self.note_pruned(before)
                self.hold()
                before = self.rows()
            unheard = self.failures - self.heard
            assert self.is_pruned or not unheard, f"never heard of: {unheard}"
        finally:
            task_failed.disconnect(dispatch_uid="machine")

    def hear(self, task: Task, attempt: Attempt, **others: Any) -> None:
        self.heard.add((task.pk, attempt.number))

    # -- users

    @initialize()
    def begin(self) -> None:
        for max_retries in (0, 1, 2):
            self.enqueue(many=2, max_retries=max_retries, priority=0, delay=0)

    @rule(
        many=st.integers(1, 3),
        max_retries=st.integers(0, 2),
        priority=st.sampled_from([0, 5]),
        delay=st.sampled_from([0, 0, 30, 5000]),
    )
    def enqueue(self, many: int, max_retries: int, priority: int, delay: int) -> None:
        run_after = timezone.now() + timedelta(seconds=delay) if delay else None
        task = does_as_told.using(max_retries=max_retries, priority=priority, run_after=run_after)
        results = task.enqueue_many([()] * many)
        self.ids = [uuid.UUID(result.id) for result in results] + self.ids

    @rule(pick=PICKS, many=st.integers(1, 3))
    def discard(self, pick: int, many: int) -> None:
        ids, before = self.pick_ids(pick, many), self.rows()
        expected = [pk for pk in ids if before[pk]["status"] not in ("RUNNING", *FINISHED)]

        assert lifecycle.discard(ids) == len(expected)

        for pk in expected:
            self.final.pop(pk, None)
        self.assert_unchanged(before, but=expected)

    @rule(pick=PICKS, many=st.integers(1, 3))
    def cancel(self, pick: int, many: int) -> None:
        ids, before = self.pick_ids(pick, many), self.rows()
        expected = [pk for pk in ids if before[pk]["status"] not in ("FAILED", *FINISHED)]

        assert lifecycle.cancel(ids) == len(expected)

        after = self.rows()
        for pk in expected:
            has_begun = pk in self.started and before[pk]["status"] == "RUNNING"
            assert after[pk]["attempt_count"] == before[pk]["attempt_count"] + has_begun
            self.started.discard(pk)
            self.owed.pop(pk, None)
        self.assert_unchanged(before, but=expected)

    @rule(pick=PICKS, many=st.integers(1, 3))
    def redrive(self, pick: int, many: int) -> None:
        ids, before = self.pick_ids(pick, many), self.rows()
        expected = [pk for pk in ids if before[pk]["status"] == "FAILED"]

        assert lifecycle.redrive(ids) == len(expected)

        for pk in expected:
            del self.final[pk]
        self.assert_unchanged(before, but=expected)

    # -- workers

    @rule(limit=st.integers(1, 4))
    def claim(self, limit: int) -> None:
        now, before = database_now(), self.rows()
        due = [row for row in before.values() if row["run_after"] and row["run_after"] <= now]

        claim = lifecycle.claim(survey().for_cluster(KEY).due, limit=limit, worker="host:1:one")

        claimed = [task.pk for task in claim.tasks]
        assert claimed == expected_claim(due, claimed, limit)
        self.assert_unchanged(before, but=claimed)
        self.note_starts(claim.tasks)
        if claimed:
            self.holdings.append(Holding(waiting=deque(claim.tasks)))

    @rule(pick=PICKS, many=st.integers(1, 4), deed=DEEDS)
    def attempt(self, pick: int, many: int, deed: str) -> None:
        """Have a worker go on with its claim, not settling yet."""
        self.attempt_some(self.holding(pick), many, deed)

    @rule(pick=PICKS, many=st.integers(1, 4))
    def settle(self, pick: int, many: int) -> None:
        self.settle_some(self.holding(pick), many)

    @rule(pick=PICKS, deed=DEEDS, is_reclaimed=st.booleans())
    def settle_late(self, pick: int, deed: str, is_reclaimed: bool) -> None:
        """Have a worker come back, outcomes in hand, after its lease has ended."""
        holding = self.holding(pick)
        self.attempt_some(holding, 4, deed)
        end_leases(task.pk for task in holding.tasks)
        if is_reclaimed:
            self.claim(limit=4)
        self.settle_some(holding, 4)

    @rule(pick=PICKS)
    def beat(self, pick: int) -> None:
        """Have a worker's heartbeat thread find a Task that runs long."""
        waiting = self.holding(pick).waiting
        if not waiting or waiting[0].lapsed:
            return
        task, before = waiting[0], self.rows()
        was_live = self.is_live(task)

        assert lifecycle.heartbeat(task, started_at=database_now()) == was_live

        self.assert_unchanged(before, but=[task.pk] if was_live else [])
        if was_live:
            self.started.add(task.pk)

    @rule(pick=PICKS)
    def give_back(self, pick: int) -> None:
        holding = self.holding(pick)
        waiting, holding.waiting = list(holding.waiting), deque()
        self.release(waiting)

    @rule(pick=PICKS)
    def crash(self, pick: int) -> None:
        """Have a worker die."""
        holding = self.holding(pick)
        self.holdings = [one for one in self.holdings if one is not holding]

    @rule(pick=PICKS, limit=st.integers(1, 4))
    def give_back_lapsed(self, pick: int, limit: int) -> None:
        """Have a worker die, and another give back at once what it takes over."""
        lost = self.holding(pick).tasks
        self.crash(pick)
        end_leases(task.pk for task in lost)
        self.claim(limit=limit)
        self.give_back(pick=-1)

    @rule(deed=DEEDS)
    def serve(self, deed: str) -> None:
        """Have a sound worker serve a wake-up, if one is visible."""
        TOLD["to"] = deed
        if serve_wake_up():
            rows = self.rows()
            self.started &= {pk for pk, row in rows.items() if row["status"] == "RUNNING"}

    # -- time and accidents

    @rule(pick=PICKS, many=st.integers(1, 4))
    def end_lease(self, pick: int, many: int) -> None:
        end_leases(self.pick_ids(pick, many))

    @rule(seconds=st.sampled_from([7.3, 70.7, 4000.1, 8 * 86400.9]))
    def wait(self, seconds: float) -> None:
        move_time(seconds)

    @rule(seconds=st.sampled_from([-600.3, 600.3]))
    def step_clock(self, seconds: float) -> None:
        move_time(seconds, of_hosts=False)

    @rule(many=st.integers(1, 3))
    def double_wake_ups(self, many: int) -> None:
        wakeups.write(KEY, [wakeups.now()] * many)

    @rule()
    def lose_wake_ups(self) -> None:
        OrmQ.objects.all().delete()

    # -- the schedule

    @rule()
    def sweep(self) -> None:
        before = self.rows()

        lifecycle.sweep()

        self.note_pruned(before)
        self.assert_unchanged(self.rows(), but=())
        if Task.objects.due().exists():
            assert OrmQ.objects.filter(key=KEY, lock__lte=timezone.now()).exists()

    @rule()
    def prune(self) -> None:
        before, now = self.rows(), database_now()
        old = {pk for pk, row in before.items() if is_past_retention(row, now)}

        assert lifecycle.prune() == len(old)

        assert set(before) - set(self.rows()) == old
        self.note_pruned(before)

    # -- what holds

    @invariant()
    def hold(self) -> None:
        assert violations(is_pruned=self.is_pruned) == []
        self.assert_attempts_unchanged()
        self.assert_final_unchanged()
        self.assert_announced_once()
        self.assert_losses_not_forgotten()

    def assert_attempts_unchanged(self) -> None:
        rows = {row["id"]: dict(row) for row in Attempt.objects.values()}
        tasks = set(Task.objects.values_list("pk", flat=True))
        kept = {pk: row for pk, row in self.written.items() if row["task_id"] in tasks}
        assert {pk: rows.get(pk) for pk in kept} == kept
        self.written = rows

    def assert_final_unchanged(self) -> None:
        now = dict(Task.objects.filter(status__in=FINAL).values_list("pk", "status"))
        existing = set(Task.objects.values_list("pk", flat=True))
        kept = {pk: status for pk, status in self.final.items() if pk in existing}
        assert {pk: now.get(pk) for pk in kept} == kept
        self.final = now

    def assert_announced_once(self) -> None:
        tasks, attempts = list(Task.objects.all()), list(Attempt.objects.all())
        self.failures |= set(final_failures(tasks, attempts))
        for task in tasks:
            for failure in announced_by(task):
                assert self.announced.setdefault(failure, task.pk) == task.pk
        assert set(self.announced) == self.failures

    def assert_losses_not_forgotten(self) -> None:
        """A Task owed a LOST attempt stays RUNNING until it is written."""
        rows = self.rows()
        for pk, count in list(self.owed.items()):
            if pk not in rows or losses(pk) > count:
                del self.owed[pk]
        assert {rows[pk]["status"] for pk in self.owed} <= {"RUNNING"}

    # -- shared steps

    def rows(self) -> Rows:
        """Return what is stored of every Task."""
        return {row["id"]: dict(row) for row in Task.objects.values()}

    def pick_ids(self, pick: int, many: int) -> list[uuid.UUID]:
        """Return ids of Tasks that users enqueued, the newest first, from the ``pick``-th on."""
        existing = set(Task.objects.values_list("pk", flat=True))
        return [pk for pk in self.ids if pk in existing][pick : pick + many]

    def holding(self, pick: int) -> Holding:
        """Return what some worker holds, having one claim if none does."""
        if not self.holdings:
            self.claim(limit=2)
        return self.holdings[pick % len(self.holdings)] if self.holdings else Holding()

    def is_live(self, task: Task) -> bool:
        row = self.rows().get(task.pk)
        if row is None or row["status"] != "RUNNING" or task.claim_token is None:
            return False
        return bool(row["claim_token"] == task.claim_token and row["run_after"] > database_now())

    def attempt_some(self, holding: Holding, many: int, deed: str) -> None:
        suspects = [task for task in holding.waiting if task.lapsed and not task.was_started]
        if suspects:
            holding.waiting = deque(task for task in holding.waiting if task not in suspects)
            self.release(suspects, suspect=True)
        TOLD["to"] = deed
        for _ in range(min(many, len(holding.waiting))):
            task = holding.waiting.popleft()
            holding.endings.append(AttemptRun(task, timezone.now).ending())

    def settle_some(self, holding: Holding, many: int) -> None:
        endings, holding.endings = holding.endings[:many], holding.endings[many:]
        before, attempts = self.rows(), Attempt.objects.count()
        live = [ending.task.pk for ending in endings if self.is_live(ending.task)]

        settled = lifecycle.settle(endings) if endings else []

        assert [one.ending.task.pk for one in settled] == live
        assert Attempt.objects.count() == attempts + len(live)
        self.assert_unchanged(before, but=live)
        self.started -= set(live)

    def note_starts(self, tasks: Sequence[Task]) -> None:
        """Note which of the claimed are known to be started, and which were lost by another."""
        fresh = [task for task in tasks if not task.lapsed]
        for task in tasks:
            if task.lapsed:
                assert task.was_started == (task.pk in self.started)
                if task.was_started:
                    self.owed.setdefault(task.pk, losses(task.pk))
        self.started -= {task.pk for task in fresh}
        if len(fresh) == 1:
            self.started.add(fresh[0].pk)

    def release(self, tasks: Sequence[Task], *, suspect: bool = False) -> None:
        before = self.rows()
        live = [task.pk for task in tasks if self.is_live(task)]

        lifecycle.release(tasks, suspect=suspect)

        self.assert_unchanged(before, but=live)
        rows = self.rows()
        self.started -= {pk for pk in live if rows[pk]["status"] != "RUNNING"}

    def assert_unchanged(self, before: Rows, *, but: Iterable[uuid.UUID]) -> None:
        """Assert that no Task was changed or deleted but these; new ones are allowed."""
        after, changeable = self.rows(), set(but)
        for pk, row in before.items():
            assert pk in changeable or after.get(pk) == row

    def note_pruned(self, before: Rows) -> None:
        gone = set(before) - set(self.rows())
        assert {before[pk]["status"] for pk in gone} <= set(FINAL)
        self.is_pruned = self.is_pruned or bool(gone)


def losses(pk: uuid.UUID) -> int:
    return Attempt.objects.filter(task=pk, outcome=Outcome.LOST).count()


FINISHED = (Status.SUCCEEDED, Status.DISCARDED)
RETENTION = {"SUCCEEDED": 7, "FAILED": 90, "DISCARDED": 30}


def is_past_retention(row: dict[str, Any], now: datetime) -> bool:
    if row["finished_at"] is None:
        return False
    kept = INTERNAL_RETENTION if row["internal"] else timedelta(days=RETENTION[row["status"]])
    return bool(now - row["finished_at"] > kept)


def expected_claim(
    due: Sequence[dict[str, Any]], claimed: Sequence[uuid.UUID], limit: int
) -> list[uuid.UUID]:
    """Return the ids that a claim has to take: the best priority first, then the oldest.

    Among Tasks due at the same moment those that were taken come first.
    """

    def order(row: dict[str, Any]) -> Any:
        taken = claimed.index(row["id"]) if row["id"] in claimed else len(claimed)
        return -row["priority"], row["run_after"], taken

    first = sorted(due, key=order)[:limit]
    if first and first[0]["suspect"]:
        return [first[0]["id"]]
    return [row["id"] for row in first if not row["suspect"]]
