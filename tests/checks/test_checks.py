"""System checks: each id's whole message and hint, and their pages."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields
from datetime import timedelta
from pathlib import Path
from reprlib import repr as short_repr
from typing import Any

import pytest
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, run_checks
from django.db import connections
from django.db.backends.postgresql.psycopg_any import IsolationLevel
from django.test import override_settings
from django_q.brokers.orm import ORM
from django_q.models import Schedule

from django_retrytasks import RetryTask, retry_task
from django_retrytasks.broker.sweep_schedule import SWEEP_NAME
from django_retrytasks.conf import MAIL_ADMINS, Settings
from django_retrytasks.values.contract import task_backends

ROOT = Path(__file__).parents[2]
BACKEND = "django_retrytasks.backend.RetryTasksBackend"
SLOW = 'Q_CLUSTER["ALT_CLUSTERS"]["slow"]'


class OwnBroker(ORM):  # type: ignore[misc]
    """An ORM broker of the site's own."""


class TasksRouter:
    """Keeps the Tasks in a database of their own."""

    def db_for_write(self, model: Any, **hints: Any) -> str | None:
        return "tasks" if model._meta.app_label in ("retrytasks", "django_q") else None


class BarringRouter:
    """Lets no table of django-q2 be made."""

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return False if app_label == "django_q" else None


@retry_task
def send() -> None:
    """Return nothing: tests put it in its place with other options."""


def alert(alert: Any) -> None:
    """Tell nobody."""


def page(alert: Any, number: str, after: float = 0) -> None:
    """Tell nobody, in one way or another."""


def receive(task: Any, attempt: Any, **kwargs: Any) -> None:
    """Hear of a final failure."""


def receive_task(task: Any) -> None:
    """Hear of too little."""


OPTIONS = (
    "max_retries, max_attempts, countdown, backoff, max_countdown, jitter, retry_on, no_retry_on, "
    "retry_for, max_crashes, timeout"
)
HERE = "tests.checks.test_checks"
NO_ALERT = "not callable"
KEYS = (
    "POLICY, LEASE, SLICE, ON_FAILURE, ALERTS, ALERT_COOLDOWN, ALERT_LIMIT, "
    "MAIL_EACH_FAILURE, ALERT_RULES, SITE_URL, SENTRY, RETENTION, REDACT."
)


def found(number: str) -> list[CheckMessage]:
    return [one for one in run_checks(tags=["retrytasks"]) if one.id == f"retrytasks.{number}"]


