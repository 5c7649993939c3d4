"""The picture of an outage: Tasks and attempts over time, without and with a breaker, as SVG."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from .plot import STYLE

FIGURES = Path(__file__).parents[1] / "results" / "outage.json"
PICTURE = Path(__file__).parents[2] / "docs" / "images" / "breaker.svg"
WIDTH, LEFT, RIGHT, TOP, PANEL, GAP = 780, 64, 150, 60, 170, 56
LINES = {"attempts": "attempts", "succeeded": "succeeded", "failed": "failed for good"}
COLOURS = """
  .down { fill: #d0d7de; opacity: .45 } path { fill: none; stroke-width: 2.5 }
  .attempts { stroke: #57606a } .succeeded { stroke: #1a7f37 } .failed { stroke: #cf222e }
  @media (prefers-color-scheme: dark) {
    .down { fill: #3d444d } .attempts { stroke: #9da7b3 } .succeeded { stroke: #3fb950 }
    .failed { stroke: #f85149 }
  }
"""
TITLES = {"without_breaker": "Without a breaker", "with_breaker": "With a breaker"}


def main() -> None:
    PICTURE.write_text(drawn(json.loads(FIGURES.read_text())))
    print(f"wrote {PICTURE}")


def drawn(figures: Mapping[str, Any]) -> str:
    """Return the SVG: a panel for each run, with the sums since its start."""
    height = TOP + 2 * (PANEL + GAP)
    title = f"{figures['tasks']:,} Tasks while their server is down for {figures['seconds']:g} s"
    runs = figures["runs"]
    length = max(len(line) for run in runs.values() for line in run["by_second"].values())
    most = max(sum(line) for run in runs.values() for line in run["by_second"].values())
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        f"<title>{title}: attempts, and Tasks that succeeded and failed, over time</title>",
        f"<style>{STYLE}{COLOURS}</style>",
        f'<text x="8" y="20" class="title">{title}</text>',
    ]
    for at, (name, run) in enumerate(runs.items()):
        scale = Scale(TOP + at * (PANEL + GAP), length, most)
        lines += [*_frame(scale, TITLES[name], figures["seconds"]), *_curves(scale, run)]
    return "\n".join([*lines, "</svg>"]) + "\n"


class Scale:
    """Where a second and a count stand in a panel, in the picture's units."""

    def __init__(self, top: int, length: int, most: int) -> None:
        self.top, self.length, self.most = top, length, most

    def x(self, second: float) -> float:
        return round(LEFT + second / self.length * (WIDTH - LEFT - RIGHT), 1)

    def y(self, count: float) -> float:
        return round(self.top + PANEL * (1 - count / self.most), 1)


def _frame(scale: Scale, title: str, down: float) -> Iterator[str]:
    bottom, right = scale.y(0), scale.x(scale.length)
    yield f'<text x="{LEFT}" y="{scale.top - 12}" class="title">{title}</text>'
    width = scale.x(down) - LEFT
    yield f'<rect x="{LEFT}" y="{scale.top}" width="{width:.1f}" height="{PANEL}" class="down"/>'
    yield f'<text x="{LEFT + 8}" y="{scale.top + 18}" class="faint">the server is down</text>'
    yield f'<line x1="{LEFT}" y1="{bottom}" x2="{right}" y2="{bottom}" class="grid"/>'
    for count in range(0, scale.most + 1, 10_000):
        y = scale.y(count)
        yield f'<line x1="{LEFT}" y1="{y}" x2="{right}" y2="{y}" class="grid"/>'
        yield f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end" class="faint">{count:,}</text>'
    for second in range(0, scale.length + 1, 50):
        x = scale.x(second)
        at = f'x="{x}" y="{bottom + 18}" text-anchor="middle"'
        yield f'<text {at} class="faint">{second} s</text>'


def _curves(scale: Scale, run: Mapping[str, Any]) -> Iterator[str]:
    taken: list[float] = []
    ends = {name: sum(run["by_second"][name]) for name in LINES}
    for name in sorted(LINES, key=lambda name: -ends[name]):
        yield f'<path d="{_path(scale, run["by_second"][name])}" class="{name}"/>'
        # Labels of lines that end together stand below each other.
        y = max([scale.y(ends[name]) + 4, *(at + 16 for at in taken)])
        taken.append(y)
        yield f'<text x="{scale.x(scale.length) + 8}" y="{y}">{ends[name]:,} {LINES[name]}</text>'


def _path(scale: Scale, by_second: Sequence[int]) -> str:
    sums = [0, *accumulate([*by_second, *[0] * (scale.length - len(by_second))])]
    return "M" + " L".join(f"{scale.x(at)} {scale.y(count)}" for at, count in enumerate(sums))


if __name__ == "__main__":
    main()
