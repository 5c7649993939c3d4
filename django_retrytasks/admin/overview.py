"""Above the list of Tasks: the numbers that matter, what has ended of late, what stands still.

Besides those of ``health.check()``, seven queries; each counts up to 10,000 rows, by an index.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import Case, CharField, Count, QuerySet, Value, When
from django.db.models.functions import Trunc
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_retrytasks import health, wakeups
from django_retrytasks.health import COUNT_LIMIT, Health
from django_retrytasks.models import DatabaseNow, Pause, Status, Task, TaskQuerySet

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
    """A number with its name; ``query`` leads to its Tasks, "" where no list is just these."""

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
    counted_since: datetime | None
    """The moment before which nothing is counted, if that lies in the chart."""


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
    found, now = health.check(), _now()
    pauses = Pause.objects.using(wakeups.alias()).order_by("paused_at")
    return Overview(
        numbers=_numbers(found, now),
        banner=_banner(found, now),
        pauses=list(pauses[:PAUSES_SHOWN]),
        chart=_chart(SCALES[scale], now, [(SCALES[s].title, links[s], s == scale) for s in SCALES]),
    )


# ---- the numbers


def _numbers(found: Health, now: datetime) -> list[Number]:
    due = sum(queue.due_count for queue in found.queues if not queue.is_paused)
    failed = _of(Status.FAILED).filter(finished_at__gt=now - timedelta(days=1))
    return [
        Number(label=gettext("Due now"), value=_count(due)),
        Number(label=gettext("Oldest due"), value=words.span(found.lag) if found.lag else "-"),
        Number(
            label=gettext("Running"), value=_count(found.running_count), query="?status=RUNNING"
        ),
        Number(
            label=gettext("Retrying"),
            value=_count(_of(Status.RETRYING)[:COUNT_LIMIT].count()),
            query="?status=RETRYING",
        ),
        Number(
            label=gettext("Failed in 24 h"),
            value=_count(failed[:COUNT_LIMIT].count()),
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


# ---- the chart


def _chart(scale: Scale, now: datetime, links: Sequence[tuple[str, str, bool]]) -> Chart:
    starts = _starts(scale, now)
    since = _counted_since(starts[0])
    counts = _counts(scale, since)
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
        counted_since=since if since > starts[0] else None,
    )


def _starts(scale: Scale, now: datetime) -> list[datetime]:
    """Return when the slots begin, the one that holds ``now`` last."""
    whole = (now.astimezone(UTC) if timezone.is_aware(now) else now).replace(
        second=0, microsecond=0
    )
    latest = whole.replace(minute=0) if scale.unit == "hour" else whole
    return [latest - back * scale.width for back in reversed(range(scale.count))]


def _counted_since(start: datetime) -> datetime:
    """Return from when on about 10,000 Tasks have succeeded, or failed, at most."""
    edges: list[Any] = [start]
    for status in (Status.SUCCEEDED, Status.FAILED):
        ended = _of(status).filter(finished_at__gte=start).order_by("-finished_at")
        edges += ended.values_list("finished_at", flat=True)[COUNT_LIMIT : COUNT_LIMIT + 1]
    since: datetime = max(edges)
    return since


def _counts(scale: Scale, since: datetime) -> Counter[tuple[datetime, str]]:
    """Return how many ended from then on, by the start of their slot and their series."""
    slot = Trunc("finished_at", scale.unit, tzinfo=UTC if timezone.is_aware(since) else None)
    series = Case(
        When(status=Status.FAILED, then=Value("failed")),
        When(attempt_count__gt=1, then=Value("retried")),
        default=Value("succeeded"),
        output_field=CharField(),
    )
    ended = _of(Status.SUCCEEDED, Status.FAILED).filter(finished_at__gte=since)
    rows = ended.annotate(slot=slot, series=series).values_list("slot", "series")
    return Counter({(at, of): n for at, of, n in rows.annotate(n=Count("pk")).order_by()})


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


# ---- the rows


def _of(*statuses: Status) -> TaskQuerySet:
    """Return the site's own Tasks in these statuses, by the index that begins so."""
    rows: TaskQuerySet = Task.objects.using(wakeups.alias())
    return rows.filter(internal__in=(False,), status__in=statuses)


def _now() -> datetime:
    """Return the database's time; the host's where there is no Task yet."""
    newest: QuerySet[Any] = Task.objects.using(wakeups.alias()).order_by("-pk")
    return newest.values_list(DatabaseNow(), flat=True).first() or timezone.now()
