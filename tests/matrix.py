"""Run pytest once on each database that is there, and say plainly what did not run.

`python -m tests.matrix [pytest's arguments]`: SQLite always, PostgreSQL and MariaDB where
`POSTGRES_URL` and `MARIADB_URL` are set. Without arguments each Django has a database of its own
and runs all tests there. So every test runs on every Django and on every database. On the other
databases it runs the folders of `ROWS`: those of hand-made SQL on each of the nine pairs, those of
the verbs on PostgreSQL's three.

`python -m tests.matrix --browser [pytest's arguments]`: the tests of the admin in Chromium.

Exits with 0 only if every run passed.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import django

TESTS = Path(__file__).parent
URL_VARIABLES = {"PostgreSQL": "POSTGRES_URL", "MariaDB": "MARIADB_URL"}
OWN_DATABASES = {(5, 2): "SQLite", (6, 0): "MariaDB", (6, 1): "PostgreSQL"}
# The folders of what each Django says to each database in another way. Most sites have PostgreSQL.
ROWS = {
    "SQLite": ("broker", "database"),
    "MariaDB": ("broker", "database"),
    "PostgreSQL": ("broker", "database", "lifecycle"),
}
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM_WANTED = "apt-get install chromium, or name another one in CHROMIUM"
# More processes than there are cores, for many tests wait: for a timeout, or for a cluster.
PROCESSES = str(2 * (os.cpu_count() or 1))
# A class shares its cluster, so it stays in one process. The files keep their order, in which the
# longest tests come early.
SIDE_BY_SIDE = ("-n", PROCESSES, "--dist", "loadscope", "--no-loadscope-reorder")


def main(arguments: list[str]) -> int:
    """Run the matrix; return the exit code."""
    if arguments[:1] == ["--browser"]:
        return report({"Chromium": run_browser(arguments[1:])} | missing_databases())
    results = {"SQLite": run_database("SQLite", {}, arguments)}
    for database, variable in URL_VARIABLES.items():
        if database not in missing_databases():
            url = os.environ[variable]
            results[database] = run_database(database, {"DATABASE_URL": url}, arguments)
    return report(results | missing_databases())


def missing_databases() -> dict[str, str]:
    """Return the databases that cannot be tested here, each with the reason."""
    missing = {
        database: f"NOT RUN (set {variable} to run it)"
        for database, variable in URL_VARIABLES.items()
        if not os.environ.get(variable)
    }
    if "MariaDB" not in missing and find_spec("MySQLdb") is None:
        missing["MariaDB"] = "NOT RUN (set MARIADB_DRIVER=mysqlclient to install its driver)"
    return missing


def own_database() -> str:
    """Return the database on which this Django runs all tests; SQLite where that is missing."""
    chosen = OWN_DATABASES.get(django.VERSION[:2], "SQLite")
    return "SQLite" if chosen in missing_databases() else chosen


def run_database(database: str, variables: dict[str, str], arguments: list[str]) -> str:
    """Run a database's share of the tests, or what the arguments name; return how it ended."""
    print(f"\n{database}", flush=True)
    is_own = database == own_database()
    if arguments:
        runs: list[Sequence[str]] = [arguments]
    elif is_own:
        runs = [("-m", "not timed", *SIDE_BY_SIDE), ("-m", "timed")]
    else:
        rooms = [str(TESTS / room) for room in ROWS[database]]
        runs = [("-m", "not cluster", *SIDE_BY_SIDE, *rooms)]
    for run in runs:
        if code := run_pytest(run, variables):
            return f"failed (pytest's exit code {code})"
    return "passed" if arguments or is_own else "passed (the tests of rows)"


def run_browser(arguments: list[str]) -> str:
    """Run the tests in a browser; return how they ended, in words."""
    if chromium() is None:
        return f"NOT RUN ({CHROMIUM_WANTED})"
    code = run_pytest(["-n", "auto", str(TESTS / "browser"), *arguments], {})
    return f"failed (pytest's exit code {code})" if code else "passed"


def chromium() -> str | None:
    """Return the path of the browser; None: there is none."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUMS)), None)


def run_pytest(arguments: Sequence[str], variables: dict[str, str]) -> int:
    """Run pytest with these variables added to the environment; return its exit code."""
    inherited = {key: value for key, value in os.environ.items() if key != "DATABASE_URL"}
    command = [sys.executable, "-m", "pytest", "--durations=10", *arguments]
    return subprocess.run(command, env=inherited | variables).returncode


def report(results: dict[str, str]) -> int:
    """Print one line for each database or browser; return 1 if any of them failed."""
    for tested, result in results.items():
        print(f"{tested}: {result}", flush=True)
    return any(result.startswith("failed") for result in results.values())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
