"""System checks of the database that keeps Tasks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from django.core.checks import Error, Warning, run_checks
from django.db import connections
from django.db.backends.postgresql.psycopg_any import IsolationLevel
from django.test import override_settings

from tests.checks.stage import found, q_cluster


class TasksRouter:
    """Keeps the Tasks in a database of their own."""

    def db_for_write(self, model: Any, **hints: Any) -> str | None:
        return "tasks" if model._meta.app_label in ("retrytasks", "django_q") else None


class BarringRouter:
    """Lets no table of django-q2 be made."""

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return False if app_label == "django_q" else None


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """Another database, SQLite and as advised, that ``Q_CLUSTER["orm"]`` names; its settings."""
    given = {
        **connections.settings["default"],
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": ":memory:",
        "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20},
        "CONN_MAX_AGE": 600,
    }
    monkeypatch.setitem(connections.settings, "tasks", given)
    with q_cluster(orm="tasks"), override_settings(DATABASE_ROUTERS=[TasksRouter()]):
        yield given
    with suppress(AttributeError):  # no check has asked for it
        del connections["tasks"]


class TestDatabase:
    def test_as_advised_it_is_clean(self, database: dict[str, Any]) -> None:
        assert run_checks(tags=["retrytasks"]) == []

    def test_its_alias_must_exist(self) -> None:
        with q_cluster(orm="defualt"):
            assert found("E004") == [
                Error(
                    'Q_CLUSTER["orm"] names "defualt", which is no alias in DATABASES.',
                    hint='Did you mean "default"?',
                    id="retrytasks.E004",
                )
            ]

    def test_an_alias_like_none_is_answered_with_all(self) -> None:
        with q_cluster(orm="tasks"):
            assert [one.hint for one in found("E004")] == ["Choose from: default, apart."]

    def test_it_is_where_the_tables_are_routed_to(self, database: dict[str, Any]) -> None:
        with override_settings(DATABASE_ROUTERS=[]):
            assert found("E006") == [
                Error(
                    'The tables of django_q and retrytasks are written to the database "default", '
                    'but Q_CLUSTER["orm"] names "tasks".',
                    hint='Set Q_CLUSTER["orm"] to "default", or route the apps django_q and '
                    'retrytasks to "tasks" in DATABASE_ROUTERS.',
                    id="retrytasks.E006",
                )
            ]

    @override_settings(DATABASE_ROUTERS=[BarringRouter()])
    def test_it_is_where_the_tables_are_made(self) -> None:
        assert found("E007") == [
            Error(
                'The tables of django_q are kept out of the database "default" by allow_migrate() '
                'of DATABASE_ROUTERS, but Q_CLUSTER["orm"] names it.',
                hint="Return True from allow_migrate() for the apps django_q and retrytasks on "
                '"default", then run manage.py migrate --database default.',
                id="retrytasks.E007",
            )
        ]

    def test_a_zone_of_its_own_would_shift_when_tasks_are_due(
        self, database: dict[str, Any]
    ) -> None:
        database["TIME_ZONE"] = "UTC"
        assert found("E017") == []

        del connections["tasks"]
        database["TIME_ZONE"] = "Europe/Berlin"

        assert found("E017") == [
            Error(
                'DATABASES["tasks"]["TIME_ZONE"] is "Europe/Berlin": Django would store the times '
                "of that zone, but Tasks are due by UTC. They would start hours early or late.",
                hint='Remove "TIME_ZONE" from DATABASES["tasks"].',
                id="retrytasks.E017",
            )
        ]

    def test_a_pool_does_not_survive_the_fork(self, database: dict[str, Any]) -> None:
        database["OPTIONS"]["pool"] = True
        database["CONN_MAX_AGE"] = 0

        assert found("E008") == [
            Error(
                'DATABASES["tasks"]["OPTIONS"]["pool"] is set: psycopg\'s connection pool does not '
                "survive the fork of django-q2's processes, and Tasks stop running.",
                hint='Remove "pool" from OPTIONS and set CONN_MAX_AGE to 600 instead.',
                id="retrytasks.E008",
            )
        ]
        assert found("W003") == []

    @pytest.mark.parametrize("options", [{}, {"transaction_mode": "deferred"}])
    def test_sqlite_must_begin_as_a_writer(
        self, database: dict[str, Any], options: dict[str, Any]
    ) -> None:
        database["OPTIONS"] = {"timeout": 20, **options}

        assert found("W001") == [
            Warning(
                'DATABASES["tasks"]["OPTIONS"]["transaction_mode"] is not "IMMEDIATE": a '
                'transaction that reads before it writes fails at once with "database is locked" '
                "while another one writes.",
                hint='Set DATABASES["tasks"]["OPTIONS"]["transaction_mode"] to "IMMEDIATE".',
                id="retrytasks.W001",
            )
        ]

    def test_sqlite_must_wait_its_turn(self, database: dict[str, Any]) -> None:
        del database["OPTIONS"]["timeout"]

        assert found("W002") == [
            Warning(
                'DATABASES["tasks"]["OPTIONS"]["timeout"] is 5 s: a write that waits longer for '
                'another process fails with "database is locked".',
                hint='Set DATABASES["tasks"]["OPTIONS"]["timeout"] to 20.',
                id="retrytasks.W002",
            )
        ]

    def test_connections_must_last(self, database: dict[str, Any]) -> None:
        database["CONN_MAX_AGE"] = 0

        assert found("W003") == [
            Warning(
                'DATABASES["tasks"]["CONN_MAX_AGE"] is 0: django-q2\'s processes reconnect '
                "all the time and are about four times slower.",
                hint='Set DATABASES["tasks"]["CONN_MAX_AGE"] to 600, at least where qcluster runs.',
                id="retrytasks.W003",
            )
        ]

    def test_connections_may_last_for_ever(self, database: dict[str, Any]) -> None:
        database["CONN_MAX_AGE"] = None

        assert found("W003") == []

    @pytest.mark.parametrize(
        ("engine", "given", "said"),
        [
            ("postgresql", IsolationLevel.REPEATABLE_READ, "REPEATABLE READ"),
            ("postgresql", IsolationLevel.SERIALIZABLE, "SERIALIZABLE"),
            ("mysql", "repeatable read", "REPEATABLE READ"),
            ("mysql", "Serializable", "SERIALIZABLE"),
            ("mysql", None, "None, which leaves it to the server, REPEATABLE READ by default"),
        ],
    )
    def test_transactions_must_see_what_others_commit(
        self, database: dict[str, Any], engine: str, given: object, said: str
    ) -> None:
        if engine == "mysql":
            pytest.importorskip("MySQLdb")
        database["ENGINE"] = f"django.db.backends.{engine}"
        database["OPTIONS"] = {"isolation_level": given}

        assert found("W016") == [
            Warning(
                f'DATABASES["tasks"]["OPTIONS"]["isolation_level"] is {said}: the database '
                "refuses some claims and settles of workers that run side by side, and they are "
                "tried again.",
                hint='Remove "isolation_level" from OPTIONS: Django\'s default is READ COMMITTED.',
                id="retrytasks.W016",
            )
        ]

    @pytest.mark.parametrize(
        ("engine", "options"),
        [
            ("postgresql", {}),
            ("postgresql", {"isolation_level": IsolationLevel.READ_COMMITTED}),
            ("mysql", {}),
            ("mysql", {"isolation_level": "read committed"}),
            ("sqlite3", {"isolation_level": "DEFERRED"}),
        ],
    )
    def test_so_they_do_by_default(
        self, database: dict[str, Any], engine: str, options: dict[str, Any]
    ) -> None:
        if engine == "mysql":
            pytest.importorskip("MySQLdb")
        database["ENGINE"] = f"django.db.backends.{engine}"
        database["OPTIONS"] = options

        assert found("W016") == []
