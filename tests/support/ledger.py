"""What a machine knows of its rows, and what must hold of them after every step."""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.utils import timezone
from hypothesis.stateful import RuleBasedStateMachine, invariant

from django_retrytasks import lifecycle
from django_retrytasks.lifecycle import Ending
from django_retrytasks.models import FINAL, Attempt, Task
from django_retrytasks.signals import task_failed
from django_retrytasks.worker.attempt import AttemptRun
from tests.support.happenings import TOLD, delete_everything, finishing
from tests.support.invariants import Outcome, announced_by, final_failures, violations
from tests.support.rows import database_now


@dataclass(kw_only=True)
class Holding:
    """What one worker holds: the rest of its claim, and endings not yet settled."""

    waiting: deque[Task] = field(default_factory=deque)
    endings: list[Ending] = field(default_factory=list)

    @property
    def tasks(self) -> list[Task]:
        return [*self.waiting, *(ending.task for ending in self.endings)]


Rows = dict[uuid.UUID, dict[str, Any]]


class Ledger(RuleBasedStateMachine):
    """What a machine knows of its rows, and what must hold of them after every step."""

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

    def rows(self) -> Rows:
        """Return what is stored of every Task."""
        return {row["id"]: dict(row) for row in Task.objects.values()}

    def pick_ids(self, pick: int, many: int) -> list[uuid.UUID]:
        """Return ids of Tasks that users enqueued, the newest first, from the ``pick``-th on."""
        existing = set(Task.objects.values_list("pk", flat=True))
        return [pk for pk in self.ids if pk in existing][pick : pick + many]

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
