"""Checks of the database that holds the rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.checks import Error, Warning
from django.db import DEFAULT_DB_ALIAS, connections, router

from django_retrytasks.values.checked import nearest

from .common import Found, is_sync, q_cluster, registered

LEAST_SQLITE_TIMEOUT = 20
STRICTER = ("REPEATABLE READ", "SERIALIZABLE")


@registered
def check_database() -> Found:
    """Check the database of the Tasks, and that the routers send the Tasks there."""
    alias = q_cluster().get("orm") or DEFAULT_DB_ALIAS
    if alias not in connections:
        yield Error(
            f'Q_CLUSTER["orm"] names "{alias}", which is no alias in DATABASES.',
            hint=nearest(alias, connections),
            id="retrytasks.E004",
        )
        return
    yield from _routing(alias)
    yield from _time_zone(alias)
    if not is_sync():
        yield from _pool_and_age(alias)
        yield from _sqlite(alias)
        yield from _isolation(alias)


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
                hint=f'Set Q_CLUSTER["orm"] to "{other}", or route the apps django_q and '
                f'retrytasks to "{alias}" in DATABASE_ROUTERS.',
                id="retrytasks.E006",
            )
    models.append(apps.get_model("django_q", "OrmQ"))
    barred = {m._meta.app_label for m in models if not router.allow_migrate_model(alias, m)}
    if barred:
        yield Error(
            f'{_apps(barred)} kept out of the database "{alias}" by allow_migrate() of '
            'DATABASE_ROUTERS, but Q_CLUSTER["orm"] names it.',
            hint="Return True from allow_migrate() for the apps django_q and retrytasks on "
            f'"{alias}", then run manage.py migrate --database {alias}.',
            id="retrytasks.E007",
        )


def _time_zone(alias: str) -> Found:
    connection = connections[alias]
    zone = connection.settings_dict["TIME_ZONE"]
    if settings.USE_TZ and connection.vendor != "postgresql" and zone not in (None, "UTC"):
        yield Error(
            f'DATABASES["{alias}"]["TIME_ZONE"] is "{zone}": Django would store the times of that '
            "zone, but Tasks are due by UTC. They would start hours early or late.",
            hint=f'Remove "TIME_ZONE" from DATABASES["{alias}"].',
            id="retrytasks.E017",
        )


def _apps(labels: Iterable[str]) -> str:
    named = sorted(labels)
    return f"The tables of {' and '.join(named)} are"


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
            f'DATABASES["{alias}"]["CONN_MAX_AGE"] is 0: django-q2\'s processes reconnect all '
            "the time and are about four times slower.",
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
            'for another process fails with "database is locked".',
            hint=f'Set DATABASES["{alias}"]["OPTIONS"]["timeout"] to {LEAST_SQLITE_TIMEOUT}.',
            id="retrytasks.W002",
        )


def _isolation(alias: str) -> Found:
    options = connections[alias].settings_dict["OPTIONS"]
    if "isolation_level" not in options:
        return
    value = options["isolation_level"]
    level = _isolation_level(connections[alias].vendor, value)
    if level in STRICTER:
        shown = level if value else f"None, which leaves it to the server, {level} by default"
        yield Warning(
            f'DATABASES["{alias}"]["OPTIONS"]["isolation_level"] is {shown}: the database refuses '
            "some claims and settles of workers that run side by side, and they are tried again.",
            hint='Remove "isolation_level" from OPTIONS: Django\'s default is READ COMMITTED.',
            id="retrytasks.W016",
        )


def _isolation_level(vendor: str, value: Any) -> str:
    """Return the SQL name of Django's value for an isolation level; "" if unknown."""
    if vendor == "mysql":  # None leaves it to the server, which has this default
        return str(value or "repeatable read").upper()
    if vendor == "postgresql":
        from django.db.backends.postgresql.psycopg_any import IsolationLevel

        names = {level.value: level.name.replace("_", " ") for level in IsolationLevel}
        return names.get(value, "")
    return ""
