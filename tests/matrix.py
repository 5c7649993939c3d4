"""Run pytest once on each database that is there, and say plainly which did not run.

`python -m tests.matrix [pytest's arguments]`: SQLite always, PostgreSQL and MariaDB where
`POSTGRES_URL` and `MARIADB_URL` are set. Without arguments each Django has a database of its own:
there it runs the tests that start real clusters, and those of the faces and of pure values. So each
of these runs on every Django and on every database, but not on all nine pairs. Exits with 0 only if
every run passed.
"""

import os
import subprocess
import sys

import django

URL_VARIABLES = {"PostgreSQL": "POSTGRES_URL", "MariaDB": "MARIADB_URL"}
CLUSTERS = ["-m", "cluster"]
OWN_DATABASES = {(5, 2): "SQLite", (6, 0): "MariaDB", (6, 1): "PostgreSQL"}
# Tests of pages, alerts, messages, documents and pure values.
FACES = (
    *("admin*", "alert*", "celery_words", "checks", "codec", "command", "conf", "conformance"),
    *("contract", "definitions", "demo", "discovery", "docs", "fingerprints", "first_steps"),
    *("installed_tasks", "kept_alerts", "letters", "moves", "operator_slips", "option_errors"),
    *("policy", "redaction", "schedules", "sentry", "spellings", "task_object", "terminals"),
    *("tracebacks", "translations", "webhook*"),
)


def main() -> int:
    """Run the matrix; return the exit code."""
    results = {"SQLite": run_pytest("SQLite", {})}
    for database, variable in URL_VARIABLES.items():
        if url := os.environ.get(variable):
            results[database] = run_pytest(database, {"DATABASE_URL": url})
        else:
            results[database] = f"NOT RUN (set {variable} to run it)"
    return report(results)


def own_database() -> str:
    """Return the database on which this Django runs all tests; SQLite where that is not there."""
    variable = URL_VARIABLES.get(chosen := OWN_DATABASES.get(django.VERSION[:2], "SQLite"))
    return chosen if variable and os.environ.get(variable) else "SQLite"


def runs_clusters() -> bool:
    """Whether this Django runs the tests that start clusters: each does if its database is there.

    Where only SQLite is there, the newest Django runs them.
    """
    wanted = OWN_DATABASES.get(django.VERSION[:2], "SQLite")
    if not any(map(os.environ.get, URL_VARIABLES.values())):
        return wanted == "PostgreSQL"
    return wanted == own_database()


def run_pytest(database: str, variables: dict[str, str]) -> str:
    """Run pytest with these variables added to the environment; return how it ended, in words."""
    print(f"\n{database}", flush=True)
    inherited = {key: value for key, value in os.environ.items() if key != "DATABASE_URL"}
    for chosen in runs_on(database):
        command = [sys.executable, "-m", "pytest", *chosen]
        if code := subprocess.run(command, env=inherited | variables).returncode:
            return f"failed (pytest's exit code {code})"
    if sys.argv[1:] or CLUSTERS in runs_on(database):
        return "passed"
    is_own = database == own_database()
    return f"passed (without the tests of clusters{'' if is_own else ' and of faces'})"


def runs_on(database: str) -> list[list[str]]:
    """Return pytest's arguments for each run on a database: those given, if any are.

    The tests that start clusters measure times, so they are not run side by side.
    """
    if sys.argv[1:]:
        return [sys.argv[1:]]
    others = ["-m", "not cluster", "-n", "auto"]
    if database != own_database():
        return [[*others, *(f"--ignore-glob=tests/test_{face}.py" for face in FACES)]]
    return [others, *([CLUSTERS] * runs_clusters())]


def report(results: dict[str, str]) -> int:
    """Print one line for each database; return 1 if any of them failed."""
    for database, result in results.items():
        print(f"{database}: {result}", flush=True)
    return any(result.startswith("failed") for result in results.values())


if __name__ == "__main__":
    sys.exit(main())
