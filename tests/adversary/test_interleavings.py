"""Verbs of two sessions at once: whatever the order of their statements, each Task has one fate."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection

from django_retrytasks import lifecycle
from django_retrytasks.lifecycle import Claim
from django_retrytasks.models import Attempt, Status, Task
from django_retrytasks.policy import StopReason
from tests.support import tasks
from tests.support.driver import Driver, Outcome
from tests.support.happenings import end_leases, move_time
from tests.support.plays import IS_WAITING, Act, claim, claimed, plays, settling

pytestmark = pytest.mark.django_db(transaction=True)

PAST = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def two_sessions(settings: Any) -> None:
    if connection.vendor not in IS_WAITING:
        pytest.skip("one session at a time writes here, and it takes the lock at once")
    settings.RETRYTASKS = {"ALERTS": ()}


def pks(value: Claim) -> list[uuid.UUID]:
    return [task.pk for task in value.tasks]


class TestClaimAndClaim:
    def test_no_task_is_claimed_twice_and_none_is_passed_over(self) -> None:
        def prepare() -> tuple[Act, Act]:
            tasks.echoes.enqueue_many([(n,) for n in range(3)])
            return lambda: claim(limit=2), lambda: claim(limit=2)

        for first, second in plays(prepare):
            both = pks(first) + pks(second)
            assert len(both) == len(set(both))
            assert max(len(first.tasks), len(second.tasks)) == 2

    def test_a_lapsed_claim_is_taken_over_by_one(self) -> None:
        def prepare() -> tuple[Act, Act]:
            claimed(many=2)
            end_leases()
            return claim, claim

        for first, second in plays(prepare):
            both = pks(first) + pks(second)
            assert len(both) == len(set(both)) == 2

    def test_an_expired_task_is_dropped_once_and_claimed_by_nobody(self) -> None:
        def prepare() -> tuple[Act, Act]:
            tasks.echoes.using(expires=PAST).enqueue_many([(1,), (2,)])
            tasks.echoes.enqueue(3)
            return claim, claim

        for first, second in plays(prepare):
            assert [task.args for task in (*first.tasks, *second.tasks)] == [[3]]
            dropped = Task.objects.filter(stop_reason=StopReason.EXPIRED)
            assert [task.status for task in dropped] == [Status.DISCARDED] * 2


class TestClaimAndSettle:
    @pytest.mark.parametrize("outcome", [Outcome.SUCCEEDED, Outcome.FAILED])
    def test_what_is_held_is_settled_and_not_claimed(self, outcome: Outcome) -> None:
        def prepare() -> tuple[Act, Act]:
            return settling(claimed(many=2), outcome=outcome), claim

        for settled, other in plays(prepare):
            assert len(settled) == 2
            assert pks(other) == []

    def test_a_retry_that_is_due_at_once_is_claimed_after_its_settle_or_not_at_all(self) -> None:
        def prepare() -> tuple[Act, Act]:
            return settling(claimed(), outcome=Outcome.FAILED, countdown=0), claim

        for settled, other in plays(prepare):
            assert len(settled) == 1
            assert [task.status for task in other.tasks] in ([], [Status.RUNNING])
            assert [task.attempt_count for task in other.tasks] in ([], [1])

    def test_a_late_settle_is_refused_whoever_claims_first(self) -> None:
        def prepare() -> tuple[Act, Act]:
            late = settling(claimed(many=2))
            end_leases()
            return late, claim

        for settled, other in plays(prepare):
            assert settled == []
            assert len(other.tasks) == 2
            assert not Attempt.objects.exists()

    def test_the_finder_of_a_lost_task_and_its_late_worker_settle_it_once(self) -> None:
        def prepare() -> tuple[Act, Act]:
            late = settling(claimed())
            end_leases()
            return late, settling(list(claim().tasks), outcome=Outcome.LOST, countdown=5)

        for late, found in plays(prepare):
            assert (len(late), len(found)) == (0, 1)
            assert [attempt.outcome for attempt in Attempt.objects.all()] == ["LOST"]


class TestSettleAndCancel:
    @pytest.mark.parametrize("outcome", [Outcome.SUCCEEDED, Outcome.FAILED])
    def test_a_task_is_settled_or_cancelled_and_its_neighbour_is_settled(
        self, outcome: Outcome
    ) -> None:
        def prepare() -> tuple[Act, Act]:
            one, other = claimed(many=2)
            settle = settling([one, other], outcome=outcome, countdown=5)
            return settle, lambda: lifecycle.cancel([one.pk])

        for settled, cancelled in plays(prepare):
            # A retry that waits may be cancelled after its settle.
            settles = {2 - cancelled} if outcome is Outcome.SUCCEEDED else {2 - cancelled, 2}
            assert len(settled) in settles
            reasons = Task.objects.filter(internal=False).values_list("stop_reason", flat=True)
            assert sorted(reasons) == ["", "CANCELLED" if cancelled else ""]


class TestHeartbeatAndClaim:
    def test_a_lease_is_extended_or_lost_never_both(self) -> None:
        def prepare() -> tuple[Act, Act]:
            [task] = claimed()
            start = task.claimed_at
            assert start is not None
            return lambda: lifecycle.heartbeat(task, started_at=start), claim

        for is_held, other in plays(prepare):
            assert is_held
            assert pks(other) == []


class TestDiscard:
    def test_a_task_is_discarded_or_claimed_never_both(self) -> None:
        def prepare() -> tuple[Act, Act]:
            results = tasks.echoes.enqueue_many([(1,), (2,)])
            ids = [uuid.UUID(result.id) for result in results]
            return lambda: lifecycle.discard(ids), claim

        for discarded, other in plays(prepare):
            assert discarded + len(other.tasks) == 2

    def test_a_failed_task_is_discarded_whether_or_not_it_is_re_driven(self) -> None:
        def prepare() -> tuple[Act, Act]:
            pk = Driver().task_in(Status.FAILED).pk
            return lambda: lifecycle.discard([pk]), lambda: lifecycle.redrive([pk])

        for discarded, redriven in plays(prepare):
            assert discarded == 1
            assert redriven in (0, 1)
            assert Task.objects.get(internal=False).status == Status.DISCARDED

    def test_a_task_being_settled_is_not_discarded_before_it_has_failed(self) -> None:
        def prepare() -> tuple[Act, Act]:
            held = claimed()
            ids = [task.pk for task in held]
            return settling(held, outcome=Outcome.FAILED), lambda: lifecycle.discard(ids)

        for settled, discarded in plays(prepare):
            assert len(settled) == 1
            status = Task.objects.get(internal=False).status
            assert status == (Status.DISCARDED if discarded else Status.FAILED)


class TestPrune:
    def test_it_deletes_nothing_that_is_being_settled(self) -> None:
        def prepare() -> tuple[Act, Act]:
            Driver().task_in(Status.SUCCEEDED)
            move_time(8 * 86400)
            return lifecycle.prune, settling(claimed())

        for pruned, settled in plays(prepare):
            assert (pruned, len(settled)) == (1, 1)
            assert Attempt.objects.count() == 1

    def test_a_failed_task_is_pruned_or_re_driven_never_both(self) -> None:
        def prepare() -> tuple[Act, Act]:
            pk = Driver().task_in(Status.FAILED).pk
            Task.objects.filter(internal=True).delete()
            move_time(91 * 86400)
            return lifecycle.prune, lambda: lifecycle.redrive([pk])

        for pruned, redriven in plays(prepare, is_pruned=True):
            assert pruned + redriven == 1

    def test_two_sweeps_at_once_delete_each_task_once(self) -> None:
        def prepare() -> tuple[Act, Act]:
            Driver().task_in(Status.SUCCEEDED)
            Driver().task_in(Status.SUCCEEDED)
            move_time(8 * 86400)
            return lifecycle.prune, lifecycle.prune

        for first, second in plays(prepare):
            assert first + second == 2
