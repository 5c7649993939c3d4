"""Enqueue, by the calls that a site makes."""

from __future__ import annotations

from .reading import Reading
from .stages import Stage

# The first calls import and compile what later ones find.
WARM_UP = 100
CALLS = {"each": "enqueue_each", "inside": "enqueue_inside", "bulk": "enqueue"}


def enqueue(stage: Stage, way: str, count: int) -> Reading:
    """Enqueue so many tasks one by one ("each"), in transactions ("inside") or at once ("bulk")."""
    arguments = ("nothing", count, 0) if way == "bulk" else (count,)
    with stage.host() as host:
        host.ask("empty")
        host.ask("enqueue_each", WARM_UP)
        answer = host.ask(CALLS[way], *arguments)
        missing = count + WARM_UP - int(host.ask("left").value)
    return Reading(
        rate=count / answer.seconds,
        count=count,
        seconds=answer.seconds,
        lost=max(0, missing),
        doubled=max(0, -missing),
        costs={"python": round(answer.python / count, 3)},
    )
