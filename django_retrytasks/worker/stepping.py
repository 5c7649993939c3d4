"""Run due Tasks one by one in the calling process, as tests do."""

from __future__ import annotations

from django_retrytasks import lifecycle
from django_retrytasks.broker import clusters
from django_retrytasks.lifecycle.claiming import INLINE_LEASE
from django_retrytasks.models import Task

from .batch import Batch
from .breaking import breaking
from .lookout import Lookout


def run_next() -> Task | None:
    """Run the first due Task of the first cluster that has one; None: no Task is due.

    It runs on the caller's connections. Its lease is long, since no heartbeat extends it. Tasks
    that start to wait wake no cluster. Breakers open and close as in a worker.
    """
    breaking.forget_unstored()
    with lifecycle.running_inline(()):
        for key in clusters.keys():  # noqa: SIM118  # a function
            claim = Lookout(key).claim(1, clusters.worker_name(), lease=INLINE_LEASE)
            if claim.tasks:
                Batch(claim, is_inline=True).run()
                return claim.tasks[0]
    return None
