"""Every peer: what it needs, how it is set, what it keeps, and what it loses when it is killed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

from benchmarks.measuring.servers import MARIADB, POSTGRES, REDIS, SQLITE

SQL = (POSTGRES, MARIADB, SQLITE)
OURS = "retrytasks"


@dataclass(frozen=True, kw_only=True)
class Peer:
    """One peer in one setting.

    ``pace`` is about how many tasks that do nothing it drains in a second on two cores: how many
    a round enqueues. ``stores`` are the databases it can keep its queue in.
    """

    name: str
    title: str
    module: str
    pace: int
    commands: tuple[str, ...]
    # Words for the page of documentation.
    setup: str
    keeps: str
    loses: str
    packages: tuple[str, ...] = ()
    stores: tuple[str, ...] = SQL
    needs: tuple[str, ...] = ()
    # Settings of the site; see benchmarks/settings.py.
    settings: Mapping[str, Any] = field(default_factory=dict)
    # Whether its commands end by themselves, and run no task.
    is_limit: bool = False

    @property
    def missing(self) -> list[str]:
        """Return the packages that it needs and that are not installed."""
        return [name for name in self.packages if not _is_installed(name)]


def _is_installed(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True


def _cluster(**options: object) -> dict[str, object]:
    return {"name": "benchmarks", "orm": "default", "workers": 2, "timeout": 200, "retry": 300} | (
        options
    )


QCLUSTER = ("python -m django qcluster",)
PERSISTENT = "connections persist"
TWO_PROCESSES = "two worker processes"
REDIS_KILLED = "all of them if Redis, which keeps no log here, is killed"
REQUEUED = "nothing: it is delivered again after `retry` seconds, and the death is not counted"

PEERS = (
    Peer(
        name=OURS,
        title="django-retrytasks",
        module="retrytasks",
        pace=4000,
        commands=QCLUSTER,
        settings={
            "INSTALLED_APPS": ["django.contrib.contenttypes", "django_q", "django_retrytasks"],
            "Q_CLUSTER": _cluster(
                queue_limit=2, bulk=1, save_limit=-1, guard_cycle=0.5, log_level="WARNING"
            ),
            "TASKS": {
                "default": {"BACKEND": "django_retrytasks.backend.RetryTasksBackend", "QUEUES": []}
            },
        },
        setup=f"the README's settings; `workers=2`; {PERSISTENT}",
        keeps="a row for each task and one for each attempt, with its traceback",
        loses="nothing: it runs again once its lease is over, and the death is an attempt",
    ),
    Peer(
        name="yardstick",
        title="the yardstick",
        module="yardstick",
        pace=6000,
        commands=QCLUSTER,
        settings={
            "INSTALLED_APPS": ["django_q", "benchmarks.twin"],
            "Q_CLUSTER": _cluster(save_limit=-1, log_level="WARNING"),
        },
        setup=f"the bare idea in `benchmarks/twin`, by the plain ORM; `workers=2`; {PERSISTENT}",
        keeps="a row for each task and one for each attempt, with its traceback",
        loses="nothing: it runs again a minute later, and the death is not counted",
    ),
    Peer(
        name="tasks-db",
        title="django-tasks-db",
        module="tasks_db",
        packages=("django-tasks-db",),
        pace=500,
        commands=("python -m django db_worker --no-startup-delay --verbosity 0",) * 2,
        settings={
            "INSTALLED_APPS": ["django_tasks_db"],
            "TASKS": {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}},
        },
        setup=f"{TWO_PROCESSES}; {PERSISTENT}",
        keeps="a row for each task, with the traceback of its one attempt",
        loses="the task: it stays RUNNING for ever",
    ),
    Peer(
        name="q2-bare",
        title="django-q2, as it comes",
        module="q2",
        pace=50,
        commands=QCLUSTER,
        settings={
            "INSTALLED_APPS": ["django.contrib.contenttypes", "django_q"],
            "Q_CLUSTER": _cluster(),
            "CONN_MAX_AGE": 0,
        },
        setup="`workers=2`, all else as it comes: `CONN_MAX_AGE=0`, `save_limit=250`",
        keeps="a row for each of the last 250 tasks, overwritten by each attempt",
        loses=REQUEUED,
    ),
    Peer(
        name="q2-tuned",
        title="django-q2, tuned",
        module="q2",
        pace=350,
        commands=QCLUSTER,
        settings={
            "INSTALLED_APPS": ["django.contrib.contenttypes", "django_q"],
            "Q_CLUSTER": _cluster(
                bulk=50, queue_limit=500, save_limit=0, guard_cycle=0.5, log_level="WARNING"
            ),
        },
        setup=f"`workers=2`, `bulk=50`, `queue_limit=500`, `save_limit=0`; {PERSISTENT}",
        keeps="a row for each task, overwritten by each attempt",
        loses=REQUEUED,
    ),
    Peer(
        name="ox",
        title="django-ox",
        module="ox",
        packages=("django-ox",),
        pace=500,
        commands=("python -m django ox_worker --processes 2 --verbosity 0",),
        settings={
            "INSTALLED_APPS": ["django_ox"],
            "TASKS": {"default": {"BACKEND": "django_ox.backend.OxBackend"}},
        },
        setup=f"{TWO_PROCESSES}; {PERSISTENT}",
        keeps="a row for each task, with the traceback of each attempt in it",
        loses="nothing: it runs again once its lease is over, and the claim is counted",
    ),
    Peer(
        name="procrastinate",
        title="Procrastinate",
        module="procrastinate_pg",
        packages=("procrastinate",),
        pace=350,
        stores=(POSTGRES,),
        commands=("python -m django procrastinate worker --concurrency 2",),
        settings={
            "INSTALLED_APPS": ["procrastinate.contrib.django"],
            "PROCRASTINATE_IMPORT_PATHS": ["benchmarks.peers.procrastinate_pg"],
        },
        setup="one process, `concurrency=2`, coroutines; jobs are kept",
        keeps="a row for each task and for each of its events, without errors",
        loses="the task: it stays `doing` until code of yours looks for it",
    ),
    Peer(
        name="pgqueuer-10",
        title="pgqueuer, batches of 10",
        module="pgqueuer_async",
        packages=("pgqueuer", "asyncpg"),
        pace=5000,
        stores=(POSTGRES,),
        commands=("python -m benchmarks.peers.pgqueuer_async 10",) * 2,
        setup=f"{TWO_PROCESSES}, coroutines, `batch_size=10`",
        keeps="a log row for each change of status, with a traceback",
        loses="nothing: it runs again 30 s later, and so does up to a batch before it",
    ),
    Peer(
        name="pgqueuer-100",
        title="pgqueuer, batches of 100",
        module="pgqueuer_async",
        packages=("pgqueuer", "asyncpg"),
        pace=10000,
        stores=(POSTGRES,),
        commands=("python -m benchmarks.peers.pgqueuer_async 100",) * 2,
        setup=f"{TWO_PROCESSES}, coroutines, `batch_size=100`",
        keeps="a log row for each change of status, with a traceback",
        loses="nothing: it runs again 30 s later, and so does up to a batch before it",
    ),
    Peer(
        name="celery",
        title="Celery with Redis",
        module="celery_redis",
        packages=("celery", "redis"),
        pace=800,
        stores=(REDIS,),
        commands=(
            "python -m celery -A benchmarks.peers.celery_redis worker --concurrency 2 "
            "--without-gossip --without-mingle --without-heartbeat --loglevel CRITICAL",
        ),
        settings={
            "INSTALLED_APPS": [],
            "CELERY": {"task_ignore_result": True, "worker_prefetch_multiplier": 64},
        },
        setup="two pool processes, `worker_prefetch_multiplier=64`, results ignored",
        keeps="nothing",
        loses=f"the task that ran; {REDIS_KILLED}",
    ),
    Peer(
        name="celery-results",
        title="Celery with Redis, django-celery-results",
        module="celery_redis",
        packages=("celery", "redis", "django-celery-results"),
        pace=250,
        stores=(POSTGRES,),
        needs=(REDIS,),
        commands=(
            "python -m celery -A benchmarks.peers.celery_redis worker --concurrency 2 "
            "--without-gossip --without-mingle --without-heartbeat --loglevel CRITICAL",
        ),
        settings={
            "INSTALLED_APPS": ["django_celery_results"],
            "CELERY": {"result_backend": "django-db", "worker_prefetch_multiplier": 64},
        },
        setup="two pool processes, `worker_prefetch_multiplier=64`, results in PostgreSQL",
        keeps="a row for each task, overwritten by each attempt",
        loses=f"the task that ran; {REDIS_KILLED}",
    ),
    Peer(
        name="huey",
        title="Huey with Redis",
        module="huey_redis",
        packages=("huey", "redis"),
        pace=4000,
        stores=(REDIS,),
        commands=(
            "python -m huey.bin.huey_consumer benchmarks.peers.huey_redis.huey "
            "--workers 2 --worker-type process --no-periodic --quiet",
        ),
        settings={"INSTALLED_APPS": []},
        setup=f"{TWO_PROCESSES}, `results=False`",
        keeps="nothing",
        loses=f"the task that ran; {REDIS_KILLED}",
    ),
    Peer(
        name="dramatiq",
        title="Dramatiq with Redis",
        module="dramatiq_redis",
        packages=("dramatiq", "redis"),
        pace=3500,
        stores=(REDIS,),
        commands=(
            "python -m dramatiq benchmarks.peers.dramatiq_redis "
            "--processes 2 --threads 8 --skip-logging",
        ),
        settings={"INSTALLED_APPS": []},
        setup="two processes of eight threads, its default: with one it waits more than it works",
        keeps="nothing",
        loses=f"nothing: it runs again a minute later; {REDIS_KILLED}",
    ),
    Peer(
        name="pgbench",
        title="pgbench, the same rows",
        module="pgbench",
        pace=20000,
        stores=(POSTGRES,),
        commands=(
            "pgbench --no-vacuum --client 2 --jobs 2 --transactions {transactions} "
            "--file benchmarks/peers/pgbench.sql {url}",
        ),
        settings={"INSTALLED_APPS": ["django_q", "benchmarks.twin"], "Q_CLUSTER": _cluster()},
        setup="two clients claim and settle fifty rows of the yardstick's at a time; no Python",
        keeps="a row for each task and one for each attempt",
        loses="not comparable: it runs no function",
        is_limit=True,
    ),
)
BY_NAME = {peer.name: peer for peer in PEERS}
