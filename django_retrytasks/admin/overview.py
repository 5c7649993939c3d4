"""Above the list of Tasks: the numbers that matter, what has ended of late, what stands still.

Besides those of ``health.check()``, seven queries; each reads up to 10,000 rows, by an index.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.utils import timezone
from django.utils.formats import number_format
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_retrytasks import health
from django_retrytasks.database import DatabaseNow
from django_retrytasks.database.seeks import CountOf, evaluate
from django_retrytasks.health import COUNT_LIMIT, Health
from django_retrytasks.lifecycle import tallies
from django_retrytasks.models import Pause, Status, Tally, Task, TaskQuerySet

from . import words

PAUSES_SHOWN = 20
# Seconds for which a Task has been due, and no claim was seen, until that is said.
SILENCE = 60.0
# Units of the drawing: the bars are stretched to the room there is.
BAR, GAP, HEIGHT = 10, 2, 100
SERIES = {
    "succeeded": _("Succeeded at once"),
    "retried": _("Succeeded after retries"),
    "failed": _("Failed"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How the time of a chart is cut: ``count`` slots of a ``unit`` each."""

    title: Any
    unit: str
    width: timedelta
    count: int


SCALES = {
    "day": Scale(title=_("24 hours"), unit="hour", width=timedelta(hours=1), count=24),
    "hour": Scale(title=_("60 minutes"), unit="minute", width=timedelta(minutes=1), count=60),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A number with its name; ``query`` leads to a list that begins with its Tasks, "" to none."""

    label: str
    value: Any
    query: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A piece of a chart, in units of the drawing."""

    series: str
    x: int
    y: float
    width: int
    height: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """An hour or a minute: when it began, its counts in the order of the series, all in words."""

    label: str
    counts: Sequence[int]
    words: str
    bars: Sequence[Bar]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """What has ended in each hour or minute."""

    slots: Sequence[Slot]
    width: int
    height: int
    totals: Sequence[tuple[str, str, str]]
    """Each series' name, its title and its sum."""
    links: Sequence[tuple[str, str, bool]]
    """Each scale's title, its URL, and whether it is shown."""
    left_out_until: datetime | None
    """The moment before which some of what ended is not counted, if there is any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """What the template shows. All of it is text or escaped HTML."""

    numbers: Sequence[Number]
    banner: str
    pauses: Sequence[Pause]
    chart: Chart


def read(asked: str, links: Mapping[str, str]) -> Overview:
    """Read what stands above the list.

    Args:
        asked: the scale of the chart; the first of them where it is none.
        links: URLs by scale.
    """
    scale = asked if asked in SCALES else next(iter(SCALES))
    found, beside = health.check(), _beside_health()
    now = beside.get("now") or timezone.now()
    pauses = Pause.objects.order_by("paused_at")
    return Overview(
        numbers=_numbers(found, beside, now),
        banner=_banner(found, now),
        pauses=list(pauses[:PAUSES_SHOWN]),
        chart=_chart(SCALES[scale], now, [(SCALES[s].title, links[s], s == scale) for s in SCALES]),
    )


def _beside_health() -> dict[str, Any]:
    """Return the database's time and the counts that a health check lacks; {} without Tasks."""
    failed = _of(Status.FAILED).filter(finished_at__gt=DatabaseNow() - timedelta(days=1))
    asked = {
        "now": DatabaseNow(),
        "retrying": CountOf(_of(Status.RETRYING).values("pk")[:COUNT_LIMIT]),
        "failed": CountOf(failed.values("pk")[:COUNT_LIMIT]),
    }
    return evaluate(Task.objects.all(), asked)


def _numbers(found: Health, beside: Mapping[str, Any], now: datetime) -> list[Number]:
    due = sum(queue.due_count for queue in found.queues if not queue.is_paused)
    return [
        Number(label=gettext("Due now"), value=_count(due)),
        Number(label=gettext("Oldest due"), value=words.span(found.lag) if found.lag else "-"),
        Number(
            label=gettext("Running"), value=_count(found.running_count), query="?status=RUNNING"
        ),
        Number(
            label=gettext("Retrying"),
            value=_count(beside.get("retrying", 0)),
            query="?status=RETRYING",
        ),
        Number(
            label=gettext("Failed in 24 h"),
            value=_count(beside.get("failed", 0)),
            query="?status=FAILED",
        ),
        Number(label=gettext("Last claim"), value=_ago(found.last_claim_at, now)),
    ]


def _banner(found: Health, now: datetime) -> str:
    """Return what is to be said where Tasks are due and nobody claims; "" where all is well."""
    seen = found.last_claim_at
    if found.lag <= SILENCE or (seen and (now - seen).total_seconds() <= SILENCE):
        return ""
    told = {"lag": words.span(found.lag)}
    if found.running_count:
        return (
            gettext("Tasks have been due for %(lag)s: all workers are busy, or none claims.") % told
        )
    return (
        gettext("Tasks have been due for %(lag)s and no worker claims: is qcluster running?") % told
    )


def _count(count: int) -> str:
    text = number_format(count, force_grouping=True)
    return text if count < COUNT_LIMIT else gettext("%(count)s+") % {"count": text}


def _ago(at: datetime | None, now: datetime) -> str:
    if at is None:
        return gettext("never")
    span = words.span(max(0.0, (now - at).total_seconds()))
    return words.time_tag(at, gettext("%(span)s ago") % {"span": span})


def _chart(scale: Scale, now: datetime, links: Sequence[tuple[str, str, bool]]) -> Chart:
    starts = _starts(scale, now)
    uncounted_since = tallies.counted_until(starts[0])
    since = _at_most(COUNT_LIMIT, uncounted_since)
    found = [
        *tallies.counted(starts[0], uncounted_since, scale.unit),
        *tallies.ended(since),
    ]
    counts = _counts(scale, found)
    tops = [sum(counts[start, series] for series in SERIES) for start in starts]
    slots = [_slot(n, start, counts, max(1, *tops)) for n, start in enumerate(starts)]
    sums = [sum(column) for column in zip(*(slot.counts for slot in slots), strict=True)]
    return Chart(
        slots=slots,
        width=BAR * scale.count,
        height=HEIGHT,
        totals=[
            (series, str(title), number_format(total, force_grouping=True))
            for (series, title), total in zip(SERIES.items(), sums, strict=True)
        ],
        links=links,
        left_out_until=since if since > uncounted_since else None,
    )


def _starts(scale: Scale, now: datetime) -> list[datetime]:
    """Return when the slots begin, the one that holds ``now`` last."""
    latest = _slot_of(scale, now.astimezone(UTC) if timezone.is_aware(now) else now)
    return [latest - back * scale.width for back in reversed(range(scale.count))]


def _slot_of(scale: Scale, at: datetime) -> datetime:
    minute = tallies.whole_minute(at)
    return minute.replace(minute=0) if scale.unit == "hour" else minute


def _at_most(count: int, start: datetime) -> datetime:
    """Return from when on about so many Tasks have succeeded, or failed, at most."""
    edges: list[Any] = [start]
    for status in (Status.SUCCEEDED, Status.FAILED):
        ended = _of(status).filter(finished_at__gte=start).order_by("-finished_at")
        edges += ended.values_list("finished_at", flat=True)[count : count + 1]
    since: datetime = max(edges)
    return since


def _counts(scale: Scale, found: Iterable[Tally]) -> Counter[tuple[datetime, str]]:
    """Return how many ended, by the start of their slot and their series."""
    counts: Counter[tuple[datetime, str]] = Counter()
    for tally in found:
        slot = _slot_of(scale, tally.minute)
        counts.update({(slot, series): getattr(tally, f"{series}_count") for series in SERIES})
    return counts


def _slot(n: int, start: datetime, counts: Counter[tuple[datetime, str]], top: int) -> Slot:
    of = {series: counts[start, series] for series in SERIES}
    label = words.as_local(start).strftime("%H:%M")
    told = ", ".join(f"{SERIES[series]}: {count}" for series, count in of.items() if count)
    return Slot(
        label=label,
        counts=list(of.values()),
        words=f"{label} {told}",
        bars=list(_bars(n * BAR, of, top)),
    )


def _bars(x: int, of: Mapping[str, int], top: int) -> Iterable[Bar]:
    """Yield the bars of a slot, one upon the other; any count is seen, however small."""
    y = float(HEIGHT)
    for series, count in of.items():
        if count:
            height = max(2.0, round(HEIGHT * count / top, 1))
            y -= height
            yield Bar(series=series, x=x, y=max(y, 0.0), width=BAR - GAP, height=height)


def _of(*statuses: Status) -> TaskQuerySet:
    """Return the site's own Tasks in these statuses, by the index that begins so."""
    return Task.objects.filter(internal__in=(False,), status__in=statuses)
