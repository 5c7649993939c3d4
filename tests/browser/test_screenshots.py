"""The pictures of the documentation: taken where `SCREENSHOTS` is set, else seen to be there."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from .conftest import Browse
from .stage import BUSY_DAY, Stage, operator

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ROOT / "docs" / "images"
# Bytes: readers load them with the page.
LARGEST = 150_000
# An image in Markdown.
SHOWN = re.compile(r"!\[[^\]]+\]\(([^)]+)\)")

# The page, its theme, and down to which pixel it is shown.
SHOTS = {
    "tasks": ("Tasks", "light", 900),
    "tasks-dark": ("Tasks", "dark", 900),
    "task": ("Task failed", "light", 900),
    "group": ("group open", "light", 800),
    "group-dark": ("group open", "dark", 800),
    "confirm": ("all: re-drive", "light", 760),
    "operation": ("operation running", "light", 560),
}


for_each_picture = pytest.mark.parametrize("name", SHOTS)

if "SCREENSHOTS" in os.environ:

    @for_each_picture
    def test_picture_is_taken(browse: Browse, stage: Stage, name: str) -> None:
        stage.fill(BUSY_DAY, failed=37)
        place, theme, height = SHOTS[name]
        page = browse(operator("ada"), color_scheme=theme)
        page.set_viewport_size({"width": 1300, "height": height})
        page.goto(stage.pages()[place])

        taken = page.screenshot(path=IMAGES / f"{name}.png", animations="disabled")

        assert taken


@for_each_picture
def test_picture_is_there_and_loads_quickly(name: str) -> None:
    assert 1000 < (IMAGES / f"{name}.png").stat().st_size < LARGEST


def test_every_picture_is_shown_and_none_is_missing() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]

    shown = {page.parent / at for page in pages for at in images_of(page)}

    taken = {IMAGES / f"{name}.png" for name in SHOTS}
    drawn = set(IMAGES.glob("*.svg"))
    assert {path.resolve() for path in shown} == taken | drawn == set(IMAGES.iterdir())


def images_of(page: Path) -> list[str]:
    """Return the addresses of the images that a page of the documentation shows."""
    return SHOWN.findall(page.read_text())
