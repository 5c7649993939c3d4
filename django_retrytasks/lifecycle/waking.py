"""Make waiting Tasks run: by wake-ups, or inline."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from django.utils import timezone

from django_retrytasks.broker import clusters, inline, wakeups
from django_retrytasks.models import Task

from . import lanes

Waiting = tuple[Task, wakeups.Wake]
"""A waiting Task, and when to wake a cluster for it."""

# Tasks that the enclosing `running_inline` runs; None: clusters run them.
_pending_inline: ContextVar[set[uuid.UUID] | None] = ContextVar("pending_inline", default=None)


@contextmanager
def running_inline(ids: Iterable[uuid.UUID]) -> Iterator[set[uuid.UUID]]:
    """Collect the Tasks that start to wait during the body, which must run them; wake no cluster.

    Yields a set of ids that starts with ``ids`` and grows as Tasks are enqueued and retried.
    """
    pending = set(ids)
    token = _pending_inline.set(pending)
    try:
        yield pending
    finally:
        _pending_inline.reset(token)


def wakes_clusters() -> bool:
    """Whether clusters run the Tasks that start to wait now, not the calling process."""
    return _pending_inline.get() is None and not inline.is_sync()


def wake_for(waiting: Sequence[Waiting]) -> None:
    """Make waiting Tasks run: by wake-ups, recorded on each Task, or inline.

    Tasks of one moment get at most one wake-up for each worker of their cluster. A worker that
    leaves due Tasks behind writes more.
    """
    if not waiting:
        return
    if (pending := _pending_inline.get()) is not None:
        pending |= {task.pk for task, _ in waiting}
    elif inline.is_sync():
        inline.run_after_commit({task.pk for task, _ in waiting})
    else:
        _write_wakeups(waiting)


def _write_wakeups(waiting: Sequence[Waiting]) -> None:
    for key, pairs in wakes_for(waiting).items():
        ids = wakeups.write(key, [wake for _, wake in pairs])
        for (task, _), wakeup_id in zip(pairs, ids, strict=True):
            task.wakeup_id = wakeup_id


def wakes_for(waiting: Sequence[Waiting]) -> Mapping[str, Sequence[Waiting]]:
    """Return the wakes to write, by the cluster's key: those soon, one for each worker at most."""
    horizon = timezone.now() + wakeups.HORIZON
    shared: dict[tuple[str, wakeups.Wake], int] = defaultdict(int)
    by_key: dict[str, list[Waiting]] = defaultdict(list)
    for task, wake in waiting:
        key = clusters.key_for(task.queue_name)
        shared[key, wake] += 1
        if shared[key, wake] <= clusters.workers_of(key) and wake.at <= horizon:
            by_key[key].append((task, wake))
    return by_key


def wake_for_due(key: str) -> bool:
    """Write wake-ups if Tasks of a cluster are due; return whether any was written."""
    return bool(lanes.survey().for_cluster(key).due) and wake_cluster(key)


def wake_cluster(key: str, *, least: int = 1) -> bool:
    """Write wake-ups until one waits for each worker of a cluster; return whether any was written.

    Args:
        key: the cluster's key.
        least: at least so many are written: the waiting rows may be other packages' work.
    """
    missing = clusters.workers_of(key) - wakeups.waiting_count(key)
    count = max(least, missing)
    if count:
        wakeups.write(key, [wakeups.now()] * count)
    return bool(count)
