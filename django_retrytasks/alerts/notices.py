"""What there is to tell of failure groups: decided on, and noted as told, under a lock.

Each decision is a transaction that locks the groups it is about, so two who look at once do not
both tell. It stores the notices as well: a crash loses none.
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
from django_retrytasks.lifecycle.groups import (
    NO_STREAK,
    GroupStatus,
    count_breach,
    ensure_stored,
    locked,
)
from django_retrytasks.lifecycle.rows import CHUNK
from django_retrytasks.models import FailureGroup, Status, Task

# A group has recovered when nothing failed for so long, or for ALERT_COOLDOWN if that is less.
QUIET = timedelta(minutes=5)
# How many groups one sweep looks at; the next one goes on.
SWEEP_LIMIT = 10 * CHUNK
# How many groups the alert about a flood names.
NAMED = 5
AUDIBLE = {"status": GroupStatus.OPEN, "muted_until": None}

Due = tuple[FailureGroup, datetime]
"""A locked group of which there is to be told, and the database's time."""


class NoticeKind(StrEnum):
    """What a notice says of a group."""

    # The first failure of a streak.
    FAILING = "FAILING"
    # It goes on failing.
    STILL_FAILING = "STILL_FAILING"
    # It has been quiet, and a Task of its function has succeeded since.
    RECOVERED = "RECOVERED"
    # Other groups fail, more than ``ALERT_LIMIT`` lets alert one by one.
    FLOOD = "FLOOD"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What there is to tell of a group at one moment, decided and noted on its row.

    ``count`` are the failures of the streak, ``new_count`` those not told of before;
    ``since`` is the start of the streak, ``told_at`` the moment of the last notice, if any.
    Of a flood these are about all its groups, of which there are ``group_count``; ``groups`` are
    those with the most new failures.
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
        """Return its fields but for those that say nothing: a worker of an older release may not
        know them."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        defaults = {field.name: field.default for field in fields(self)}
        return {name: value for name, value in values.items() if value != defaults[name]}


def take_due(fingerprints: Iterable[uuid.UUID]) -> list[Notice]:
    """Return what there is to tell of these groups now, and note that it is told.

    Groups beyond ``ALERT_LIMIT`` are left to the sweep. To be called in the transaction that
    stores the notices.
    """
    alone, _ = _parted(_due(fingerprints))
    return _told(alone)


def take_overdue() -> list[Notice]:
    """Do as :func:`take_due` for all groups: what failed within a cooldown is told after it.

    Groups beyond ``ALERT_LIMIT`` are told of by one notice, once in a cooldown.
    """
    overdue = (
        FailureGroup.objects.failing()
        .audible()
        .exclude(pk=FailureGroup.FLOOD)
        .filter(_is_overdue())
    )
    pks = overdue.order_by("pk").values_list("pk", flat=True)[:SWEEP_LIMIT]
    alone, held = _parted(_due(pks))
    return [*_told(alone), *_told_together(held)]


def take_recovered() -> list[Notice]:
    """End the streaks of groups that have recovered; return what there is to tell of it.

    A group has recovered when a Task of its function has succeeded after its last failure and
    nothing failed since for five minutes, or for ``ALERT_COOLDOWN`` if that is less; a rule, when
    it has not been breached for as long. A muted one has not until the mute is over, nor has one
    of which there is still to be told. To be called in the transaction that stores the notices.
    """
    quiet = DatabaseNow() - min(QUIET, conf.get().cooldown)
    succeeded = Task.objects.filter(
        name=OuterRef("name"), status=Status.SUCCEEDED, finished_at__gt=OuterRef("last_failed_at")
    )
    is_over = Q(kind=FailureGroup.Kind.RULE) | Exists(succeeded)
    over = FailureGroup.objects.failing().audible().filter(is_over, last_failed_at__lte=quiet)
    over = over.exclude(_is_overdue())
    # Found first, then locked by key: MariaDB locks what it walks over as well.
    rows = locked(over.filter(pk__in=list(over.values_list("pk", flat=True)[:CHUNK])))
    ended = FailureGroup.objects.filter(pk__in=[group.pk for group, _ in rows])
    ended.update(recovered_at=DatabaseNow(), **NO_STREAK)
    return [
        replace(_notice(group, now), kind=NoticeKind.RECOVERED)
        for group, now in rows
        if group.alerted_count and not group.was_reported_in_flood
    ]


def _is_overdue() -> Q:
    """Select what has failed since the last alert about the group, and that is a cooldown ago."""
    untold = ~Q(streak_count=F("alerted_count"))
    return untold & (Q(alerted_at=None) | Q(alerted_at__lte=DatabaseNow() - conf.get().cooldown))


def _due(fingerprints: Iterable[uuid.UUID]) -> list[Due]:
    """Lock these groups; return those of which there is to be told now."""
    pks, cooldown = list(fingerprints), conf.get().cooldown
    chunks = (pks[start : start + CHUNK] for start in range(0, len(pks), CHUNK))
    rows = (row for chunk in chunks for row in locked(FailureGroup.objects.filter(pk__in=chunk)))
    return [(group, now) for group, now in rows if group.alert_is_due(now, cooldown)]


def _told(due: Iterable[Due]) -> list[Notice]:
    for group, now in due:
        told = {"alerted_count": group.streak_count, "alerted_at": now}
        FailureGroup.objects.filter(pk=group.pk).update(**told, **AUDIBLE)
    return [_notice(group, now) for group, now in due]


def _notice(group: FailureGroup, now: datetime) -> Notice:
    return Notice(
        kind=NoticeKind.STILL_FAILING if group.alerted_count else NoticeKind.FAILING,
        fingerprint=group.pk,
        sample_id=group.sample_id,
        count=group.streak_count,
        new_count=_new(group),
        since=group.streak_started_at or now,
        told_at=group.alerted_at,
        at=now,
    )


def _new(group: FailureGroup) -> int:
    """Return how many failures no alert has told of."""
    return int(group.streak_count - group.alerted_count)


# Note [At most so many letters]
# A notice of a group's own sets its ``alerted_at``. So the groups with one within the cooldown are
# those told of one by one, and one less than ALERT_LIMIT of them may be: the last letter is the
# flood's. It has a group of its own, stored while there is a flood, whose ``alerted_at`` is that of
# the last such letter. A group that the flood told of has ``alerted_count`` raised alone. So it is
# not told of again unless it fails again, and recovers unheard (``was_reported_in_flood``).


def _parted(due: Sequence[Due]) -> tuple[Sequence[Due], Sequence[Due]]:
    """Part due groups into those to tell of one by one and those beyond ``ALERT_LIMIT``."""
    limit, cooldown = conf.get().ALERT_LIMIT, conf.get().cooldown
    if limit is None:
        return due, []
    known = [(group, now) for group, now in due if group.was_alerted(now, cooldown)]
    new = [(group, now) for group, now in due if not group.was_alerted(now, cooldown)]
    new.sort(key=lambda each: _new(each[0]), reverse=True)
    if not new or not _room(limit):
        return known, new
    _wait_for_turn()
    room = _room(limit)
    return [*known, *new[:room]], new[room:]


def _room(limit: int) -> int:
    """Return how many more groups may be told of one by one now."""
    alerted = FailureGroup.objects.exclude(pk=FailureGroup.FLOOD)
    alerted = alerted.filter(alerted_at__gt=DatabaseNow() - conf.get().cooldown)
    return max(0, limit - 1 - alerted[:limit].count())


def _wait_for_turn() -> None:
    """Let one transaction at a time look for room; the next one when this one is over.

    The flood's group is the lock. Where it is there for that alone it is seen by no one.
    """
    ensure_stored(_flood())
    unused = FailureGroup.objects.filter(pk=FailureGroup.FLOOD, failure_count=0)
    unused._raw_delete(unused.db)


def _flood() -> FailureGroup:
    return FailureGroup(
        fingerprint=FailureGroup.FLOOD,
        kind=FailureGroup.Kind.RULE,
        message=_("More failure groups than ALERT_LIMIT lets alert one by one"),
        first_seen_at=DatabaseNow(),
        last_seen_at=DatabaseNow(),
    )


def _told_together(held: Sequence[Due]) -> list[Notice]:
    """Return one notice of all these groups, if it is due, and note that they are told of."""
    if not held:
        return []
    count_breach(_flood())
    [(flood, now)] = locked(FailureGroup.objects.filter(pk=FailureGroup.FLOOD))
    if not flood.alert_is_due(now, conf.get().cooldown):
        return []
    pks = [group.pk for group, _ in held]
    for start in range(0, len(pks), CHUNK):
        chunk = FailureGroup.objects.filter(pk__in=pks[start : start + CHUNK])
        chunk.update(alerted_count=F("streak_count"), **AUDIBLE)
    _told([(flood, now)])
    return [_notice_of_flood(flood, [group for group, _ in held], now)]


def _notice_of_flood(flood: FailureGroup, held: Sequence[FailureGroup], now: datetime) -> Notice:
    return Notice(
        kind=NoticeKind.FLOOD,
        fingerprint=flood.pk,
        sample_id=held[0].sample_id,
        count=sum(group.streak_count for group in held),
        new_count=sum(map(_new, held)),
        since=min(group.streak_started_at or now for group in held),
        told_at=flood.alerted_at,
        at=now,
        group_count=len(held),
        groups=[group.pk for group in held[:NAMED]],
    )
