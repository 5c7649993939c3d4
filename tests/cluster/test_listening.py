"""A real cluster that listens, with a poll of seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from django_retrytasks.broker import listening
from tests.support import tasks
from tests.support.cluster import Cluster, running_cluster, wait_for
from tests.support.driver import KEY
from tests.support.rows import finished

BROKER = "django_retrytasks.broker.listening.ListeningBroker"
# Seconds. A poll finds a Task after half of them on average.
POLL = 3

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(
        connection.vendor != "postgresql", reason="only PostgreSQL sends notifications"
    ),
]


@pytest.fixture
def cluster(settings: Any, transactional_db: None, tmp_path: Path) -> Iterator[Cluster]:
    settings.Q_CLUSTER = {**settings.Q_CLUSTER, "broker_class": BROKER, "poll": POLL}
    environment = {"Q_CLUSTER_BROKER": BROKER, "Q_CLUSTER_POLL": str(POLL)}
    with running_cluster(tmp_path / "log", **environment) as cluster:
        wait_for(listeners)
        yield cluster


def listeners() -> list[int]:
    """Return the process ids of the sessions that listen to the cluster's channel."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query = %s",
            [f"LISTEN {listening.channel(KEY)}"],
        )
        return [pid for (pid,) in cursor.fetchall()]


def pick_up() -> float:
    """Run a Task; return the seconds from its enqueue to the start of its only attempt."""
    began = timezone.now()
    [attempt] = finished(tasks.echoes.enqueue(1)).attempts.all()
    return (attempt.started_at - began).total_seconds()


def test_tasks_start_at_once_and_do_so_again_after_the_listening_session_was_killed(
    cluster: Cluster, tell: Callable[[str], None]
) -> None:
    before = [pick_up() for _ in range(5)]
    [killed] = wait_for(listeners)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s)", [killed])

    meanwhile = finished(tasks.echoes.enqueue(1))
    wait_for(listeners)
    after = [pick_up() for _ in range(5)]

    tell(f"pick-up with a poll of {POLL} s: {max(before):.3f} s, after the kill {max(after):.3f} s")
    assert max(before + after) < POLL / 2
    assert meanwhile.status == "SUCCEEDED"
    log = cluster.log.read_text()
    assert log.count("the cluster polls") == 1
    assert "Traceback" not in log
