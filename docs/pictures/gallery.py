"""The pictures, each with its file."""

from __future__ import annotations

from pathlib import Path

from . import delivery, lifecycle, schedule

IMAGES = Path(__file__).parents[1] / "images"


def drawn() -> dict[Path, str]:
    """Return the file of each picture, and its SVG."""
    return {
        IMAGES / "delivery.svg": delivery.drawn(),
        IMAGES / "lifecycle.svg": lifecycle.drawn(),
        IMAGES / "schedule.svg": schedule.drawn(),
    }
