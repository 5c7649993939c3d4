"""Two sessions at work on a breaker, their statements in every order that there is."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from django_retrytasks import lifecycle
from django_retrytasks.lifecycle import Claim, breakers, lanes
from django_retrytasks.lifecycle.endings import Meaning, Sign
from django_retrytasks.models import OpenBreaker, Task
from django_retrytasks.values.entries import BREAKER_ENTRY
from tests.adversary.test_interleavings import two_sessions as two_sessions
from tests.support import tasks
from tests.support.driver import Outcome
from tests.support.plays import Act, claimed, plays, settling

pytestmark = pytest.mark.django_db(transaction=True)
ECHOES = "tests.support.tasks.echoes"


class TestBreakers:
    def test_a_claim_that_parks_and_a_close_strand_no_task(self) -> None:
        def prepare() -> tuple[Act, Act]:
            breakers.open_breaker(ECHOES, probe_every=60)
            tasks.echoes.enqueue_many([(1,), (2,)])
            known = lanes.paused_now()
            return lambda: claim_knowing(known), lambda: breakers.close_breaker(ECHOES)

        for _, is_closed in plays(prepare):
            assert is_closed
            waiting = Task.objects.filter(internal=False)
            assert not [task for task in waiting if task.is_parked]

    def test_a_claim_with_old_knowledge_lets_the_probe_through(self) -> None:
        def prepare() -> tuple[Act, Act]:
            breakers.open_breaker(ECHOES, probe_every=60)
            tasks.echoes.enqueue_many([(1,), (2,)])
            claim_knowing(lanes.paused_now())
            OpenBreaker.objects.update(next_probe_at=timezone.now() - timedelta(hours=1))
            known = lanes.paused_now()
            return lambda: claim_knowing(known), breakers.let_due_probes_through

        for _ in plays(prepare):
            waiting = Task.objects.filter(internal=False)
            probe = [task.pk for task in waiting if not task.is_parked]
            assert probe == [OpenBreaker.objects.get().probe]

    def test_two_settles_that_open_it_open_it_once(self) -> None:
        def prepare() -> tuple[Act, Act]:
            one, two = claimed(many=2)
            return opening(one), opening(two)

        for one, two in plays(prepare):
            assert (len(one), len(two)) == (1, 1)
            assert OpenBreaker.objects.count() == 1
            assert Task.objects.filter(internal=True, name=BREAKER_ENTRY).count() == 1


def claim_knowing(paused: lanes.Paused) -> Claim:
    among = {("default", 0): timezone.now()}
    return lifecycle.claim(among, limit=50, worker="host:1:one", paused=paused)


def opening(task: Task) -> Act:
    sign = Sign(meaning=Meaning.OPENS, wait=60, probe_every=60, reason="3 failures in a row")
    return settling([task], outcome=Outcome.FAILED, countdown=5, sign=sign)
