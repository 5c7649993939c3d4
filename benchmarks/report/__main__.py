"""Write the page's tables and the plot from kept figures: ``python -m benchmarks.report``."""

from __future__ import annotations

import argparse
from pathlib import Path

from .plot import drawn
from .results import LATEST, load
from .tables import drained, replaced

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "explanation" / "benchmarks.md"
PLOT = DOCS / "images" / "benchmarks.svg"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.add_argument("results", type=Path, nargs="?", default=LATEST)
    results = load(parser.parse_args().results)
    PAGE.write_text(replaced(PAGE.read_text(), results))
    section = drained(results)
    if section is not None:
        PLOT.write_text(drawn(section))
    print(f"wrote {PAGE} and {PLOT}")


if __name__ == "__main__":
    main()
