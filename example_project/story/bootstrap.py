"""Set up a virtual environment of the demo's own, and go on inside it. Standard library only."""

import argparse
import fcntl
import hashlib
import os
import signal
import sys
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from .leash import leashed

SITE = Path(__file__).resolve().parent.parent
PROJECT = SITE.parent
HOME = SITE / ".demo" / f"python{sys.version_info.major}.{sys.version_info.minor}"
VENV = HOME / "venv"
PYTHON = VENV / "bin" / "python"
STAMP = HOME / "stamp"
DRIVERS = {"postgres": "psycopg[binary]", "mysql": "mysqlclient"}


def main() -> int:
    options = read_options()
    leave_on_signals()
    if Path(sys.prefix) != VENV:
        go_inside()
    from .site import open_site

    servers = open_site(HOME, countdown=options.countdown, storm=options.storm)
    from .plot import Plot
    from .stage import tell
    from .storm import Storm

    story = Storm if options.storm else Plot
    return tell(story, servers, HOME, plain=options.plain, keep=options.keep)


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Watch a background task fail in three ways, be retried, and be announced."
    )
    parser.add_argument(
        "--storm",
        action="store_true",
        help="watch 500 tasks fail of one cause, a handful of alerts, and the recovery",
    )
    parser.add_argument(
        "--countdown",
        type=seconds,
        help="seconds between the attempts, from 1 to 60 (default: 5, in the storm 0.5)",
    )
    parser.add_argument(
        "--keep", action="store_true", help="leave the site and the cluster running until Ctrl-C"
    )
    parser.add_argument("--plain", action="store_true", help="print lines, no live table")
    options = parser.parse_args()
    if options.countdown is None:
        options.countdown = 0.5 if options.storm else 5.0
    return options


def seconds(text: str) -> float:
    value = float(text)
    if not 1 <= value <= 60:
        raise argparse.ArgumentTypeError(f"{text} is not between 1 and 60 seconds")
    return value


def leave_on_signals() -> None:
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, leave)


def leave(signum: int, frame: FrameType | None) -> NoReturn:
    # What was started is being stopped from here on: a second Ctrl-C must not interrupt that.
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    print("\nStopping.", flush=True)
    raise SystemExit(128 + signum)


def go_inside() -> NoReturn:
    HOME.mkdir(parents=True, exist_ok=True)
    keep_others_out(HOME / "lock")
    requirements = read_requirements()
    if not is_ready(requirements):
        set_up(requirements)
    os.execv(PYTHON, [str(PYTHON), *sys.argv])


def keep_others_out(path: Path) -> None:
    lock = os.open(path, os.O_CREAT | os.O_RDWR)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit(f"Another demo is running in {HOME.relative_to(PROJECT)}; stop it first.")
    os.set_inheritable(lock, True)  # held on by the program that exec starts in this process


def read_requirements() -> list[str]:
    """Return what the demo needs beside the project itself."""
    pyproject = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    url = os.environ.get("DATABASE_URL", "")
    drivers = [driver for scheme, driver in DRIVERS.items() if url.startswith(scheme)]
    return [*pyproject["dependency-groups"]["demo"], *drivers]


def is_ready(requirements: list[str]) -> bool:
    installed = PYTHON.exists() and STAMP.exists()
    return installed and STAMP.read_text() == fingerprint(requirements)


def fingerprint(requirements: list[str]) -> str:
    """Change with whatever an earlier installation may no longer fit."""
    pyproject = (PROJECT / "pyproject.toml").read_text()
    facts = [sys.version, str(PROJECT), pyproject, *requirements]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()


def set_up(requirements: list[str]) -> None:
    venv = [sys.executable, "-m", "venv", "--clear", VENV]
    run("Making a virtual environment in example_project/.demo", venv)
    pip = [PYTHON, "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
    run("Installing Django, django-q2 and this project there", [*pip, "-e", PROJECT, *requirements])
    STAMP.write_text(fingerprint(requirements))


def run(title: str, command: Sequence[object]) -> None:
    print(f"{title} ... ", end="", flush=True)
    started = time.monotonic()
    with leashed(command) as process:
        if process.wait() != 0:
            sys.exit(f"failed: {' '.join(map(str, command))}")
    print(f"{time.monotonic() - started:.0f} s", flush=True)
