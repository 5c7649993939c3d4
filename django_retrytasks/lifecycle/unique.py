"""Unique Tasks: each holds its key until it is final, and until its period is over."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from django.db import IntegrityError, OperationalError, connections, transaction
from django.db.models import F, Q

from django_retrytasks.database import DATABASE_NOW, DatabaseNow, alias
from django_retrytasks.database.persistence import is_joined
from django_retrytasks.database.refusals import has_transient_code, is_deadlock
from django_retrytasks.models import Status, Task
from django_retrytasks.values import moments

from .endings import Settled
from .lanes import paused_now
from .log import log_all
from .rows import by_pk

Held = dict[uuid.UUID, Task]
"""The holder of the key, by the id of each Task whose key another Task holds."""
Holders = dict[uuid.UUID | None, Task]
"""Tasks by the unique key."""

# Two rounds suffice, unless a key is taken and freed between the statements of one round.
ROUNDS = 100
# Times that an enqueue is tried again.
DEADLOCKS = 10

WAITED = (
    "{name} is unique: another transaction enqueues it with the same key. Try again, and commit "
    "such transactions soon."
)


def again_after_deadlocks(act: Callable[[], Held]) -> Held:
    """Run a transaction, and a few times again after deadlocks; a caller's one only once.

    MariaDB locks the gap beside a key that was free before, and so lets Tasks of other keys wait.
    """
    for _ in range(DEADLOCKS):
        try:
            return act()
        except OperationalError as error:
            if is_joined() or not is_deadlock(error):
                raise
    return act()


def take_keys(tasks: Sequence[Task], take: Callable[[list[Task]], int]) -> Held:
    """Let Tasks hold their unique keys; return the holders of the keys that others hold.

    Of Tasks with one key, the first takes it. It waits for a transaction that takes one of the keys
    at the same time.

    Args:
        take: lets Tasks hold their keys, in this order, unless another Task holds one by then;
            returns how many do so.

    Raises:
        OperationalError: the wait took too long, or the other transaction's rows are not visible in
            the caller's one; a note says so.
    """
    firsts = {task.unique_key: task for task in reversed(tasks)}
    with _explaining_waits(tasks[0].name):
        holders = _take_free(firsts, take)
    found = {task.pk: holders.get(task.unique_key, firsts[task.unique_key]) for task in tasks}
    return {pk: holder for pk, holder in found.items() if holder.pk != pk}


def _take_free(firsts: Holders, take: Callable[[list[Task]], int]) -> Holders:
    """Let Tasks take the keys that are free; return the Tasks that hold others."""
    holders: Holders = {}
    # Always in this order, so that two transactions do not deadlock.
    free = sorted(key for key in firsts if key)
    for beaten in range(ROUNDS):
        holders |= _holders(free, is_beaten=beaten > 0)
        free = [key for key in free if key not in holders]
        if not free or take([firsts[key] for key in free]) == len(free):
            return holders
    raise RuntimeError(
        f"{firsts[free[0]].name}: no Task holds its unique key, and none can take it"
    )


def take_keys_again(tasks: list[Task]) -> list[Task]:
    """Let final Tasks hold their keys again; return the Tasks whose key no other Task holds."""
    keyless = [task for task in tasks if task.unique_key and task.held_key is None]
    if not keyless:
        return tasks
    refused = take_keys(keyless, _take)
    left = [task for task in tasks if task.pk in refused]
    log_all(logging.WARNING, "not re-driven: another Task holds its unique key", left)
    return [task for task in tasks if task.pk not in refused]


def free_keys(settled: Sequence[Settled]) -> None:
    """Free the keys of Tasks that become final, unless their periods go on.

    The same column is added for all, since one statement writes them; none if no Task is unique.
    """
    if not any(each.ending.task.held_key for each in settled):
        return
    for each in settled:
        task, finished_at = each.ending.task, each.values["finished_at"]
        keeps = finished_at is None or _is_in_period(task, finished_at)
        each.values["held_key"] = task.held_key if keeps else None


def holders_of(ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, uuid.UUID]:
    """Return the ids of the Tasks that hold the keys of failed ones, by the id of each of these."""
    keyless = Task.objects.filter(status=Status.FAILED, unique_key__isnull=False, held_key=None)
    keys = dict(keyless.filter(pk__in=list(ids)).values_list("pk", "unique_key"))
    holding = Task.objects.filter(held_key__in=set(keys.values()))
    holders = dict(holding.values_list("held_key", "pk"))
    return {pk: holders[key] for pk, key in keys.items() if key in holders}


def _holders(keys: Sequence[uuid.UUID], *, is_beaten: bool) -> Holders:
    """Return the Tasks that hold keys, by the key; free the keys that no Task needs any more."""
    rows = Task.objects.filter(held_key__in=keys).annotate(**{DATABASE_NOW: DatabaseNow()})
    if is_beaten and connections[alias()].vendor == "mysql":
        # At REPEATABLE READ a plain SELECT does not show the row that has just taken the key.
        rows = rows.select_for_update()
    found = list(rows)
    over = [task for task in found if _is_over(task, getattr(task, DATABASE_NOW))]
    if over:
        # Unless it has been re-driven since: then it has an attempt, and is not final.
        stays = Q(run_after=None) | Q(status=Status.PENDING, attempt_count=0)
        by_pk(over).filter(stays).update(held_key=None)
    return {task.held_key: task for task in found if task not in over}


def _is_over(task: Task, now: datetime) -> bool:
    """Whether a Task will not run any more, and its period is over."""
    if task.is_finished:
        return not _is_in_period(task, now)
    # The time behind a breaker does not count.
    return task.is_expired(now) and paused_now().breaker_before(task) is None


def _is_in_period(task: Task, at: datetime) -> bool:
    until = task.unique_until
    return until is not None and moments.between(at, until) > moments.ZERO


def _take(tasks: Sequence[Task]) -> int:
    try:
        with transaction.atomic(using=alias()):
            return by_pk(tasks).update(held_key=F("unique_key"))
    except IntegrityError:
        return 0


@contextmanager
def _explaining_waits(name: str) -> Iterator[None]:
    try:
        yield
    except OperationalError as error:
        if has_transient_code(error):
            error.add_note(WAITED.format(name=name))
        raise