@contextmanager
def q_cluster(**changes: Any) -> Iterator[None]:
    """Run the body with other values in Q_CLUSTER; a value of None takes the key out."""
    config = {**settings.Q_CLUSTER, **changes}
    given = {key: value for key, value in config.items() if value is not None}
    with override_settings(Q_CLUSTER=given):
        yield


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


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Configure the alias "other" in TASKS, a backend of ours."""

    def configured(**given: Any) -> None:
        monkeypatch.setitem(task_backends.settings, "other", {"BACKEND": BACKEND, **given})

    yield configured
    with suppress(AttributeError):
        del task_backends["other"]


@contextmanager
def defined(**options: Any) -> Iterator[RetryTask[..., Any]]:
    """Run the body with the task ``send`` decorated with these options."""
    with pytest.MonkeyPatch.context() as patch:
        task: RetryTask[..., Any] = RetryTask(func=send.func, **options)
        patch.setattr(sys.modules[__name__], "send", task)
        yield task


class TestApps:
    def test_without_django_q_there_is_no_cluster(self, tmp_path: Path) -> None:
        site = bare_site(tmp_path, apps=["django_retrytasks"], orm=None)

        output = site("check", "--tag", "retrytasks")

        assert (
            '?: (retrytasks.E001) "django_q" is not in INSTALLED_APPS: no cluster runs Tasks.\n'
            '\tHINT: Add "django_q" to INSTALLED_APPS and run manage.py migrate.\n' in output
        )
        assert output.count("retrytasks.") == 1

    @pytest.mark.parametrize(
        "apps", [["django_q", "django_retrytasks"], ["django_retrytasks", "django_q"]]
    )
    def test_the_order_of_the_apps_does_not_matter(self, tmp_path: Path, apps: list[str]) -> None:
        site = bare_site(tmp_path, apps=["django.contrib.contenttypes", *apps])

        site("migrate", "contenttypes")
        site("migrate")
        output = site("check", "--database", "default", "--fail-level", "WARNING")

        assert output == "System check identified no issues (0 silenced).\n"


class TestBroker:
    def test_without_orm_no_cluster_looks_for_tasks(self) -> None:
        with q_cluster(orm=None):
            assert found("E002") == [
                Error(
                    'Q_CLUSTER["orm"] is not set: no cluster looks for Tasks.',
                    hint='Set Q_CLUSTER["orm"] to the alias of the database that keeps your Tasks, '
                    'such as "default".',
                    id="retrytasks.E002",
                )
            ]

    @override_settings(Q_CLUSTER=None)
    def test_without_any_q_cluster_neither(self) -> None:
        assert len(found("E002")) == 1

    def test_none_is_needed_where_tasks_run_inline(self) -> None:
        with q_cluster(orm=None, sync=True, guard_cycle=3, scheduler=False, save_limit=250):
            assert run_checks(tags=["retrytasks"]) == []

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("broker_class", "django_q.brokers.Broker"),
            ("broker_class", "brokers.Missing"),
            ("iron_mq", {"project_id": "1"}),
            ("sqs", {}),
        ],
    )
    def test_another_broker_takes_no_wake_ups(self, key: str, value: object) -> None:
        with q_cluster(**{key: value}):
            assert found("E003") == [
                Error(
                    f'Q_CLUSTER["{key}"] replaces the ORM broker of django-q2, but only that '
                    "broker reads wake-ups.",
                    hint=f'Remove "{key}" from Q_CLUSTER and set "orm" instead.',
                    id="retrytasks.E003",
                )
            ]

    def test_another_broker_of_one_cluster_is_named_with_it(self) -> None:
        with q_cluster(ALT_CLUSTERS={"slow": {"sqs": {}}}):
            assert [one.hint for one in found("E003")] == [
                f'Remove "sqs" from {SLOW} and set "orm" instead.'
            ]

    def test_a_subclass_of_the_orm_broker_will_do(self) -> None:
        with q_cluster(
            broker_class="tests.checks.test_checks.OwnBroker", redis={"host": "localhost"}
        ):
            assert run_checks(tags=["retrytasks"]) == []

    def test_a_cluster_must_not_look_in_another_database(self) -> None:
        with q_cluster(ALT_CLUSTERS={"slow": {"orm": "replica"}, "quick": {"orm": "default"}}):
            assert found("E005") == [
                Error(
                    f'{SLOW}["orm"] is "replica", but Q_CLUSTER["orm"] is "default": this cluster '
                    "looks for Tasks in the wrong database.",
                    hint=f'Remove "orm" from {SLOW}.',
                    id="retrytasks.E005",
                )
            ]


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


class TestCluster:
    def test_the_guard_must_come_to_exactly_zero(self) -> None:
        with q_cluster(guard_cycle=0.3, ALT_CLUSTERS={"slow": {}}):
            assert found("W004") == [
                Warning(
                    'Q_CLUSTER["guard_cycle"] is 0.3: with this value django-q2\'s guard never '
                    "ends a hanging worker.",
                    hint='Set Q_CLUSTER["guard_cycle"] to 0.25, 0.5 (the default) or 1.',
                    id="retrytasks.W004",
                )
            ]

    @pytest.mark.parametrize("value", [None, 0.25, 0.5, 1, 1.0])
    def test_a_guard_that_does_is_fine(self, value: float | None) -> None:
        with q_cluster(guard_cycle=value):
            assert found("W004") == []

    def test_a_cluster_that_changes_a_setting_is_checked_by_its_own(self) -> None:
        with q_cluster(ALT_CLUSTERS={"slow": {"guard_cycle": 2}, "odd": None}):
            assert [one.hint for one in found("W004")] == [
                f'Set {SLOW}["guard_cycle"] to 0.25, 0.5 (the default) or 1.'
            ]

    def test_without_a_timeout_a_worker_may_be_held_for_ever(self) -> None:
        with q_cluster(timeout=None):
            assert found("W005") == [
                Warning(
                    'Q_CLUSTER["timeout"] is not set: a hanging task of django-q2\'s own '
                    "blocks its worker for ever.",
                    hint='Set Q_CLUSTER["timeout"] to the seconds such a task may take, and '
                    '"retry" to more. Tasks of @retry_task have timeouts of their own.',
                    id="retrytasks.W005",
                )
            ]

    @pytest.mark.parametrize("retry", [None, 60, 30])
    def test_a_timeout_must_be_below_retry(self, retry: int | None) -> None:
        shown = retry or 60

        with q_cluster(timeout=90, retry=retry):
            assert found("W005") == [
                Warning(
                    f'Q_CLUSTER["timeout"] is 90 and "retry" {shown}: after {shown} s '
                    "django-q2 delivers a running task of its own again, and it runs twice.",
                    hint='Set Q_CLUSTER["retry"] above "timeout" plus the time that a delivery '
                    "waits in the cluster: 180 or more.",
                    id="retrytasks.W005",
                )
            ]

    def test_a_timeout_equal_to_retry_is_not_below_it(self) -> None:
        with q_cluster(timeout=60, retry=60):
            assert len(found("W005")) == 1

    @pytest.mark.parametrize(("given", "shown"), [(None, 250), (1, 1)])
    def test_saved_results_cost_speed(self, given: int | None, shown: int) -> None:
        with q_cluster(save_limit=given):
            assert found("W006") == [
                Warning(
                    f'Q_CLUSTER["save_limit"] is {shown}: for every result that it saves, '
                    "django-q2 locks and reads all saved results. It is about three times slower.",
                    hint='Set Q_CLUSTER["save_limit"] to 0 (save all) or, if your code never calls '
                    "result(id), to -1 (save none). Attempts are kept either way.",
                    id="retrytasks.W006",
                )
            ]

    @pytest.mark.parametrize("limit", [0, -1])
    def test_saving_all_or_none_does_not(self, limit: int) -> None:
        with q_cluster(save_limit=limit):
            assert found("W006") == []

    def test_without_the_scheduler_the_sweep_is_late(self) -> None:
        with q_cluster(scheduler=False):
            assert found("W007") == [
                Warning(
                    'Q_CLUSTER["scheduler"] is off: no schedule runs. The sweep runs only when '
                    "a worker finds it overdue.",
                    hint='Remove "scheduler" from Q_CLUSTER, or set it to True.',
                    id="retrytasks.W007",
                )
            ]

    def test_a_cluster_name_of_its_own_leaves_the_sweep_to_the_workers(self) -> None:
        with q_cluster(name="shop", cluster_name="main"):
            assert found("W008") == [
                Warning(
                    'Q_CLUSTER["cluster_name"] is "main" and "name" "shop": no cluster runs '
                    "schedules without a cluster of their own. So the sweep runs only when it is "
                    "overdue.",
                    hint='Remove "cluster_name" from Q_CLUSTER: "name" is the cluster\'s name too.',
                    id="retrytasks.W008",
                )
            ]

    def test_a_process_must_serve_a_cluster_that_is_woken(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("Q_CLUSTER_NAME", "slwo")

        assert found("W009") == [
            Warning(
                'The environment variable Q_CLUSTER_NAME is "slwo", which is not in '
                'Q_CLUSTER["ALT_CLUSTERS"]: no wake-up is written for this cluster.',
                hint='Did you mean "slow"?',
                id="retrytasks.W009",
            )
        ]

    @pytest.mark.parametrize("name", ["slow", "retrytasks-tests", ""])
    def test_those_that_are_woken_are_fine(
        self, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        monkeypatch.setenv("Q_CLUSTER_NAME", name)

        assert found("W009") == []


class TestSettings:
    def test_a_key_must_be_known(self) -> None:
        with override_settings(RETRYTASKS={"RETENSION": {}}):
            assert found("E009") == [
                Error(
                    'RETRYTASKS has the unknown key "RETENSION".',
                    hint='Did you mean "RETENTION"?',
                    id="retrytasks.E009",
                )
            ]

    def test_a_key_like_none_is_answered_with_all(self) -> None:
        with override_settings(RETRYTASKS={"X": 1}):
            assert [one.hint for one in found("E009")] == [f"Choose from: {KEYS}"]

    def test_it_must_be_a_dict(self) -> None:
        with override_settings(RETRYTASKS=["LEASE"]):
            assert found("E010") == [
                Error(
                    "RETRYTASKS must be a dict, not ['LEASE'].",
                    hint=f"Its keys are: {KEYS}",
                    id="retrytasks.E010",
                )
            ]

    @pytest.mark.parametrize(
        ("key", "value", "problem"),
        [
            ("POLICY", ["max_retries"], " must be a dict, not ['max_retries']"),
            ("POLICY", {"countdown": -1}, ": countdown must be at least 0 and at most 31622400 "
             "seconds, not -1"),
            ("POLICY", {"max_retrys": 3}, ": unknown option 'max_retrys'. Did you mean "
             f'"max_retries"? Options: {OPTIONS}'),
            ("LEASE", 4.9, " must be at least 5 and at most 31622400 seconds, not 4.9"),
            ("LEASE", timedelta(seconds=1), " must be at least 5 and at most 31622400 seconds, not "
             "datetime.timedelta(seconds=1)"),
            ("LEASE", "60", " must be seconds (int, float) or a timedelta, not '60'"),
            ("SLICE", 0, " must be above 0 and at most 31622400 seconds, not 0"),
            pytest.param(
                "ON_FAILURE",
                receive,
                f" must be a list of strings, not {short_repr(receive)}",
                id="callable",
            ),
            ("ON_FAILURE", ["nowhere.at_all"], ": \"nowhere.at_all\": No module named 'nowhere'"),
            ("ON_FAILURE", [f"{HERE}.NO_ALERT"], f': "{HERE}.NO_ALERT": it is not callable'),
            ("ON_FAILURE", [f"{HERE}.receive_task"], f': "{HERE}.receive_task": got an unexpected '
             "keyword argument 'signal'"),
            ("ALERTS", f"{HERE}.alert", " must be a list, not a str"),
            ("ALERTS", [alert], "[0]: it must be a dotted path or a dict"),
            ("ALERTS", ["shop"], "[0]: shop doesn't look like a module path"),
            ("ALERTS", [f"{HERE}.alert", f"{HERE}.NO_ALERT"], "[1]: 'not callable' is not a "
             "callable object"),
            ("ALERTS", [{"url": "s3cret"}], '[0]: "sink" must be a dotted path'),
            ("ALERTS", [{"sink": f"{HERE}.alert", "name": 1}], '[0]: "name" must be a string'),
            ("ALERTS", [f"{HERE}.page"], "[0]: missing a required argument: 'number'"),
            ("ALERTS", [{"sink": f"{HERE}.page", "number": "1", "afer": 5}], "[0]: got an "
             "unexpected keyword argument 'afer'"),
            ("ALERTS", [f"{HERE}.alert"] * 2, f'[1]: "{HERE}.alert" is there already: give one of '
             'them another "name"'),
            ("ALERTS", ["django_retrytasks.alerts.log"], '[0]: "django_retrytasks.alerts.log" is '
             'there already: give one of them another "name"'),
            ("ALERT_COOLDOWN", 0, " must be above 0 and at most 31622400 seconds, not 0"),
            ("ALERT_LIMIT", 0, " must be from 1 to 2147483647, not 0"),
            ("ALERT_LIMIT", 10.0, " must be an int, not 10.0"),
            ("MAIL_EACH_FAILURE", "no", " must be True or False, not 'no'"),
            ("ALERT_RULES", {"rule": "silence"}, " must be a list, not a dict"),
            ("ALERT_RULES", [{"rule": "oldest_due", "over": 1}, {"rule": "silense"}],
             "[1]: \"rule\" names no rule: 'silense'. Did you mean \"silence\"?"),
            ("ALERT_RULES", [{"rule": "oldest_due", "ower": 1}], '[0]: oldest_due has no "ower". '
             'Did you mean "over"?'),
            ("ALERT_RULES", [{"rule": "silence", "name": f"{HERE}.alert", "within": 60}],
             f"[0]: {HERE}.alert is no task but a function: decorate it with @retry_task"),
            ("SITE_URL", None, " must be an http or https URL without a query or fragment, not "
             "None"),
            ("SITE_URL", "shop.example", " must be an http or https URL without a query or "
             "fragment, not 'shop.example'"),
            ("SITE_URL", "https://shop.example/?a=1", " must be an http or https URL without a "
             "query or fragment, not 'https://shop.example/?a=1'"),
            ("SITE_URL", "https:///admin", " must be an http or https URL without a query or "
             "fragment, not 'https:///admin'"),
            ("SITE_URL", "https://shop.example:x", " must be an http or https URL without a query "
             "or fragment, not 'https://shop.example:x'"),
            ("SENTRY", "no", " must be True or False, not 'no'"),
            ("RETENTION", [], " must be a dict, not []"),
            ("RETENTION", {"RUNNING": 60}, ': "RUNNING" is no final status'),
            ("RETENTION", {"FAILED": -1}, '["FAILED"] must be at least 0 and at most 3162240000 '
             "seconds, not -1"),
            ("REDACT", "password", " must be a list of strings such as ['password'], not "
             "'password'"),
            ("REDACT", ["("], ': "(" is no regular expression: missing ), unterminated subpattern '
             "at position 0"),
        ],
    )  # fmt: skip
    def test_a_value_must_be_one_that_works(self, key: str, value: object, problem: str) -> None:
        hints = {
            "POLICY": "Give options of RetryPolicy only, each within its range.",
            "LEASE": "Give seconds or a timedelta, at least 5 s; the default is 60.",
            "SLICE": "Give seconds or a timedelta, above 0; the default is 1.",
            "ON_FAILURE": "Give a list of dotted paths of callables that take (task, attempt, "
            "**kwargs).",
            "ALERTS": "Give a list of dotted paths of callables that take (alert), or of dicts "
            'with such a path as "sink" and its options. The log always reports; [] means the log '
            "only.",
            "ALERT_COOLDOWN": "Give seconds or a timedelta, above 0; the default is 3600.",
            "ALERT_LIMIT": "Give a whole number, 1 or more, or None for no limit; the default is "
            "10.",
            "MAIL_EACH_FAILURE": "Give True or False; the default is False.",
            "ALERT_RULES": 'Give a list of dicts, each with "rule" and its options.',
            "SITE_URL": 'Give a URL such as "https://shop.example", or "" if there is none.',
            "SENTRY": "Give True or False; the default is True.",
            "RETENTION": "Give a dict of SUCCEEDED, FAILED, DISCARDED to seconds or a timedelta; "
            "None: for ever.",
            "REDACT": "Give a list of regular expressions of argument names.",
        }

        with override_settings(RETRYTASKS={key: value}):
            assert found("E010") == [
                Error(f'RETRYTASKS["{key}"]{problem}', hint=hints[key], id="retrytasks.E010")
            ]

    def test_values_as_documented_are_fine(self) -> None:
        given = {
            "POLICY": {"max_attempts": 6, "countdown": timedelta(seconds=5), "timeout": 30},
            "LEASE": 5,
            "SLICE": timedelta(milliseconds=500),
            "ON_FAILURE": [f"{HERE}.receive"],
            "ALERTS": (
                f"{HERE}.alert",
                {"sink": f"{HERE}.alert", "name": "again"},
                {"sink": f"{HERE}.page", "number": "1", "after": 5},
                {"sink": "django_retrytasks.alerts.webhook", "url": "http://ops.example/x"},
            ),
            "ALERT_COOLDOWN": timedelta(minutes=30),
            "ALERT_LIMIT": None,
            "MAIL_EACH_FAILURE": True,
            "ALERT_RULES": [
                {"rule": "oldest_due", "over": 300},
                {"rule": "failure_rate", "over": 0.2, "within": timedelta(days=7)},
            ],
            "SITE_URL": "http://shop.example:8000/app/",
            "SENTRY": False,
            "RETENTION": {"SUCCEEDED": 604800, "FAILED": None, "DISCARDED": timedelta(days=3000)},
            "REDACT": ["password", "^card_"],
        }

        with override_settings(RETRYTASKS=given):
            assert run_checks(tags=["retrytasks"]) == []

    def test_a_sink_checks_its_options_and_nothing_shows_a_secret(self) -> None:
        webhook = {"sink": "django_retrytasks.alerts.webhook", "url": "ops.example/s3cret"}

        with override_settings(RETRYTASKS={"ALERTS": [webhook]}):
            [error] = found("E010")

        assert error.msg.startswith('RETRYTASKS["ALERTS"][0]: url must be ')
        assert "s3cret" not in str(error)

    @pytest.mark.parametrize("site_url", ["", "https://shop.example", "http://[::1]:8000"])
    def test_the_site_may_be_anywhere(self, site_url: str) -> None:
        with override_settings(RETRYTASKS={"SITE_URL": site_url}):
            assert found("E010") == []


class TestSearchKeys:
    def test_tasks_are_not_to_be_found_by_what_is_hidden(self) -> None:
        with override_settings(RETRYTASKS={"REDACT": ["^ord"]}):
            assert [(one.msg, one.id) for one in found("E014")] == [
                (
                    "tests.support.tasks.ships: search_key names 'order', which is hidden: "
                    "its values would be stored and shown.",
                    "retrytasks.E014",
                )
            ]
        assert found("E014") == []


class TestAlertRules:
    def test_they_must_not_look_further_back_than_rows_are_kept(self) -> None:
        day = timedelta(days=1)
        rules = [
            {"rule": "oldest_due", "over": 300},
            {"rule": "silence", "name": f"{HERE}.send", "within": timedelta(hours=26)},
            {"rule": "group_growth", "over": 9},
        ]

        with override_settings(
            RETRYTASKS={"ALERT_RULES": rules, "RETENTION": {"SUCCEEDED": day, "FAILED": 60}}
        ):
            assert found("E013") == [
                Error(
                    'RETRYTASKS["ALERT_RULES"][1] looks back 93600 s, but SUCCEEDED Tasks are kept '
                    "for 86400 s.",
                    hint='Lower its "within", or raise RETRYTASKS["RETENTION"]["SUCCEEDED"] to at '
                    "least as much.",
                    id="retrytasks.E013",
                )
            ]

    def test_a_rate_needs_both_that_failed_and_that_succeeded(self) -> None:
        rules = [{"rule": "failure_rate", "over": 0.1, "within": 601}]

        with override_settings(
            RETRYTASKS={"ALERT_RULES": rules, "RETENTION": {"SUCCEEDED": 600, "FAILED": 0}}
        ):
            assert [one.msg.partition(", but ")[2] for one in found("E013")] == [
                "FAILED Tasks are kept for 0 s.",
                "SUCCEEDED Tasks are kept for 600 s.",
            ]

    def test_rows_that_are_kept_for_ever_are_there(self) -> None:
        rules = [{"rule": "failure_rate", "over": 0.1, "within": timedelta(days=300)}]

        with override_settings(
            RETRYTASKS={"ALERT_RULES": rules, "RETENTION": {"SUCCEEDED": None, "FAILED": None}}
        ):
            assert found("E013") == []


class TestOnFailure:
    @pytest.mark.parametrize(
        ("on_failure", "problem"),
        [
            ("nowhere.at_all", "No module named 'nowhere'"),
            (f"{HERE}.recieve", f'Module "{HERE}" does not define a "recieve" attribute/class'),
            (f"{HERE}.NO_ALERT", f"'{HERE}.NO_ALERT' is not callable"),
            (f"{HERE}.receive_task", "too many positional arguments"),
            (receive_task, "too many positional arguments"),
        ],
    )
    def test_it_must_be_there_and_take_the_task_and_its_attempt(
        self, on_failure: Any, problem: str
    ) -> None:
        with defined(on_failure=on_failure):
            assert found("E012") == [
                Error(
                    f"{HERE}.send: on_failure: {problem}",
                    hint="Give a callable that takes (task, attempt), or its dotted path.",
                    id="retrytasks.E012",
                )
            ]

    @pytest.mark.parametrize("on_failure", [None, receive, f"{HERE}.receive"])
    def test_one_that_is_and_does_is_fine(self, on_failure: Any) -> None:
        with defined(on_failure=on_failure):
            assert found("E012") == []


class TestBackends:
    @pytest.mark.parametrize(
        ("given", "problem"),
        [
            (
                {"OPTIONS": {"countdwon": 1}},
                f"unknown option 'countdwon'. Did you mean \"countdown\"? Options: {OPTIONS}",
            ),
            (
                {"OPTIONS": {"countdown": 601}},
                "countdown (601) is above max_countdown (600): raise max_countdown",
            ),
            ({"MAX_ATTEMPTS": 0}, "max_attempts must be from 1 to 2147483647, not 0"),
        ],
    )
    def test_options_must_make_a_policy(
        self, configure: Callable[..., None], given: dict[str, Any], problem: str
    ) -> None:
        configure(**given)

        assert run_checks(tags=["retrytasks"]) == [
            Error(
                f"TASKS['other']: {problem}",
                hint="Give options of RetryPolicy only, each within its range.",
                id="retrytasks.E011",
            )
        ]

    @pytest.mark.django_db(databases=["default", "apart"])
    def test_they_are_checked_once_with_all_checks(self, configure: Callable[..., None]) -> None:
        configure(OPTIONS={"max_retries": -1})

        assert [one.id for one in run_checks() if "max_retries" in one.msg] == ["retrytasks.E011"]

    def test_they_are_left_alone_while_their_defaults_are_wrong(
        self, configure: Callable[..., None]
    ) -> None:
        configure(OPTIONS={"max_retries": -1})

        with override_settings(RETRYTASKS={"POLICY": {"max_retries": -1}}):
            assert [one.id for one in run_checks(tags=["retrytasks"])] == ["retrytasks.E010"]


class TestQueues:
    @pytest.mark.parametrize("queue_name", ["Slow", "slows"])
    def test_a_slip_of_a_clusters_name_is_pointed_out(self, queue_name: str) -> None:
        with defined(queue_name=queue_name):
            assert found("W010") == [
                Warning(
                    f'The queue "{queue_name}" of tests.checks.test_checks.send is served by the '
                    'default cluster, while Q_CLUSTER["ALT_CLUSTERS"] has "slow".',
                    hint=f'Did you mean "slow"? If not, add "{queue_name}" to '
                    'Q_CLUSTER["ALT_CLUSTERS"] or choose a more different name.',
                    id="retrytasks.W010",
                )
            ]

    def test_so_is_one_in_the_queues_of_a_backend(self, configure: Callable[..., None]) -> None:
        configure(QUEUES=["default", "SLOW"])

        assert [one.msg for one in found("W010")] == [
            "The queue \"SLOW\" of TASKS['other'] is served by the default cluster, while "
            'Q_CLUSTER["ALT_CLUSTERS"] has "slow".'
        ]

    @pytest.mark.parametrize("queue_name", ["slow", "emails", "default"])
    def test_other_names_are_served_as_written(self, queue_name: str) -> None:
        with q_cluster(ALT_CLUSTERS={"slow": {}, "defaults": {}}), defined(queue_name=queue_name):
            assert found("W010") == []


class TestEndlessRetries:
    def endless(self, owner: str) -> Warning:
        return Warning(
            f"{owner} retries for ever: max_retries is None and retry_for sets no limit, so its "
            "failures are never announced.",
            hint="Set max_retries to a number, or retry_for to the seconds after the first start "
            "within which a retry may begin.",
            id="retrytasks.W011",
        )

    def test_a_task_that_is_retried_for_ever_is_named(self) -> None:
        with defined(max_retries=None):
            assert self.endless("tests.checks.test_checks.send") in found("W011")

    def test_one_that_retry_for_bounds_is_not(self) -> None:
        with defined(max_retries=None, retry_for=3600):
            assert self.endless("tests.checks.test_checks.send") not in found("W011")

    def test_what_one_call_asks_for_is_its_own_matter(self) -> None:
        send.using(max_retries=None)

        assert self.endless("tests.checks.test_checks.send") not in found("W011")

    @override_settings(RETRYTASKS={"POLICY": {"max_attempts": None}})
    def test_a_default_is_named_where_it_stands_not_with_every_task(self) -> None:
        with defined(countdown=1):
            endless = found("W011")

        assert self.endless('RETRYTASKS["POLICY"]') in endless
        assert self.endless("tests.checks.test_checks.send") not in endless

    def test_so_is_that_of_a_backend(self, configure: Callable[..., None]) -> None:
        configure(OPTIONS={"max_retries": None})

        assert self.endless("TASKS['other']") in found("W011")


@pytest.mark.django_db
class TestSweep:
    missing = Warning(
        'The schedule "django-retrytasks sweep" is missing or switched off: lost wake-ups are not '
        "replaced, and old Tasks are not pruned.",
        hint="Run manage.py migrate to create it. If it exists, set its repeats to -1 in the "
        "admin.",
        id="retrytasks.W012",
    )

    def found(self, databases: list[str]) -> list[CheckMessage]:
        messages = run_checks(tags=[Tags.database], databases=databases)
        return [one for one in messages if one.id == "retrytasks.W012"]

    def test_its_schedule_is_there_after_migrate(self) -> None:
        assert self.found(["default"]) == []

    def test_its_schedule_must_be_there(self) -> None:
        Schedule.objects.filter(name=SWEEP_NAME).delete()

        assert self.found(["default"]) == [self.missing]

    def test_its_schedule_must_be_switched_on(self) -> None:
        Schedule.objects.filter(name=SWEEP_NAME).update(repeats=0)

        assert self.found(["default"]) == [self.missing]

    def test_no_database_is_asked_but_on_demand(self) -> None:
        Schedule.objects.filter(name=SWEEP_NAME).delete()

        assert self.found([]) == []


class TestSites:
    @pytest.mark.django_db(transaction=True)
    def test_the_tests_own_site_is_clean(self) -> None:
        # By tag: MariaDB has a warning of Django's own, about indexes with conditions.
        tags = ["--tag", "retrytasks", "--tag", "database"]

        output = manage("check", *tags, "--database", "default", "--fail-level", "WARNING")

        assert output == "System check identified no issues (0 silenced).\n"

    def test_the_example_is_clean(self, tmp_path: Path) -> None:
        output = manage(
            "check",
            "--fail-level",
            "WARNING",
            cwd=ROOT / "example_project",
            site="shop.settings",
            database_url=f"sqlite:///{tmp_path}/shop.sqlite3",
        )

        assert output == "System check identified no issues (0 silenced).\n"


class TestPages:
    def test_every_check_has_its_section(self) -> None:
        source = "".join(file.read_text() for file in (ROOT / "django_retrytasks").rglob("*.py"))
        page = (ROOT / "docs/reference/checks.md").read_text()

        ids = sorted(set(re.findall(r'id="(retrytasks\.[EW]\d{3})"', source)))

        assert re.findall(r"^## (retrytasks\.[EW]\d{3})", page, re.MULTILINE) == ids
        assert len(ids) == 30

    def test_every_setting_has_its_section(self) -> None:
        page = (ROOT / "docs/reference/settings.md").read_text()

        sections = re.findall(r"^## `([A-Z_]+)`", page, re.MULTILINE)

        assert sections == [field.name for field in fields(Settings)]


def manage(
    *arguments: str,
    cwd: Path = ROOT,
    site: str = "tests.settings",
    database_url: str | None = None,
) -> str:
    """Run a management command in a process of its own; return all it prints."""
    environment = {"DJANGO_SETTINGS_MODULE": site, "PYTHONPATH": f"{cwd}{os.pathsep}{ROOT}"}
    if database_url:
        environment["DATABASE_URL"] = database_url
    done = subprocess.run(
        [sys.executable, "-m", "django", *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return done.stdout


def bare_site(directory: Path, *, apps: list[str], orm: str | None = "default") -> Any:
    """Return how to run a management command on a site with these apps and a new database."""
    values = {
        "SECRET_KEY": "for tests only",
        "USE_TZ": True,
        "DEFAULT_AUTO_FIELD": "django.db.models.BigAutoField",
        "INSTALLED_APPS": apps,
        "DATABASES": {
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": str(directory / "db.sqlite3"),
                "CONN_MAX_AGE": 600,
                "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20},
            }
        },
        "Q_CLUSTER": {"orm": orm, "timeout": 60, "retry": 120, "save_limit": -1},
        "RETRYTASKS": {"ALERTS": []},
    }
    lines = [f"{name} = {value!r}" for name, value in values.items()]
    (directory / "bare.py").write_text("\n".join(lines))

    def run(*arguments: str) -> str:
        return manage(*arguments, cwd=directory, site="bare")

    return run


class TestMail:
    @override_settings(ADMINS=[])
    def test_W014_alerts_would_be_mailed_to_nobody(self) -> None:
        assert found("W014") == [
            Warning(
                "ADMINS is empty, and no other sink is set: only the log reports final failures.",
                hint='Set ADMINS, or name another sink in RETRYTASKS["ALERTS"]; [] means the log '
                "only.",
                id="retrytasks.W014",
            )
        ]

    @override_settings(ADMINS=[])
    @pytest.mark.parametrize(
        "given",
        [
            {"DEBUG": True},
            {"RETRYTASKS": {"ALERTS": []}},
            {"RETRYTASKS": {"ALERTS": [MAIL_ADMINS, f"{HERE}.alert"]}},
        ],
    )
    def test_in_development_and_where_others_are_told_nobody_is_missed(
        self, given: dict[str, Any]
    ) -> None:
        with override_settings(**given):
            assert found("W014") == []
