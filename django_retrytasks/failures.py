"""Failures of one cause, counted in the settle and told of only so often.

Counting is a step of the settle's transaction. Each of the others is a transaction of its own that
locks the groups it decides about, so two who look at once do not both tell.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cached_property
from typing import Any

from django.db import connections
from django.db.models import Case, Exists, F, OuterRef, Q, Value, When

from . import conf, wakeups
from .fingerprints import fingerprint
from .ids import as_ids
from .models import DatabaseNow, FailureGroup, FailureGroupQuerySet, Status, Task
from .reports import ErrorReport
from .transactions import writing

# A group has recovered when nothing failed for so long, or for ALERT_COOLDOWN if that is less.
QUIET = timedelta(minutes=5)
GROUP = FailureGroup.Status
DATABASE_NOW = "database_now"
CHUNK = 1000
NO_STREAK: dict[str, Any] = {"streak_count": 0, "streak_started_at": None, "alerted_count": 0}


class NoticeKind(StrEnum):
    """What a notice says of a group."""

    # The first failure of a streak.
    FAILING = "FAILING"
    # It goes on failing.
    STILL_FAILING = "STILL_FAILING"
    # It has been quiet, and a Task of its function has succeeded since.
    RECOVERED = "RECOVERED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What there is to tell of a group at one moment, decided and noted on its row.

    ``count`` are the failures of the streak, ``new_count`` those not told of before;
    ``since`` is the start of the streak, ``told_at`` the moment of the last notice, if any.
    """

    kind: NoticeKind
    fingerprint: uuid.UUID
    sample_id: uuid.UUID | None
    count: int
    new_count: int
    since: datetime
    told_at: datetime | None
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Failed:
    """A failed attempt of a Task, final or not."""

    task: Task
    error: ErrorReport
    is_final: bool

    @cached_property
    def fingerprint(self) -> uuid.UUID:
        """Return the group it belongs to."""
        path = self.error.known_class_path or self.error.class_path
        return fingerprint(self.task.name, path, self.error.origin, self.error.message)


# ---- counting


def count(failures: Iterable[Failed]) -> None:
    """Count failures in their groups, one statement for each group, in the caller's transaction.

    To be its last step: the row of a group is then locked for the commit alone.
    """
    by_group: dict[uuid.UUID, list[Failed]] = defaultdict(list)
    for failed in failures:
        by_group[failed.fingerprint].append(failed)
    for pk in sorted(by_group):  # in one order, so that two who count do not wait for each other
        same = by_group[pk]
        finals = [failed.task.pk for failed in same if failed.is_final]
        first, error = same[0], same[0].error
        group = FailureGroup(
            fingerprint=pk,
            name=first.task.name,
            exception_class_path=error.class_path,
            origin=error.origin,
            message=error.message,
        )
        _add(group, finals=len(finals), attempts=len(same), sample=finals[-1] if finals else None)


def count_breach(group: FailureGroup) -> None:
    """Count a breach of an alert rule."""
    with writing():
        _add(group, finals=1, attempts=0, sample=None)


def _add(group: FailureGroup, *, finals: int, attempts: int, sample: uuid.UUID | None) -> None:
    changes = _changes(finals=finals, attempts=attempts, sample=sample)
    row = _groups().filter(pk=group.pk)
    if not row.update(**changes):
        group.first_seen_at = group.last_seen_at = DatabaseNow()
        _make_sure_of(group)
        row.update(**changes)


def _make_sure_of(group: FailureGroup) -> None:
    """Store a group, unless it is there: then its row is locked.

    To ignore the conflict would leave a shared lock on MariaDB, and two who hold it a deadlock.
    """
    has_target = connections[wakeups.alias()].features.supports_update_conflicts_with_target
    key = ["fingerprint"] if has_target else None
    _groups().bulk_create([group], update_conflicts=True, update_fields=["name"], unique_fields=key)


def _changes(*, finals: int, attempts: int, sample: uuid.UUID | None) -> dict[str, Any]:
    now = DatabaseNow()
    changes: dict[str, Any] = {
        "failed_attempt_count": F("failed_attempt_count") + attempts,
        "last_seen_at": now,
    }
    if not finals:
        return changes
    is_resolved, is_first = {"status": GROUP.RESOLVED}, {"streak_count": 0}
    # MariaDB and MySQL see what stands to the left as changed already, so the order matters.
    return changes | {
        "regressed_at": Case(When(**is_resolved, then=now), default=F("regressed_at")),
        "status": Case(When(**is_resolved, then=Value(GROUP.OPEN)), default=F("status")),
        "streak_started_at": Case(When(**is_first, then=now), default=F("streak_started_at")),
        "streak_count": F("streak_count") + finals,
        "failure_count": F("failure_count") + finals,
        "last_failed_at": now,
        "sample": sample,
    }


# ---- telling


