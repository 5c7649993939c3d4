"""The plot: tasks drained per second by each peer, as SVG for light and dark pages."""

from __future__ import annotations

import math
from collections.abc import Iterator

from benchmarks.peers.roster import OURS

from .results import Row, Section
from .tables import number

WIDTH, LEFT, RIGHT, TOP, LINE = 780, 290, 70, 56, 26
STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #24292f }
  .faint { fill: #57606a } .grid { stroke: #d0d7de } .peer { fill: #57606a; stroke: #57606a }
  .ours { fill: #0969da; stroke: #0969da } .title { font-weight: 600 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .faint { fill: #9da7b3 } .grid { stroke: #3d444d }
    .peer { fill: #9da7b3; stroke: #9da7b3 } .ours { fill: #58a6ff; stroke: #58a6ff }
  }
"""


def drawn(section: Section) -> str:
    """Return the SVG: a dot for each median, a line from the lowest to the highest round."""
    rows = sorted(section.rows, key=lambda row: -row.median)
    height = TOP + LINE * len(rows) + 20
    low = 10 ** math.floor(math.log10(min(row.range[0] for row in rows)))
    high = 10 ** math.ceil(math.log10(max(row.range[1] for row in rows)))
    scale = Scale(low, high)
    title = f"Tasks that do nothing, drained per second, {section.store}"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        f"<title>{title}, by {len(rows)} peers, on a logarithmic scale</title>",
        f"<style>{STYLE}</style>",
        f'<text x="8" y="20" class="title">{title} (logarithmic scale)</text>',
        *_grid(scale, height),
        *(part for at, row in enumerate(rows) for part in _dot(scale, row, TOP + LINE * at + 16)),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


class Scale:
    """Where a rate stands, in the picture's units."""

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high

    def at(self, rate: float) -> str:
        part = math.log(rate / self.low) / math.log(self.high / self.low)
        return f"{LEFT + part * (WIDTH - LEFT - RIGHT):.1f}"


def _grid(scale: Scale, height: int) -> Iterator[str]:
    rate = scale.low
    while rate <= scale.high:
        x = scale.at(rate)
        yield f'<line x1="{x}" y1="{TOP}" x2="{x}" y2="{height - 12}" class="grid"/>'
        yield f'<text x="{x}" y="{TOP - 10}" text-anchor="middle" class="faint">{rate:,.0f}</text>'
        rate *= 10


def _dot(scale: Scale, row: Row, y: int) -> Iterator[str]:
    style = "ours" if row.name == OURS else "peer"
    weight = ' class="title"' if row.name == OURS else ""
    low, median, high = scale.at(row.range[0]), scale.at(row.median), scale.at(row.range[1])
    yield f'<text x="{LEFT - 14}" y="{y + 4}" text-anchor="end"{weight}>{row.title}</text>'
    yield f'<line x1="{low}" y1="{y}" x2="{high}" y2="{y}" stroke-width="3" class="{style}"/>'
    yield f'<circle cx="{median}" cy="{y}" r="5" class="{style}"/>'
    yield f'<text x="{float(high) + 12:.1f}" y="{y + 4}">{number(row.median)}</text>'
