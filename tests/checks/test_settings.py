"""System checks of RETRYTASKS, of its alert rules and of its mail."""

from __future__ import annotations

from datetime import timedelta
from reprlib import repr as short_repr
from typing import Any

import pytest
from django.core.checks import Error, Warning, run_checks
from django.test import override_settings

from django_retrytasks.conf import MAIL_ADMINS
from tests.checks.stage import HERE, OPTIONS, alert, found, receive
from tests.support import unique

KEYS = (
    "POLICY, LEASE, SLICE, AROUND, ON_FAILURE, ALERTS, ALERT_COOLDOWN, ALERT_LIMIT, "
    "MAIL_EACH_FAILURE, ALERT_RULES, SITE_URL, SENTRY, OTEL, RETENTION, REDACT."
)


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
            ("AROUND", "shop.around.tenant", " must be a list of strings such as "
             "['shop.around.tenant'], not 'shop.around.tenant'"),
            ("AROUND", ["nowhere.at_all"], ": \"nowhere.at_all\": No module named 'nowhere'"),
            ("AROUND", [f"{HERE}.receive"], f': "{HERE}.receive": missing a required argument: '
             "'attempt'"),
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
            ("OTEL", 1, " must be True or False, not 1"),
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
            "AROUND": "Give a list of dotted paths of callables that take (context) and return a "
            "context manager; [] means none.",
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
            "OTEL": "Give True or False; the default is True.",
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
            "AROUND": [f"{HERE}.alert"],
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
            "OTEL": False,
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
            told = {(one.msg, one.id) for one in found("E014")}
        assert (
            "tests.support.tasks.ships: search_key names 'order', which is hidden: "
            "its values would be stored and shown.",
            "retrytasks.E014",
        ) in told
        assert found("E014") == []

    @pytest.mark.parametrize(
        ("name", "task"), [("told", unique.imports_feed), ("order", unique.reminds)]
    )
    def test_nor_unique_by_it(self, name: str, task: Any) -> None:
        with override_settings(RETRYTASKS={"REDACT": [f"^{name}$"]}):
            told = [one.msg for one in found("E014")]

        said = "which is hidden: its values could be guessed from the stored key."
        assert f"{task.module_path}: unique uses {name!r}, {said}" in told

    def test_a_callable_that_makes_the_key_is_trusted(self) -> None:
        with override_settings(RETRYTASKS={"REDACT": ["^customer$"]}):
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
