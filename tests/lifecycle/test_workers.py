"""The rows of workers: noted while they live, forgotten when they have ended."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db.models import F

from django_retrytasks import lifecycle
from django_retrytasks.database import DatabaseNow
from django_retrytasks.lifecycle import workers
from django_retrytasks.models import Worker

pytestmark = pytest.mark.django_db


def seen_ago(name: str, seconds: float) -> None:
    workers.note(name, "shop", age=100, idle=None)
    seen_at = DatabaseNow() - timedelta(seconds=seconds)
    Worker.objects.filter(name=name).update(seen_at=seen_at)


def test_worker_has_one_row_however_often_it_is_noted() -> None:
    workers.note("host:1:one", "shop", age=0, idle=None)
    first = Worker.objects.get()

    workers.note("host:1:one", "shop", age=15, idle=3)

    row = Worker.objects.get()
    assert (row.name, row.cluster) == ("host:1:one", "shop")
    assert first.served_at is None
    assert row.served_at is not None
    assert row.seen_at - row.served_at == pytest.approx(timedelta(seconds=3), abs=timedelta(0.001))
    assert row.seen_at - row.started_at == timedelta(seconds=15)
    assert row.seen_at >= first.seen_at


def test_worker_that_took_over_a_process_id_has_its_own_times() -> None:
    workers.note("host:1:one", "shop", age=5000, idle=10)

    workers.note("host:1:one", "other", age=0, idle=None)

    row = Worker.objects.get()
    assert (row.cluster, row.served_at) == ("other", None)
    assert Worker.objects.filter(started_at=F("seen_at")).exists()


def test_workers_seen_lately_are_alive() -> None:
    seen_ago("host:1:one", 44)
    seen_ago("host:2:two", 46)

    assert [row.name for row in workers.alive()] == ["host:1:one"]


def test_sweep_forgets_workers_that_were_not_seen_for_ten_minutes() -> None:
    seen_ago("host:1:one", 599)
    seen_ago("host:2:two", 601)

    lifecycle.sweep()

    assert [row.name for row in Worker.objects.all()] == ["host:1:one"]
