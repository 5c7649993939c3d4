"""Make a virtual environment of the demo's own, and go on inside it. Standard library only."""

import argparse
import fcntl
import os
import signal
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from .processes import running

SITE = Path(__file__).resolve().parent.parent
PROJECT = SITE.parent
HOME = SITE / ".demo" / f"python{sys.version_info.major}.{sys.version_info.minor}"
VENV = HOME / "venv"
PYTHON = VENV / "bin" / "python"
STAMP = HOME / "stamp"
DRIVERS = {"postgres": "psycopg[binary]", "mysql": "mysqlclient"}


def main() -> int:
    options = read_options()
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, leave)
    if Path(sys.prefix) != VENV:
        go_inside()
    from .play import tell

    return tell(options, HOME)


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Watch a background task fail in three ways, be retried, and be announced."
    )
    countdown = "seconds between the attempts, from 1 to 60 (default: 5, in the storm 0.5)"
    parser.add_argument("--countdown", type=float, help=countdown)
    for name, text in {
        "--storm": "watch 500 tasks fail of one cause, a handful of alerts, and the recovery",
        "--keep": "leave the site and the cluster running until Ctrl-C",
        "--plain": "print lines, no live table",
    }.items():
        parser.add_argument(name, action="store_true", help=text)
    options = parser.parse_args()
    if options.countdown is None:
        options.countdown = 0.5 if options.storm else 5.0
    elif not 1 <= options.countdown <= 60:
        parser.error("--countdown must be from 1 to 60 seconds")
    return options


def leave(signum: int, frame: FrameType | None) -> NoReturn:
    # From here on processes are stopped: a second Ctrl-C must not interrupt that.
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    print("\nStopping.", flush=True)
    raise SystemExit(128 + signum)


def go_inside() -> NoReturn:
    HOME.mkdir(parents=True, exist_ok=True)
    keep_others_out()
    pyproject, url = (PROJECT / "pyproject.toml").read_text(), os.environ.get("DATABASE_URL", "")
    drivers = [driver for scheme, driver in DRIVERS.items() if url.startswith(scheme)]
    stamp = "\n".join([sys.version, str(PROJECT), *drivers, pyproject])
    if not (PYTHON.exists() and STAMP.exists() and STAMP.read_text() == stamp):
        install([*tomllib.loads(pyproject)["dependency-groups"]["demo"], *drivers])
        STAMP.write_text(stamp)
    os.execv(PYTHON, [str(PYTHON), *sys.argv])


def install(requirements: Sequence[str]) -> None:
    print("Installing Django, django-q2 and this project in example_project/.demo ...", flush=True)
    pip = [PYTHON, "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
    for command in (
        [sys.executable, "-m", "venv", "--clear", VENV],
        [*pip, "-e", PROJECT, *requirements],
    ):
        with running(command) as process:
            if process.wait():
                sys.exit(f"failed: {' '.join(map(str, command))}")


def keep_others_out() -> None:
    lock = os.open(HOME / "lock", os.O_CREAT | os.O_RDWR)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit(f"Another demo is running in {HOME.relative_to(PROJECT)}; stop it first.")
    os.set_inheritable(lock, True)  # exec keeps it
