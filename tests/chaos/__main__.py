"""The command: `python -m tests.chaos --help`. Exits with 0 if the run ends as it should."""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import django

tell = partial(print, flush=True)


def main() -> int:
    """Run it as the command line says; return the exit code."""
    options = _options()
    _set_up(options.database)
    return _upgrade(options) if options.upgrade_from else _break(options)


def _upgrade(options: argparse.Namespace) -> int:
    from tests.chaos.upgrade import Upgrade

    with _own_database() as home:
        old = options.upgrade_from.resolve()
        wrong = Upgrade(old, home, 60 * options.minutes / 4, tell).run()
    tell("\n".join(wrong) or "every promise was kept")
    return int(bool(wrong))


def _break(options: argparse.Namespace) -> int:
    from tests.chaos.run import Chaos, Plan

    plan = Plan(
        seconds=60 * options.minutes,
        seed=options.seed,
        has_guard=not options.no_guard,
        restart=options.restart,
        patience=30 if options.no_guard else 120,
    )
    tell(f"seed {plan.seed}, the claim's guard is {'on' if plan.has_guard else 'OFF'}")
    with _own_database() as home:
        report = Chaos(plan, home, tell).run()
        tell("\n".join(report.lines()))
        tell(f"seed {plan.seed}")
    return int(bool(report.violations) == plan.has_guard)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos", description="Break clusters while they work."
    )
    parser.add_argument("--minutes", type=float, default=3, help="How long. Default: 3.")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--database", metavar="URL", help="Default: DATABASE_URL, else SQLite.")
    parser.add_argument(
        "--restart", metavar="COMMAND", help="Restarts the database: adds that to the faults."
    )
    parser.add_argument(
        "--upgrade-from",
        type=Path,
        metavar="CHECKOUT",
        help="Upgrade from the release whose source this is, in place of causing faults.",
    )
    parser.add_argument("--no-guard", action="store_true", help="The negative control.")
    return parser.parse_args()


def _set_up(database: str | None) -> None:
    # Clusters inherit the environment, and so find this run's database.
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    os.environ["RETRYTASKS_TEST_RUN"] = f"chaos{os.getpid()}"
    if database:
        os.environ["DATABASE_URL"] = database
    django.setup()


@contextmanager
def _own_database() -> Iterator[Path]:
    """Make this run's database and a directory, both deleted at the end."""
    from django.db import connection

    connection.creation.create_test_db(verbosity=0, autoclobber=True)
    try:
        with tempfile.TemporaryDirectory(prefix="retrytasks-chaos-") as home:
            yield Path(home)
    finally:
        connection.creation.destroy_test_db(connection.settings_dict["NAME"], verbosity=0)


if __name__ == "__main__":
    sys.exit(main())
