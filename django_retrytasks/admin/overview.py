"""The overview above the list of Tasks: numbers, recently ended Tasks, pauses, a warning.

It needs seven queries besides ``health.check()``; each reads at most 10,000 rows, by an index.
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
# Seconds with a due Task and without a claim, after which the warning appears.
SILENCE = 60.0
# Units of the drawing, which is stretched to the available width.
BAR, GAP, HEIGHT = 10, 2, 100
SERIES = {
    "succeeded": _("Succeeded at once"),
    "retried": _("Succeeded after retries"),
    "failed": _("Failed"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """The time axis of a chart: ``count`` slots of one ``unit`` each."""

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
    """A number with its name; ``query`` links to the list of its Tasks, "" without a link."""

    label: str
    value: Any
    query: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A bar of a chart, in units of the drawing."""

    series: str
    x: int
    y: float
    width: int
    height: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """An hour or a minute: its start, its counts in the order of the series, and a text."""

    label: str
    counts: Sequence[int]
    words: str
    bars: Sequence[Bar]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """The ended Tasks of each hour or minute."""

    slots: Sequence[Slot]
    width: int
    height: int
    totals: Sequence[tuple[str, str, str]]
    """Name, title and sum of each series."""
    links: Sequence[tuple[str, str, bool]]
    """Title and URL of each scale, and whether it is shown."""
    left_out_until: datetime | None
    """The time before which the chart lacks some ended Tasks; None: it is complete."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """The template's context: text and escaped HTML."""

    numbers: Sequence[Number]
    banner: str
    pauses: Sequence[Pause]
    chart: Chart


def read(scale: str, links: Mapping[str, str]) -> Overview:
    """Read the overview above the list.

    Args:
        scale: the scale of the chart; the first scale if unknown.
        links: URLs by scale.
    """
    scale = scale if scale in SCALES else next(iter(SCALES))
    state, beside = health.check(), _beside_health()
    now = beside.get("now") or timezone.now()
    pauses = Pause.objects.order_by("paused_at")
    return Overview(
        numbers=_numbers(state, beside, now),
        banner=_banner(state, now),
        pauses=list(pauses[:PAUSES_SHOWN]),
        chart=_chart(SCALES[scale], now, [(SCALES[s].title, links[s], s == scale) for s in SCALES]),
    )


def _beside_health() -> dict[str, Any]:
    """Return the database's time and the counts missing in health.check(); {} without Tasks."""
    failed = _of(Status.FAILED).filter(finished_at__gt=DatabaseNow() - timedelta(days=1))
    expressions = {
        "now": DatabaseNow(),
        "retrying": CountOf(_of(Status.RETRYING).values("pk")[:COUNT_LIMIT]),
        "failed": CountOf(failed.values("pk")[:COUNT_LIMIT]),
    }
    return evaluate(Task.objects.all(), expressions)


def _numbers(state: Health, beside: Mapping[str, Any], now: datetime) -> list[Number]:
    due = sum(queue.due_count for queue in state.queues if not queue.is_paused)
    return [
        Number(label=gettext("Due now"), value=_count(due)),
        Number(label=gettext("Oldest due"), value=words.span(state.lag) if state.lag else "-"),
        Number(
            label=gettext("Running"), value=_count(state.running_count), query="?status=RUNNING"
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
        Number(label=gettext("Last claim"), value=_ago(state.last_claim_at, now)),
    ]


def _banner(state: Health, now: datetime) -> str:
    """Return a warning if Tasks are due and no worker claims; otherwise ""."""
    claimed = state.last_claim_at
    if state.lag <= SILENCE or (claimed and (now - claimed).total_seconds() <= SILENCE):
        return ""
    if state.running_count:
        text = gettext("Tasks have been due for %(lag)s: all workers are busy, or none claims.")
    else:
        text = gettext("Tasks have been due for %(lag)s and no worker claims: is qcluster running?")
    return text % {"lag": words.span(state.lag)}


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
    ended = [
        *tallies.counted(starts[0], uncounted_since, scale.unit),
        *tallies.ended(since),
    ]
    counts = _counts(scale, ended)
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
    """Return the starts of the slots; the last slot contains ``now``."""
    latest = _slot_of(scale, now.astimezone(UTC) if timezone.is_aware(now) else now)
    return [latest - back * scale.width for back in reversed(range(scale.count))]


def _slot_of(scale: Scale, at: datetime) -> datetime:
    minute = tallies.whole_minute(at)
    return minute.replace(minute=0) if scale.unit == "hour" else minute


def _at_most(count: int, start: datetime) -> datetime:
    """Return the time since which at most about ``count`` Tasks succeeded, or failed."""
    edges: list[Any] = [start]
    for status in (Status.SUCCEEDED, Status.FAILED):
        ended = _of(status).filter(finished_at__gte=start).order_by("-finished_at")
        edges += ended.values_list("finished_at", flat=True)[count : count + 1]
    since: datetime = max(edges)
    return since


def _counts(scale: Scale, ended: Iterable[Tally]) -> Counter[tuple[datetime, str]]:
    """Return the counts by the start of the slot and the series."""
    counts: Counter[tuple[datetime, str]] = Counter()
    for tally in ended:
        slot = _slot_of(scale, tally.minute)
        counts.update({(slot, series): getattr(tally, f"{series}_count") for series in SERIES})
    return counts


def _slot(n: int, start: datetime, counts: Counter[tuple[datetime, str]], top: int) -> Slot:
    by_series = {series: counts[start, series] for series in SERIES}
    label = words.as_local(start).strftime("%H:%M")
    text = ", ".join(f"{SERIES[series]}: {count}" for series, count in by_series.items() if count)
    return Slot(
        label=label,
        counts=list(by_series.values()),
        words=f"{label} {text}",
        bars=list(_bars(n * BAR, by_series, top)),
    )


def _bars(x: int, counts: Mapping[str, int], top: int) -> Iterable[Bar]:
    """Yield the stacked bars of a slot; even the smallest count is visible."""
    y = float(HEIGHT)
    for series, count in counts.items():
        if count:
            height = max(2.0, round(HEIGHT * count / top, 1))
            y -= height
            yield Bar(series=series, x=x, y=max(y, 0.0), width=BAR - GAP, height=height)


def _of(*statuses: Status) -> TaskQuerySet:
    """Return the site's Tasks of these statuses; the conditions fit an index."""
    return Task.objects.filter(internal__in=(False,), status__in=statuses)
