"""Run pytest once on each database that is there, and say plainly which did not run.

`python -m tests.matrix [pytest's arguments]`: SQLite always, PostgreSQL and MariaDB where
`POSTGRES_URL` and `MARIADB_URL` are set. The tests that start real clusters take minutes; without
arguments they run on one of the databases, another one for each Django. Exits with 0 only if every
run passed.
"""

import os
import subprocess
import sys

import django

URL_VARIABLES = {"PostgreSQL": "POSTGRES_URL", "MariaDB": "MARIADB_URL"}
CLUSTERS = ["-m", "cluster"]
CLUSTERS_RUN_ON = {(5, 2): "SQLite", (6, 0): "MariaDB", (6, 1): "PostgreSQL"}


def main() -> int:
    """Run the matrix; return the exit code."""
    results = {"SQLite": run_pytest("SQLite", {})}
    for database, variable in URL_VARIABLES.items():
        if url := os.environ.get(variable):
            results[database] = run_pytest(database, {"DATABASE_URL": url})
        else:
            results[database] = f"NOT RUN (set {variable} to run it)"
    return report(results)


def clusters_run_on() -> str | None:
    """Return the database on which this Django runs the tests that start clusters; None: on none.

    Each Django has its own; where only SQLite is there, the newest Django runs them.
    """
    given = {name for name, variable in URL_VARIABLES.items() if os.environ.get(variable)}
    chosen = CLUSTERS_RUN_ON.get(django.VERSION[:2], "SQLite")
    if not given:
        return "SQLite" if chosen == "PostgreSQL" else None
    return chosen if chosen in given | {"SQLite"} else None


def run_pytest(database: str, variables: dict[str, str]) -> str:
    """Run pytest with these variables added to the environment; return how it ended, in words."""
    print(f"\n{database}", flush=True)
    inherited = {key: value for key, value in os.environ.items() if key != "DATABASE_URL"}
    for chosen in runs_on(database):
        command = [sys.executable, "-m", "pytest", *chosen]
        if code := subprocess.run(command, env=inherited | variables).returncode:
            return f"failed (pytest's exit code {code})"
    is_whole = CLUSTERS in runs_on(database)
    return "passed" if is_whole or sys.argv[1:] else "passed (without the tests of clusters)"


def runs_on(database: str) -> list[list[str]]:
    """Return pytest's arguments for each run on a database: those given, if any are.

    The tests that start clusters measure times, so they are not run side by side.
    """
    if sys.argv[1:]:
        return [sys.argv[1:]]
    with_clusters = database == clusters_run_on()
    return [["-m", "not cluster", "-n", "auto"], *([CLUSTERS] * with_clusters)]


def report(results: dict[str, str]) -> int:
    """Print one line for each database; return 1 if any of them failed."""
    for database, result in results.items():
        print(f"{database}: {result}", flush=True)
    return any(result.startswith("failed") for result in results.values())


if __name__ == "__main__":
    sys.exit(main())
