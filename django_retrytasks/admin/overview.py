"""The overview above the list of Tasks: numbers, recently ended Tasks, pauses, breakers, a warning.

It needs seven queries besides ``health.check()``; each reads at most 10,000 rows, by an index.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_retrytasks import health
from django_retrytasks.database import DatabaseNow
from django_retrytasks.database.seeks import CountOf, evaluate
from django_retrytasks.health import COUNT_LIMIT, Health
from django_retrytasks.lifecycle import tallies
from django_retrytasks.models import OpenBreaker, Pause, Status, Tally, Task
from django_retrytasks.operators import wording

from . import words

PAUSES_SHOWN = BREAKERS_SHOWN = 20
# Seconds with a due Task and without a claim, after which the warning appears.
SILENCE = 60.0
# Units of the drawing, which is stretched to the available width.
BAR, GAP, HEIGHT = 10, 2, 100
SERIES = {
    "succeeded": _("Succeeded at once"),
    "retried": _("Succeeded after retries"),
    "failed": _("Failed"),
    "expired": _("Expired"),
}


class Scale(NamedTuple):
    """The time axis of a chart: ``slot_count`` slots of one ``unit`` each."""

    title: Any
    unit: str
    width: timedelta
    slot_count: int


SCALES = {
    "day": Scale(_("24 hours"), "hour", timedelta(hours=1), 24),
    "hour": Scale(_("60 minutes"), "minute", timedelta(minutes=1), 60),
}


class Number(NamedTuple):
    """A number with its name; ``query`` links to the list of its Tasks, "" without a link."""

    label: str
    value: Any
    query: str = ""


class Bar(NamedTuple):
    """A bar of a chart, in units of the drawing."""

    series: str
    x: int
    y: float
    width: int
    height: float


class Slot(NamedTuple):
    """An hour or a minute: its start, its counts in the order of the series, and a text."""

    label: str
    counts: Sequence[int]
    words: str
    bars: Sequence[Bar]


def read(scale: str, links: Mapping[str, str]) -> dict[str, Any]:
    """Return what the overview above the list shows, by name: text and escaped HTML.

    Args:
        scale: the scale of the chart; the first scale if unknown.
        links: URLs by scale.
    """
    scale = scale if scale in SCALES else next(iter(SCALES))
    state, beside = health.check(), _beside_health()
    now = beside.get("now") or timezone.now()
    # Title and URL of each scale, and whether it is shown.
    scales = [(SCALES[name].title, links[name], name == scale) for name in SCALES]
    return {
        "numbers": _numbers(state, beside, now),
        "banner": _banner(state, now),
        "pauses": Pause.objects.order_by("paused_at")[:PAUSES_SHOWN],
        "breakers": OpenBreaker.objects.order_by("opened_at")[:BREAKERS_SHOWN],
        "chart": {**_chart(SCALES[scale], now), "links": scales},
    }


def _beside_health() -> dict[str, Any]:
    """Return the database's time and the counts missing in health.check(); {} without Tasks."""
    failed = Task.objects.of_status(Status.FAILED).filter(
        finished_at__gt=DatabaseNow() - timedelta(days=1)
    )
    expressions = {
        "now": DatabaseNow(),
        "retrying": CountOf(Task.objects.of_status(Status.RETRYING).values("pk")[:COUNT_LIMIT]),
        "failed": CountOf(failed.values("pk")[:COUNT_LIMIT]),
    }
    return evaluate(Task.objects.all(), expressions)


def _numbers(state: Health, beside: Mapping[str, Any], now: datetime) -> list[Number]:
    due = sum(queue.due_count for queue in state.queues if not queue.is_paused)
    retrying, failed = beside.get("retrying", 0), beside.get("failed", 0)
    return [
        Number(gettext("Due now"), _count(due)),
        Number(gettext("Oldest due"), wording.span(state.lag) if state.lag else "-"),
        Number(gettext("Running"), _count(state.running_count), "?status=RUNNING"),
        Number(gettext("Retrying"), _count(retrying), "?status=RETRYING"),
        Number(gettext("Failed in 24 h"), _count(failed), "?status=FAILED"),
        Number(gettext("Last claim"), _ago(state.last_claim_at, now)),
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
    return text % {"lag": wording.span(state.lag)}


def _count(count: int) -> str:
    text = words.grouped(count)
    return text if count < COUNT_LIMIT else gettext("%(count)s+") % {"count": text}


def _ago(at: datetime | None, now: datetime) -> str:
    if at is None:
        return gettext("never")
    span = wording.span(max(0.0, (now - at).total_seconds()))
    return words.time_tag(at, gettext("%(span)s ago") % {"span": span})


def _chart(scale: Scale, now: datetime) -> dict[str, Any]:
    """Return the chart of the Tasks that ended in each hour or minute."""
    starts = _starts(scale, now)
    uncounted_since = tallies.counted_until(starts[0])
    since = tallies.latest(COUNT_LIMIT, uncounted_since)
    counted = tallies.counted(starts[0], uncounted_since, scale.unit)
    counts = _counts(scale, [*counted, *tallies.ended(since)])
    tops = [sum(counts[start, series] for series in SERIES) for start in starts]
    totals = {series: sum(counts[start, series] for start in starts) for series in SERIES}
    return {
        "slots": [_slot(n, start, counts, max(1, *tops)) for n, start in enumerate(starts)],
        "width": BAR * scale.slot_count,
        "height": HEIGHT,
        # Name, title and sum of each series.
        "totals": [(name, SERIES[name], words.grouped(total)) for name, total in totals.items()],
        # Before this time some ended Tasks are missing.
        "left_out_until": since if since > uncounted_since else None,
    }


def _starts(scale: Scale, now: datetime) -> list[datetime]:
    """Return the starts of the slots; the last slot contains ``now``."""
    latest = _slot_of(scale, now.astimezone(UTC) if timezone.is_aware(now) else now)
    return [latest - back * scale.width for back in reversed(range(scale.slot_count))]


def _slot_of(scale: Scale, at: datetime) -> datetime:
    minute = tallies.whole_minute(at)
    return minute.replace(minute=0) if scale.unit == "hour" else minute


def _counts(scale: Scale, ended: Iterable[Tally]) -> Counter[tuple[datetime, str]]:
    """Return the counts by the start of the slot and the series."""
    counts: Counter[tuple[datetime, str]] = Counter()
    for tally in ended:
        slot = _slot_of(scale, tally.minute)
        counts.update({(slot, series): getattr(tally, f"{series}_count") for series in SERIES})
    return counts


def _slot(n: int, start: datetime, counts: Counter[tuple[datetime, str]], top: int) -> Slot:
    by_series = {series: counts[start, series] for series in SERIES}
    label = wording.as_local(start).strftime("%H:%M")
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
