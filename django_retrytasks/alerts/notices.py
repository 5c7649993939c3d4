"""Decide, under a lock, which failure groups alert now, and record the decision as notices.

Each decision locks its groups, so two processes never alert about the same failures. The same
transaction stores the notices: a crash loses none.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from django.db.models import Exists, F, OuterRef, Q
from django.utils.translation import gettext as _

from django_retrytasks import conf
from django_retrytasks.database import DatabaseNow
from django_retrytasks.lifecycle import groups
from django_retrytasks.lifecycle.groups import GroupStatus, locked
from django_retrytasks.lifecycle.rows import CHUNK
from django_retrytasks.models import (
    FailureGroup,
    FailureGroupQuerySet,
    OpenBreaker,
    Status,
    Task,
)

# A group has recovered after so long without a failure, or after ALERT_COOLDOWN if that is less.
QUIET = timedelta(minutes=5)
# Groups per sweep; the next sweep takes the rest.
SWEEP_LIMIT = 10 * CHUNK
# Groups that the alert about a flood names.
NAMED = 5
AUDIBLE = {"status": GroupStatus.OPEN, "muted_until": None}

Due = tuple[FailureGroup, datetime]
"""A locked group whose alert is due, and the database's time."""


class NoticeKind(StrEnum):
    """What a notice reports about a group."""

    # The first failure of a streak.
    FAILING = "FAILING"
    # More failures in the streak.
    STILL_FAILING = "STILL_FAILING"
    # No failure for a while, and a success of its function since.
    RECOVERED = "RECOVERED"
    # More failing groups than ``ALERT_LIMIT`` allows to alert one by one.
    FLOOD = "FLOOD"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """The decision that a group alerts, as recorded on its row.

    ``count`` is the number of failures in the streak, ``new_count`` the unreported part of it;
    ``since`` is the start of the streak, ``told_at`` the time of the previous notice, if any.
    For a flood they cover all its ``group_count`` groups; ``groups`` are the groups with the most
    new failures.
    """

    kind: NoticeKind
    fingerprint: uuid.UUID
    sample_id: uuid.UUID | None
    count: int
    new_count: int
    since: datetime
    told_at: datetime | None
    at: datetime
    group_count: int = 1
    groups: Sequence[uuid.UUID] = ()

    def as_stored(self) -> dict[str, Any]:
        """Return the fields that differ from their defaults.

        A worker of an older release may lack the newer fields.
        """
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        defaults = {field.name: field.default for field in fields(self)}
        return {name: value for name, value in values.items() if value != defaults[name]}


def take_due(fingerprints: Iterable[uuid.UUID]) -> list[Notice]:
    """Decide which of these groups alert now; record the decision and return one Notice each.

    Groups beyond ``ALERT_LIMIT`` are left to the sweep. Call it in the transaction that stores the
    notices.
    """
    single, _ = _split(_due(fingerprints))
    return _record(single)


def take_overdue() -> list[Notice]:
    """Do :func:`take_due` for all groups: failures within a cooldown alert after it.

    Groups beyond ``ALERT_LIMIT`` share one notice per cooldown.
    """
    overdue = (
        FailureGroup.objects.failing()
        .audible()
        .exclude(pk=FailureGroup.FLOOD)
        .exclude(_is_behind_breaker())
        .filter(_is_overdue())
    )
    pks = overdue.order_by("pk").values_list("pk", flat=True)[:SWEEP_LIMIT]
    single, held = _split(_due(pks))
    return [*_record(single), *_record_flood(held)]


def take_recovered() -> list[Notice]:
    """End the streaks of recovered groups; return a Notice for each group that had alerted.

    A group has recovered after a success of its function, and after five minutes without a
    failure, or ``ALERT_COOLDOWN`` if that is less. A rule has recovered after as long without a
    breach. Muted groups and groups with an overdue alert do not recover. Call it in the
    transaction that stores the notices.
    """
    quiet = DatabaseNow() - min(QUIET, conf.get().cooldown)
    succeeded = Task.objects.filter(
        name=OuterRef("name"), status=Status.SUCCEEDED, finished_at__gt=OuterRef("last_failed_at")
    )
    is_over = Q(kind=FailureGroup.Kind.RULE) | Exists(succeeded)
    over = FailureGroup.objects.failing().audible().filter(is_over, last_failed_at__lte=quiet)
    over = over.exclude(_is_overdue()).exclude(pk__in=OpenBreaker.objects.values("fingerprint"))
    # Select first, then lock by key: MariaDB also locks the rows it scans.
    return _end(over.filter(pk__in=list(over.values_list("pk", flat=True)[:CHUNK])))


def take_ended(fingerprints: Iterable[uuid.UUID]) -> list[Notice]:
    """End the streaks of these groups at once; return a Notice for each group that had alerted."""
    failing = FailureGroup.objects.failing().audible()
    return _end(failing.filter(pk__in=list(fingerprints)))


def _end(over: FailureGroupQuerySet) -> list[Notice]:
    rows = locked(over)
    ended = FailureGroup.objects.filter(pk__in=[group.pk for group, _ in rows])
    ended.update(recovered_at=DatabaseNow(), **groups.NO_STREAK)
    return [
        replace(_notice(group, now), kind=NoticeKind.RECOVERED)
        for group, now in rows
        if group.alerted_count and not group.was_reported_in_flood
    ]


def _is_overdue() -> Q:
    """Select groups with unreported failures and no alert within the cooldown."""
    is_unreported = ~Q(streak_count=F("alerted_count"))
    since = DatabaseNow() - conf.get().cooldown
    return is_unreported & (Q(alerted_at=None) | Q(alerted_at__lte=since))


