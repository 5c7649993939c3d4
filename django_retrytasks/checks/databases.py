"""Checks of the database that holds the rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from django.apps import apps
from django.core.checks import Error, Warning
from django.db import DEFAULT_DB_ALIAS, connections, router

from django_retrytasks.values.checked import nearest

from .common import Found, is_sync, q_cluster, registered

LEAST_SQLITE_TIMEOUT = 20
STRICTER = ("REPEATABLE READ", "SERIALIZABLE")


@registered
def check_database() -> Found:
    """Check the database that keeps the Tasks, and that it does keep them."""
    alias = q_cluster().get("orm") or DEFAULT_DB_ALIAS
    if alias not in connections:
        yield Error(
            f'Q_CLUSTER["orm"] names "{alias}", which is no alias in DATABASES.',
            hint=nearest(alias, connections),
            id="retrytasks.E004",
        )
        return
    yield from _routing(alias)
    if not is_sync():
        yield from check(alias)


def _routing(alias: str) -> Found:
    ours = apps.get_app_config("retrytasks").get_models()
    models = [*ours, apps.get_model("django_q", "Schedule")]
    elsewhere: dict[str, set[str]] = defaultdict(set)
    for model in models:
        elsewhere[router.db_for_write(model)].add(model._meta.app_label)
    for other, labels in elsewhere.items():
        if other != alias:
            yield Error(
                f'{_apps(labels)} written to the database "{other}", but Q_CLUSTER["orm"] names '
                f'"{alias}".',
                hint=f'Set Q_CLUSTER["orm"] to "{other}", or have DATABASE_ROUTERS send the apps '
                f'django_q and retrytasks to "{alias}".',
                id="retrytasks.E006",
            )
    models.append(apps.get_model("django_q", "OrmQ"))
    barred = {m._meta.app_label for m in models if not router.allow_migrate_model(alias, m)}
    if barred:
        yield Error(
            f'{_apps(barred)} kept out of the database "{alias}" by allow_migrate() of '
            'DATABASE_ROUTERS, but Q_CLUSTER["orm"] names it.',
            hint="Have allow_migrate() return True for the apps django_q and retrytasks on "
            f'"{alias}", then run manage.py migrate --database {alias}.',
            id="retrytasks.E007",
        )


def _apps(labels: Iterable[str]) -> str:
    named = sorted(labels)
    return f"The tables of {' and '.join(named)} are"


LEAST_SQLITE_TIMEOUT = 20
STRICTER = ("REPEATABLE READ", "SERIALIZABLE")


def check(alias: str) -> Found:
    """Check the settings of the database that keeps the Tasks."""
    yield from _pool_and_age(alias)
    yield from _sqlite(alias)
    yield from _isolation(alias)


def _pool_and_age(alias: str) -> Found:
    database = connections[alias].settings_dict
    if database["OPTIONS"].get("pool"):
        yield Error(
            f'DATABASES["{alias}"]["OPTIONS"]["pool"] is set: psycopg\'s connection pool does not '
            "survive the fork of django-q2's processes, and Tasks stop running.",
            hint='Remove "pool" from OPTIONS and set CONN_MAX_AGE to 600 instead.',
            id="retrytasks.E008",
        )
    elif database["CONN_MAX_AGE"] == 0:
        yield Warning(
            f'DATABASES["{alias}"]["CONN_MAX_AGE"] is 0: django-q2\'s processes connect anew '
            "again and again, which makes them about four times slower.",
            hint=f'Set DATABASES["{alias}"]["CONN_MAX_AGE"] to 600, at least where qcluster runs.',
            id="retrytasks.W003",
        )


def _sqlite(alias: str) -> Found:
    connection = connections[alias]
    if connection.vendor != "sqlite":
        return
    options = connection.settings_dict["OPTIONS"]
    if str(options.get("transaction_mode")).upper() not in ("IMMEDIATE", "EXCLUSIVE"):
        yield Warning(
            f'DATABASES["{alias}"]["OPTIONS"]["transaction_mode"] is not "IMMEDIATE": a '
            'transaction that reads before it writes fails at once with "database is locked" '
            "while another one writes.",
            hint=f'Set DATABASES["{alias}"]["OPTIONS"]["transaction_mode"] to "IMMEDIATE".',
            id="retrytasks.W001",
        )
    timeout = options.get("timeout", 5)
    if timeout < LEAST_SQLITE_TIMEOUT:
        yield Warning(
            f'DATABASES["{alias}"]["OPTIONS"]["timeout"] is {timeout} s: a write that waits longer '
            'for another process\'s fails with "database is locked".',
            hint=f'Set DATABASES["{alias}"]["OPTIONS"]["timeout"] to {LEAST_SQLITE_TIMEOUT}.',
            id="retrytasks.W002",
        )


def _isolation(alias: str) -> Found:
    options = connections[alias].settings_dict["OPTIONS"]
    if "isolation_level" not in options:
        return
    given = options["isolation_level"]
    level = _isolation_level(connections[alias].vendor, given)
    if level in STRICTER:
        said = level if given else f"None, which leaves it to the server, {level} by default"
        yield Warning(
            f'DATABASES["{alias}"]["OPTIONS"]["isolation_level"] is {said}: where workers claim '
            "and settle side by side the database refuses some of them, and these try again.",
            hint='Remove "isolation_level" from OPTIONS: Django\'s default is READ COMMITTED.',
            id="retrytasks.W016",
        )


def _isolation_level(vendor: str, given: Any) -> str:
    """Return the SQL words for an isolation level as Django takes it; "" for one unknown."""
    if vendor == "mysql":  # None leaves it to the server, which has this default
        return str(given or "repeatable read").upper()
    if vendor == "postgresql":
        from django.db.backends.postgresql.psycopg_any import IsolationLevel

        return {one.value: one.name.replace("_", " ") for one in IsolationLevel}.get(given, "")
    return ""
