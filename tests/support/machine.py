"""A machine that does its worst to break what must hold of all rows."""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone
from django_q.models import OrmQ
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from django_retrytasks import lifecycle
from django_retrytasks.broker import wakeups
from django_retrytasks.lifecycle.internal import INTERNAL_RETENTION
from django_retrytasks.lifecycle.lanes import survey
from django_retrytasks.models import Status, Task
from tests.support.driver import KEY
from tests.support.happenings import TOLD, deeds, does_as_told, end_leases, move_time, serve_wake_up
from tests.support.ledger import Holding, Ledger
from tests.support.rows import database_now

PICKS = st.integers(0, 5)
DEEDS = st.sampled_from(sorted(deeds))


class Machine(Ledger):
    """Several workers, operators and clocks at work on one database, in any order.

    Each rule knows what it may change, and every step ends with the invariants.
    """

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

    def holding(self, pick: int) -> Holding:
        """Return what some worker holds, having one claim if none does."""
        if not self.holdings:
            self.claim(limit=2)
        return self.holdings[pick % len(self.holdings)] if self.holdings else Holding()


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
