"""Count failures of one cause in their group; mute, resolve, reopen and prune groups."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from django.db import connections
from django.db.models import Case, F, Value, When

from django_retrytasks import conf, database
from django_retrytasks.database import DATABASE_NOW, DatabaseNow, writing
from django_retrytasks.errors.fingerprints import fingerprint
from django_retrytasks.errors.reports import ErrorReport
from django_retrytasks.models import FailureGroup, FailureGroupQuerySet, Task
from django_retrytasks.values.ids import as_ids

from .rows import CHUNK

GroupStatus = FailureGroup.Status
NO_STREAK: dict[str, Any] = {"streak_count": 0, "streak_started_at": None, "alerted_count": 0}


@dataclass(frozen=True, kw_only=True)
class Failed:
    """A failed attempt of a Task, final or not."""

    task: Task
    error: ErrorReport
    is_final: bool

    @cached_property
    def fingerprint(self) -> uuid.UUID:
        """Return the fingerprint of its group."""
        path = self.error.known_class_path or self.error.class_path
        return fingerprint(self.task.name, path, self.error.origin, self.error.message)


def count(failures: Iterable[Failed]) -> None:
    """Count failures in their groups, one statement for each group, in the caller's transaction.

    Call it last in the transaction: the group rows stay locked until the commit.
    """
    by_group: dict[uuid.UUID, list[Failed]] = defaultdict(list)
    for failed in failures:
        by_group[failed.fingerprint].append(failed)
    for pk in sorted(by_group):  # always in this order, so that two transactions do not deadlock
        group_failures = by_group[pk]
        finals = [failed.task.pk for failed in group_failures if failed.is_final]
        first, error = group_failures[0], group_failures[0].error
        group = FailureGroup(
            fingerprint=pk,
            name=first.task.name,
            exception_class_path=error.class_path,
            origin=error.origin,
            message=error.message,
        )
        _add(
            group,
            finals=len(finals),
            attempts=len(group_failures),
            sample=finals[-1] if finals else None,
        )


def count_breach(group: FailureGroup) -> None:
    """Count a breach of an alert rule."""
    with writing():
        _add(group, finals=1, attempts=0, sample=None)


def _add(group: FailureGroup, *, finals: int, attempts: int, sample: uuid.UUID | None) -> None:
    changes = _changes(finals=finals, attempts=attempts, sample=sample)
    row = FailureGroup.objects.filter(pk=group.pk)
    if not row.update(**changes):
        group.first_seen_at = group.last_seen_at = DatabaseNow()
        ensure_stored(group)
        row.update(**changes)


def ensure_stored(group: FailureGroup) -> None:
    """Store a group, or lock its row if it exists.

    Ignoring the conflict would leave a shared lock on MariaDB, and two of these make a deadlock.
    """
    has_target = connections[database.alias()].features.supports_update_conflicts_with_target
    key = ["fingerprint"] if has_target else None
    FailureGroup.objects.bulk_create(
        [group], update_conflicts=True, update_fields=["name"], unique_fields=key
    )


def _changes(*, finals: int, attempts: int, sample: uuid.UUID | None) -> dict[str, Any]:
    now = DatabaseNow()
    changes: dict[str, Any] = {
        "failed_attempt_count": F("failed_attempt_count") + attempts,
        "last_seen_at": now,
    }
    if not finals:
        return changes
    is_resolved, is_first = {"status": GroupStatus.RESOLVED}, {"streak_count": 0}
    # MariaDB and MySQL assign from left to right and see earlier changes, so the order matters.
    return changes | {
        "regressed_at": Case(When(**is_resolved, then=now), default=F("regressed_at")),
        "status": Case(When(**is_resolved, then=Value(GroupStatus.OPEN)), default=F("status")),
        "streak_started_at": Case(When(**is_first, then=now), default=F("streak_started_at")),
        "streak_count": F("streak_count") + finals,
        "failure_count": F("failure_count") + finals,
        "last_failed_at": now,
        "sample": sample,
    }


def mute(fingerprints: Iterable[uuid.UUID], until: datetime | None = None) -> int:
    """Stop the alerts of groups until a moment, or until reopened; return how many.

    Their failures are still counted, and reported after the mute.
    """
    return _set(fingerprints, status=GroupStatus.MUTED, muted_until=until)


def resolve(fingerprints: Iterable[uuid.UUID]) -> int:
    """Mark groups as fixed; return how many. The next failure reopens one, as a regression."""
    resolved = {"status": GroupStatus.RESOLVED, "muted_until": None, "resolved_at": DatabaseNow()}
    return _set(fingerprints, **resolved, **NO_STREAK, alerted_at=None)


def reopen(fingerprints: Iterable[uuid.UUID]) -> int:
    """Let muted or resolved groups alert again; return how many."""
    return _set(fingerprints, status=GroupStatus.OPEN, muted_until=None)


def _set(fingerprints: Iterable[uuid.UUID], **values: Any) -> int:
    ids = as_ids(fingerprints)
    with writing():
        rows = locked(FailureGroup.objects.filter(pk__in=ids))
        pks = [group.pk for group, _ in rows]
        return int(FailureGroup.objects.filter(pk__in=pks).update(**values))


def prune(kept: timedelta) -> int:
    """Delete the first of the groups that are :func:`prunable`; return how many."""
    pks = list(prunable(kept).values_list("pk", flat=True)[:CHUNK])
    if not pks:
        return 0
    with writing():
        deleted, _ = _old(kept).filter(pk__in=pks).delete()
    return deleted


def prunable(kept: timedelta) -> FailureGroupQuerySet:
    """Return the groups whose last failure is older than ``kept``.

    It spares muted groups and groups with Tasks. ``kept`` is at least the cooldown and a day, so
    that all alerts are sent.
    """
    return _old(kept).filter(tasks=None)


def _old(kept: timedelta) -> FailureGroupQuerySet:
    kept = max(kept, conf.get().cooldown + timedelta(days=1))
    unmuted = FailureGroup.objects.exclude(status=GroupStatus.MUTED)
    return unmuted.filter(last_seen_at__lt=DatabaseNow() - kept)


def locked(groups: FailureGroupQuerySet) -> list[tuple[FailureGroup, datetime]]:
    """Lock groups in the caller's transaction; return each with the database's time."""
    rows = groups.annotate(**{DATABASE_NOW: DatabaseNow()}).select_for_update().order_by("pk")
    return [(group, getattr(group, DATABASE_NOW)) for group in rows]
