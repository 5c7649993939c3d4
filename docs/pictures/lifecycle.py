"""The statuses of a Task, and what leads from one to the next."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from .svg import box, edge, picture, text


class Edge(NamedTuple):
    """One arrow. Both ends are statuses; "" is none yet."""

    start: str
    end: str
    cause: str
    path: str
    label: tuple[int, int, str]


STATUSES = {
    "PENDING": (150, 190, "box"),
    "RUNNING": (400, 190, "box"),
    "RETRYING": (400, 300, "box"),
    "SUCCEEDED": (670, 190, "end"),
    "FAILED": (670, 44, "end"),
    "DISCARDED": (670, 300, "end"),
}
EDGES = (
    Edge("", "PENDING", "enqueue", "M26,190 H86", (54, 182, "middle")),
    Edge("PENDING", "RUNNING", "claim", "M212,184 H336", (275, 177, "middle")),
    Edge("RUNNING", "PENDING", "put off", "M338,198 H214", (275, 216, "middle")),
    Edge(
        "RUNNING",
        "RUNNING",
        "lease over",
        "M382,172 C366,126 434,126 419,170",
        (400, 130, "middle"),
    ),
    Edge("RUNNING", "SUCCEEDED", "returned", "M462,190 H606", (560, 183, "middle")),
    Edge("RUNNING", "FAILED", "stop", "M462,176 L606,60", (524, 112, "end")),
    Edge("RUNNING", "RETRYING", "retry", "M388,208 V280", (380, 250, "end")),
    Edge("RETRYING", "RUNNING", "claim", "M412,282 V210", (420, 250, "start")),
    Edge("RUNNING", "DISCARDED", "Discard, cancel", "M462,202 L606,286", (550, 242, "start")),
    Edge("RETRYING", "DISCARDED", "discard, cancel", "M462,300 H606", (535, 318, "middle")),
    Edge(
        "PENDING",
        "DISCARDED",
        "expired, discard, cancel",
        "M150,208 V356 H670 V320",
        (400, 348, "middle"),
    ),
    Edge("FAILED", "PENDING", "re-drive", "M608,36 H150 V170", (380, 28, "middle")),
    Edge("FAILED", "DISCARDED", "discard", "M732,44 H764 V300 H734", (756, 258, "end")),
)


def drawn() -> str:
    return picture("The statuses of a Task, and what leads from one to the next", 376, _parts())


def _parts() -> Iterator[str]:
    yield '<circle cx="20" cy="190" r="6" class="tip"/>'
    for name, (x, y, style) in STATUSES.items():
        yield box(x, y, name, style=style)
    for one in EDGES:
        x, y, anchor = one.label
        yield edge(one.path)
        yield text(x, y, one.cause, anchor=anchor, style="faint")