def take_due(fingerprints: Iterable[uuid.UUID]) -> list[Notice]:
    """Return what there is to tell of these groups now, and note that it is told.

    To be called in the transaction that stores the notices.
    """
    cooldown = conf.get().cooldown
    locked = _locked(_groups().filter(pk__in=list(fingerprints)))
    due = [(group, now) for group, now in locked if group.alert_is_due(now, cooldown)]
    for group, now in due:
        told = {"alerted_count": group.streak_count, "alerted_at": now}
        _groups().filter(pk=group.pk).update(**told, status=GROUP.OPEN, muted_until=None)
    return [_notice(group, now) for group, now in due]


def take_overdue() -> list[Notice]:
    """Do as :func:`take_due` for all groups: what failed within a cooldown is told after it.

    At most a thousand groups; the next sweep goes on.
    """
    untold = _groups().failing().exclude(streak_count=F("alerted_count"))
    told_before = Q(alerted_at=None) | Q(alerted_at__lte=DatabaseNow() - conf.get().cooldown)
    return take_due(untold.filter(told_before).values_list("pk", flat=True)[:CHUNK])


def take_recovered() -> list[Notice]:
    """End the streaks of groups that have recovered; return what there is to tell of it.

    A group has recovered when a Task of its function has succeeded after its last failure and
    nothing failed since for five minutes, or for ``ALERT_COOLDOWN`` if that is less; a rule, when
    it has not been breached for as long. A muted one has not until the mute is over. To be called
    in the transaction that stores the notices.
    """
    quiet = DatabaseNow() - min(QUIET, conf.get().cooldown)
    succeeded = Task.objects.filter(
        name=OuterRef("name"), status=Status.SUCCEEDED, finished_at__gt=OuterRef("last_failed_at")
    )
    is_over = Q(kind=FailureGroup.Kind.RULE) | Exists(succeeded)
    over = _groups().failing().audible().filter(is_over, last_failed_at__lte=quiet)
    # Found first, then locked by key: MariaDB locks what it walks over as well.
    locked = _locked(over.filter(pk__in=list(over.values_list("pk", flat=True)[:CHUNK])))
    ended = _groups().filter(pk__in=[group.pk for group, _ in locked])
    ended.update(recovered_at=DatabaseNow(), **NO_STREAK)
    return [
        replace(_notice(group, now), kind=NoticeKind.RECOVERED)
        for group, now in locked
        if group.alerted_count
    ]


def _locked(groups: FailureGroupQuerySet) -> list[tuple[FailureGroup, datetime]]:
    """Lock groups; return each with the database's time."""
    rows = groups.annotate(**{DATABASE_NOW: DatabaseNow()}).select_for_update().order_by("pk")
    return [(group, getattr(group, DATABASE_NOW)) for group in rows]


def _notice(group: FailureGroup, now: datetime) -> Notice:
    return Notice(
        kind=NoticeKind.STILL_FAILING if group.alerted_count else NoticeKind.FAILING,
        fingerprint=group.pk,
        sample_id=group.sample_id,
        count=group.streak_count,
        new_count=group.streak_count - group.alerted_count,
        since=group.streak_started_at or now,
        told_at=group.alerted_at,
        at=now,
    )


# ---- what an operator says of a group


def mute(fingerprints: Iterable[uuid.UUID], until: datetime | None = None) -> int:
    """Have groups fail unheard until a moment, or until reopened; return how many.

    Their failures are counted all the same, and what failed meanwhile is told of afterwards.
    """
    return _set(fingerprints, status=GROUP.MUTED, muted_until=until)


def resolve(fingerprints: Iterable[uuid.UUID]) -> int:
    """Take groups for mended; return how many. A failure opens each again, as a regression."""
    resolved = {"status": GROUP.RESOLVED, "muted_until": None, "resolved_at": DatabaseNow()}
    return _set(fingerprints, **resolved, **NO_STREAK, alerted_at=None)


def reopen(fingerprints: Iterable[uuid.UUID]) -> int:
    """Have muted or resolved groups alert again; return how many."""
    return _set(fingerprints, status=GROUP.OPEN, muted_until=None)


def _set(fingerprints: Iterable[uuid.UUID], **values: Any) -> int:
    asked = as_ids(fingerprints)
    with writing():
        locked = _locked(_groups().filter(pk__in=asked))
        pks = [group.pk for group, _ in locked]
        return int(_groups().filter(pk__in=pks).update(**values))


# ---- prune


def prune(kept: timedelta) -> int:
    """Delete groups that failed last longer ago, muted ones and those with Tasks excepted.

    And no sooner than their alerts have been sent, and their cooldown is over.
    """
    kept = max(kept, conf.get().cooldown + timedelta(days=1))
    old = _groups().exclude(status=GROUP.MUTED).filter(last_seen_at__lt=DatabaseNow() - kept)
    found = list(old.filter(tasks=None).values_list("pk", flat=True)[:CHUNK])
    with writing():
        deleted, _ = old.filter(pk__in=found).delete()
    return deleted


# ---- shared steps


def _groups() -> FailureGroupQuerySet:
    groups: FailureGroupQuerySet = FailureGroup.objects.using(wakeups.alias())
    return groups
