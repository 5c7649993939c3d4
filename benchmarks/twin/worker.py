"""What a cluster's worker calls: for a second, claim due jobs, run them, and settle them."""

from __future__ import annotations

import os
import time
import traceback
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from django.db import transaction
from django.db.models import F
from django.utils import timezone
from django.utils.module_loading import import_string
from django_q.models import OrmQ
from django_q.signing import SignedPackage

from .models import Job, Run

SLICE_SECONDS = 1.0
LEASE = timedelta(minutes=1)
# A claim takes work of about so many seconds, and at most so many jobs.
CLAIM_SECONDS = 0.05
MOST = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How one run ended; ``error`` is None if it succeeded."""

    job: Job
    started_at: datetime
    finished_at: datetime
    error: Exception | None


def serve(queue: str) -> None:
    """Work for one slice; leave a wake-up if jobs are still due."""
    worker = f"{os.uname().nodename}:{os.getpid()}"
    end, mean = time.monotonic() + SLICE_SECONDS, CLAIM_SECONDS
    while time.monotonic() < end:
        jobs = claim(queue, worker, limit=max(1, min(MOST, int(CLAIM_SECONDS / mean))))
        if not jobs:
            return
        begun = time.perf_counter()
        endings = [run(job) for job in jobs]
        mean = max(1e-6, (time.perf_counter() - begun) / len(jobs))
        settle(endings, worker)
    wake(1)


def claim(queue: str, worker: str, *, limit: int) -> Sequence[Job]:
    """Take due jobs, the highest priority and the longest due first."""
    now = timezone.now()
    due = Job.objects.filter(queue=queue, due_at__lte=now).order_by("-priority", "due_at")
    needed = due.only("function", "arguments", "retry_count", "max_retries")
    with transaction.atomic():
        jobs = list(needed.select_for_update(skip_locked=True)[:limit])
        if jobs:
            Job.objects.filter(pk__in=[job.pk for job in jobs]).update(
                state="running", due_at=now + LEASE, worker=worker, started_at=now
            )
    return jobs


def run(job: Job) -> Ending:
    started_at, error = timezone.now(), None
    try:
        function_of(job.function)(*job.arguments)
    except Exception as raised:
        error = raised
    return Ending(job=job, started_at=started_at, finished_at=timezone.now(), error=error)


@cache
def function_of(path: str) -> Callable[..., Any]:
    return import_string(path)  # type: ignore[no-any-return]


def settle(endings: Sequence[Ending], worker: str) -> None:
    """Record the endings, in one transaction."""
    with transaction.atomic():
        Run.objects.bulk_create(row(ending, worker) for ending in endings)
        for state, values in OUTCOMES.items():
            keys = [each.job.pk for each in endings if outcome(each) == state]
            if keys:
                held = Job.objects.filter(pk__in=keys, state="running", worker=worker)
                held.update(state=state, **{key: value() for key, value in values.items()})


def row(ending: Ending, worker: str) -> Run:
    error = ending.error
    return Run(
        job_id=ending.job.pk,
        number=ending.job.retry_count + 1,
        started_at=ending.started_at,
        finished_at=ending.finished_at,
        worker=worker,
        error=type(error).__name__ if error else "",
        traceback="".join(traceback.format_exception(error)) if error else "",
    )


def outcome(ending: Ending) -> str:
    if ending.error is None:
        return "succeeded"
    return "retrying" if ending.job.retry_count < ending.job.max_retries else "failed"


def nothing() -> None:
    return None


OVER: dict[str, Callable[[], Any]] = {"due_at": nothing, "finished_at": timezone.now}
OUTCOMES: dict[str, dict[str, Callable[[], Any]]] = {
    "succeeded": OVER,
    "failed": OVER,
    "retrying": {"retry_count": lambda: F("retry_count") + 1, "due_at": timezone.now},
}


def wake(count: int) -> None:
    """Have the cluster call ``serve`` so many times."""
    OrmQ.objects.bulk_create(
        OrmQ(key="benchmarks", payload=package(), lock=timezone.now()) for _ in range(count)
    )


def package() -> str:
    values = {
        "id": uuid.uuid4().hex,
        "name": "twin",
        "func": "benchmarks.twin.worker.serve",
        "args": ("default",),
        "kwargs": {},
        "save": False,
        "started": timezone.now(),
    }
    return str(SignedPackage.dumps(values))
