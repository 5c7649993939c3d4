"""What the pictures are made of."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.report.plot import STYLE

WIDTH = 780
OURS = """
  .box { fill: #ddf4ff; stroke: #0969da } .end { fill: #eaeef2; stroke: #57606a }
  .edge { fill: none; stroke: #57606a; stroke-width: 1.5; marker-end: url(#tip) }
  .life { stroke: #57606a; stroke-dasharray: 3 4 } .tip { fill: #57606a }
  @media (prefers-color-scheme: dark) {
    .box { fill: #0c2d4f; stroke: #58a6ff } .end { fill: #21262d; stroke: #9da7b3 }
    .edge, .life { stroke: #9da7b3 } .tip { fill: #9da7b3 }
  }
"""
TIP = (
    '<marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" '
    'orient="auto"><path d="M0,0 L10,5 L0,10 Z" class="tip"/></marker>'
)


def picture(title: str, height: int, parts: Iterable[str]) -> str:
    """Return an SVG for light and dark pages. Units are pixels at its full width."""
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">'
    style = f"<style>{STYLE}{OURS}</style>"
    return "\n".join([head, f"<title>{title}</title>", style, TIP, *parts, "</svg>"]) + "\n"


def text(x: float, y: float, words: str, *, anchor: str = "middle", style: str = "") -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" class="{style}">{words}</text>'


def box(x: float, y: float, words: str, *, width: int = 124, style: str = "box") -> str:
    """Return a box of height 36 around its centre, with words in it."""
    corner = f'x="{x - width / 2:g}" y="{y - 18:g}"'
    return (
        f'<rect {corner} width="{width}" height="36" rx="6" class="{style}"/>'
        f"{text(x, y + 5, words, style='title')}"
    )


def edge(path: str) -> str:
    return f'<path d="{path}" class="edge"/>'
