"""What is measured: the cases, and the entries of each, which take turns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from benchmarks.measuring.servers import MARIADB, POSTGRES, REDIS, SQLITE
from benchmarks.peers.roster import BY_NAME, OURS, PEERS, Peer

from .drains import Work, drain, drain_limit
from .enqueues import enqueue
from .reading import Reading
from .stages import Stage

ASYNC_TASKS = 200
ASYNC_SECONDS = 0.1
# A failing attempt takes about so many times as long as one that does nothing.
FAILURE = 3
# Enqueued one by one in a second of a measurement.
EACH = 500
BULK = 2500


@dataclass(frozen=True, kw_only=True)
class Amounts:
    """How much to measure: ``seconds`` is about how long one drain takes."""

    seconds: float = 4.0
    crowd: int = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One thing that is measured in a case, again and again, on a stage of its own."""

    name: str
    title: str
    peer: Peer
    measure: Callable[[Stage, Amounts], Reading]
    set_up: Callable[[Stage, Amounts], None] | None = None

    def fits(self, store: str) -> bool:
        """Whether it can be measured there. Those on Redis stand beside those on PostgreSQL."""
        return store in self.peer.stores or (store == POSTGRES and REDIS in self.peer.stores)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A question, asked of each entry in turn; ratios are to the entry named ``reference``."""

    name: str
    title: str
    entries: Sequence[Entry]
    stores: Sequence[str] = (POSTGRES,)
    reference: str = OURS
    is_counted: bool = False


def _drain_case(name: str, title: str, work: Work, peers: Sequence[str], **options: object) -> Case:
    entries = [
        Entry(
            name=peer,
            title=BY_NAME[peer].title,
            peer=BY_NAME[peer],
            measure=partial(_limit if BY_NAME[peer].is_limit else _drain, work),
        )
        for peer in peers
    ]
    return Case(name=name, title=title, entries=entries, **options)  # type: ignore[arg-type]


def _drain(work: Work, stage: Stage, amounts: Amounts) -> Reading:
    return drain(stage, work, _count(work, stage.peer, amounts))


def _limit(work: Work, stage: Stage, amounts: Amounts) -> Reading:
    return drain_limit(stage, _count(work, stage.peer, amounts))


def _count(work: Work, peer: Peer, amounts: Amounts) -> int:
    pace = float(peer.pace)
    if work.seconds:
        pace = min(pace, 2 / work.seconds)
    if work.runs > 1:
        pace /= work.runs * FAILURE
    return max(100, round(pace * amounts.seconds / 100) * 100)


def _enqueue_case(way: str, title: str, peers: Sequence[str]) -> Case:
    entries = [
        Entry(
            name=peer,
            title=BY_NAME[peer].title,
            peer=BY_NAME[peer],
            measure=partial(_enqueue, way),
        )
        for peer in peers
    ]
    return Case(name=f"enqueue-{way}", title=title, entries=entries)


def _enqueue(way: str, stage: Stage, amounts: Amounts) -> Reading:
    pace = BULK if way == "bulk" else EACH
    return enqueue(stage, way, max(100, round(pace * amounts.seconds / 100) * 100))


CROWDS = {
    "alone": "no other Tasks",
    "future": "future Tasks of a higher priority",
    "finished": "finished Tasks",
    "due": "due Tasks of a lower priority",
    "elsewhere": "due Tasks of another cluster's queue",
}


def _crowd_case() -> Case:
    crowded = replace(
        BY_NAME[OURS],
        module="retrytasks_crowd",
        settings={
            **BY_NAME[OURS].settings,
            "Q_CLUSTER": {
                **BY_NAME[OURS].settings["Q_CLUSTER"],
                "ALT_CLUSTERS": {"elsewhere": {}},
            },
        },
    )
    entries = [
        Entry(
            name=kind,
            title=title,
            peer=crowded,
            measure=_drain_in_crowd,
            set_up=None if kind == "alone" else partial(_crowd, kind),
        )
        for kind, title in CROWDS.items()
    ]
    title = "drain beside many other Tasks"
    return Case(name="crowd", title=title, entries=entries, reference="alone")


def _crowd(kind: str, stage: Stage, amounts: Amounts) -> None:
    with stage.host() as host:
        host.ask("crowd", kind, amounts.crowd)


def _drain_in_crowd(stage: Stage, amounts: Amounts) -> Reading:
    count = _count(Work(), stage.peer, amounts)
    return drain(stage, Work(), count, is_crowded=True)


def _async_case() -> Case:
    peer = replace(BY_NAME[OURS], module="retrytasks_async")
    titles = {"waits": "one at a time", "waits_together": "`concurrency=20`"}
    entries = [
        Entry(name=name, title=title, peer=peer, measure=partial(_wait, name))
        for name, title in titles.items()
    ]
    title = f"{ASYNC_TASKS} `async def` tasks that wait {ASYNC_SECONDS * 1000:.0f} ms"
    return Case(name="async", title=title, entries=entries, reference="waits")


def _wait(name: str, stage: Stage, amounts: Amounts) -> Reading:
    return drain(stage, Work(name=name, seconds=ASYNC_SECONDS), ASYNC_TASKS)


ON_SQL = ("retrytasks", "yardstick", "tasks-db")
CASES = (
    _drain_case(
        "drain",
        "drain tasks that do nothing",
        Work(),
        [peer.name for peer in PEERS],
        stores=(POSTGRES, MARIADB, SQLITE),
    ),
    _drain_case(
        "drain-5ms",
        "drain tasks of 5 ms",
        Work(name="sleeps", seconds=0.005),
        ("retrytasks", "tasks-db"),
        is_counted=True,
    ),
    _drain_case(
        "drain-50ms",
        "drain tasks of 50 ms",
        Work(name="sleeps", seconds=0.05),
        ("retrytasks", "tasks-db"),
        is_counted=True,
    ),
    _drain_case(
        "fail",
        "attempts of tasks that fail, three retries without a wait",
        Work(name="fails"),
        ("retrytasks", "yardstick", "pgqueuer-10", "celery"),
    ),
    _enqueue_case(
        "each", "enqueue one by one", ("retrytasks", "tasks-db", "q2-tuned", "procrastinate")
    ),
    _enqueue_case(
        "inside",
        "enqueue one by one, a hundred in a transaction",
        ("retrytasks", "tasks-db", "q2-tuned", "procrastinate"),
    ),
    _enqueue_case("bulk", "enqueue in bulk", ("retrytasks", "yardstick", "tasks-db")),
    _crowd_case(),
    _async_case(),
)