def _is_behind_breaker() -> Q:
    """Select groups of the failure for which a breaker of their function is open.

    The alert about the breaker stands for theirs, which come once it is closed.
    """
    opened = OpenBreaker.objects.filter(
        state=OpenBreaker.State.OPEN,
        name=OuterRef("name"),
        exception_class_path=OuterRef("exception_class_path"),
    )
    return Q(Exists(opened), kind=FailureGroup.Kind.FAILURE)


def _due(fingerprints: Iterable[uuid.UUID]) -> list[Due]:
    """Lock these groups; return the ones whose alert is due."""
    pks, cooldown = list(fingerprints), conf.get().cooldown
    chunks = (pks[start : start + CHUNK] for start in range(0, len(pks), CHUNK))
    heard = FailureGroup.objects.exclude(_is_behind_breaker())
    rows = (row for chunk in chunks for row in locked(heard.filter(pk__in=chunk)))
    return [(group, now) for group, now in rows if group.alert_is_due(now, cooldown)]


def _record(due: Iterable[Due]) -> list[Notice]:
    for group, now in due:
        alerted = {"alerted_count": group.streak_count, "alerted_at": now}
        FailureGroup.objects.filter(pk=group.pk).update(**alerted, **AUDIBLE)
    return [_notice(group, now) for group, now in due]


def _notice(group: FailureGroup, now: datetime) -> Notice:
    return Notice(
        kind=NoticeKind.STILL_FAILING if group.alerted_count else NoticeKind.FAILING,
        fingerprint=group.pk,
        sample_id=group.sample_id,
        count=group.streak_count,
        new_count=_unreported_count(group),
        since=group.streak_started_at or now,
        told_at=group.alerted_at,
        at=now,
    )


def _unreported_count(group: FailureGroup) -> int:
    return int(group.streak_count - group.alerted_count)


# Note [At most ALERT_LIMIT alerts]
# A group's own alert sets its ``alerted_at``. So counting the groups with an ``alerted_at`` within
# the cooldown counts the single alerts. At most ALERT_LIMIT - 1 are allowed: the last alert is the
# flood's. The flood has a group of its own, stored while the flood lasts; its ``alerted_at`` is the
# time of the last flood alert. A flood alert raises only ``alerted_count`` of its groups. So they
# alert again only if they fail again, and recover silently (``was_reported_in_flood``).


def _split(due: Sequence[Due]) -> tuple[Sequence[Due], Sequence[Due]]:
    """Split due groups into single alerts and groups beyond ``ALERT_LIMIT``."""
    limit, cooldown = conf.get().ALERT_LIMIT, conf.get().cooldown
    if limit is None:
        return due, []
    known = [(group, now) for group, now in due if group.was_alerted(now, cooldown)]
    new = [(group, now) for group, now in due if not group.was_alerted(now, cooldown)]
    new.sort(key=lambda each: _unreported_count(each[0]), reverse=True)
    if not new or not _room(limit):
        return known, new
    _wait_for_turn()
    room = _room(limit)
    return [*known, *new[:room]], new[room:]


def _room(limit: int) -> int:
    """Return how many more groups may alert one by one now."""
    alerted = FailureGroup.objects.exclude(pk=FailureGroup.FLOOD)
    alerted = alerted.filter(alerted_at__gt=DatabaseNow() - conf.get().cooldown)
    return max(0, limit - 1 - alerted[:limit].count())


def _wait_for_turn() -> None:
    """Let one transaction at a time count the room, by a lock on the flood's group.

    Without a flood the group is deleted before the commit, so nobody sees it.
    """
    groups.ensure_stored(_flood())
    unused = FailureGroup.objects.filter(pk=FailureGroup.FLOOD, failure_count=0)
    unused._raw_delete(unused.db)


def _flood() -> FailureGroup:
    return FailureGroup(
        fingerprint=FailureGroup.FLOOD,
        kind=FailureGroup.Kind.RULE,
        message=_("More failure groups than ALERT_LIMIT allows to alert one by one"),
        first_seen_at=DatabaseNow(),
        last_seen_at=DatabaseNow(),
    )


def _record_flood(held: Sequence[Due]) -> list[Notice]:
    """Record these groups as reported and return one Notice for all; [] if none is due."""
    if not held:
        return []
    groups.count_breach(_flood())
    [(flood, now)] = locked(FailureGroup.objects.filter(pk=FailureGroup.FLOOD))
    if not flood.alert_is_due(now, conf.get().cooldown):
        return []
    pks = [group.pk for group, _ in held]
    for start in range(0, len(pks), CHUNK):
        chunk = FailureGroup.objects.filter(pk__in=pks[start : start + CHUNK])
        chunk.update(alerted_count=F("streak_count"), **AUDIBLE)
    _record([(flood, now)])
    return [_notice_of_flood(flood, [group for group, _ in held], now)]


def _notice_of_flood(flood: FailureGroup, held: Sequence[FailureGroup], now: datetime) -> Notice:
    return Notice(
        kind=NoticeKind.FLOOD,
        fingerprint=flood.pk,
        sample_id=held[0].sample_id,
        count=sum(group.streak_count for group in held),
        new_count=sum(map(_unreported_count, held)),
        since=min(group.streak_started_at or now for group in held),
        told_at=flood.alerted_at,
        at=now,
        group_count=len(held),
        groups=[group.pk for group in held[:NAMED]],
    )
