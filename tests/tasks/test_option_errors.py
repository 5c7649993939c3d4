"""What is said of a wrong option: by whom it was given, what was meant, and where it is said."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from django_retrytasks import RetryPolicy, retry_task
from django_retrytasks.policy.celery_words import INSTEAD
from django_retrytasks.values.contract import InvalidTask
from tests.checks.sites import bare_site
from tests.support import tasks

POLICY_OPTIONS = (
    "max_retries, max_attempts, countdown, backoff, max_countdown, jitter, retry_on, no_retry_on, "
    "retry_for, max_crashes, timeout"
)
OPTIONS = (
    f"{POLICY_OPTIONS}, bind, takes_context, priority, queue_name, backend, sensitive, search_key, "
    "unique, unique_for, on_failure, concurrency, expires, interruptible, breaker"
)
LAST = datetime.max.replace(tzinfo=UTC)
decorate: Any = retry_task


def sends(address: str) -> None: ...


class TestCelerysWords:
    @pytest.mark.parametrize(
        ("word", "ours"),
        [
            ("autoretry_for", "use 'retry_on'"),
            ("dont_autoretry_for", "use 'no_retry_on'"),
            ("retry_backoff", "use 'backoff', the factor, and 'countdown', the first wait"),
            ("retry_backoff_max", "use 'max_countdown'"),
            ("retry_jitter", "use 'jitter'"),
            ("retry_kwargs", "give its keys as options, such as 'max_retries' and 'countdown'"),
            ("soft_time_limit", "use 'timeout'"),
            ("time_limit", "use 'timeout'"),
            ("queue", "use 'queue_name'"),
            (
                "default_retry_delay",
                "use 'countdown', with backoff=1 and jitter=False for equal waits",
            ),
            ("name", "leave it out, a Task is known by the dotted path of its function"),
            ("acks_late", "leave it out, it is always so"),
        ],
    )
    def test_decorator_says_what_to_use_and_lists_all_options(self, word: str, ours: str) -> None:
        with pytest.raises(TypeError) as refused:
            decorate(**{word: 1})(sends)

        assert str(refused.value) == (
            f"sends: unknown option '{word}'. It is Celery's: {ours}. Options: {OPTIONS}"
        )

    def test_calls_and_policies_say_so_with_the_options_they_take(self) -> None:
        using: Any = tasks.echoes.using
        with pytest.raises(TypeError) as of_call:
            using(queue="mail")
        with pytest.raises(TypeError) as of_policy:
            RetryPolicy(soft_time_limit=1)  # type: ignore[call-arg]

        assert str(of_call.value) == (
            "echoes: unknown option 'queue'. It is Celery's: use 'queue_name'. Options: "
            f"{POLICY_OPTIONS}, priority, queue_name, run_after, expires, backend"
        )
        assert str(of_policy.value) == (
            "RetryPolicy: unknown option 'soft_time_limit'. It is Celery's: use 'timeout'. "
            f"Options: {POLICY_OPTIONS}"
        )

    def test_none_of_them_is_an_option_here(self) -> None:
        assert set(INSTEAD) & set(OPTIONS.split(", ")) == set()


class TestOwner:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"max_retries": -1}, "sends: max_retries must be from 0 to 2147483647, not -1"),
            ({"max_retries": "3"}, "sends: max_retries must be an int, not '3'"),
            ({"max_attempts": 0}, "sends: max_attempts must be from 1 to 2147483647, not 0"),
            ({"jitter": 1}, "sends: jitter must be True or False, not 1"),
            (
                {"retry_on": "OSError"},
                "sends: retry_on must hold exception classes, not the name of one: 'OSError'",
            ),
            (
                {"timeout": 0},
                "sends: timeout must be above 0 and at most 31622400 seconds, not 0",
            ),
            (
                {"countdown": 601},
                "sends: countdown (601) is above max_countdown (600): raise max_countdown",
            ),
        ],
    )
    def test_decorated_function_is_named(self, options: dict[str, Any], message: str) -> None:
        with pytest.raises((TypeError, ValueError)) as refused:
            decorate(**options)(sends)

        assert str(refused.value) == message

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"max_retries": -1}, "echoes: max_retries must be from 0 to 2147483647, not -1"),
            (
                {"max_countdown": 4},
                "echoes: countdown (5) is above max_countdown (4): raise max_countdown",
            ),
        ],
    )
    def test_function_of_a_call_is_named(self, options: Any, message: str) -> None:
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            tasks.echoes.using(**options)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"priority": 101}, "echoes: priority must be a whole number between -100 and 100"),
            ({"priority": 1.5}, "echoes: priority must be a whole number between -100 and 100"),
            ({"queue_name": "q" * 101}, "echoes: queue_name is longer than 100 characters"),
            ({"run_after": datetime(2030, 1, 1)}, "echoes: run_after must be an aware datetime"),
            (
                {"run_after": LAST},
                "echoes: run_after must be of a year from 1000 to 9997",
            ),
            ({"run_after": timedelta.max}, "echoes: run_after leads past the year 9997: datetime"),
            ({"run_after": 60}, "echoes: run_after must be an aware datetime or a timedelta"),
        ],
    )
    def test_function_is_named_by_what_the_contract_checks_too(
        self, options: Any, message: str
    ) -> None:
        with pytest.raises((InvalidTask, TypeError, ValueError), match=f"^{message}"):
            tasks.echoes.using(**options)

    @pytest.mark.parametrize("countdown", [-1, "5"])
    def test_function_of_celerys_call_is_named(self, countdown: Any) -> None:
        with pytest.raises((TypeError, ValueError), match=r"^echoes: countdown must be"):
            tasks.echoes.apply_async(countdown=countdown)

    def test_options_that_do_not_go_with_sound_settings_are_the_functions_fault(
        self, settings: Any
    ) -> None:
        settings.RETRYTASKS = {"POLICY": {"max_countdown": 60}}

        with pytest.raises(ValueError, match=r"sends: countdown \(61\) is above max_countdown"):
            decorate(countdown=61)(sends)


class TestWrongSettings:
    @pytest.mark.parametrize(
        ("wrong", "number", "message"),
        [
            (
                "RETRYTASKS = {'POLICY': {'max_retrys': 3}}",
                "E010",
                'RETRYTASKS["POLICY"]: unknown option \'max_retrys\'. Did you mean "max_retries"?',
            ),
            (
                "RETRYTASKS = {'POLICY': {'countdown': 700}}",
                "E010",
                'RETRYTASKS["POLICY"]: countdown (700) is above max_countdown (600)',
            ),
            ("RETRYTASKS = {'POLICY': [3]}", "E010", 'RETRYTASKS["POLICY"] must be a dict'),
            ("RETRYTASKS = ['POLICY']", "E010", "RETRYTASKS must be a dict"),
            (
                "TASKS = {'default': {'BACKEND': BACKEND, 'OPTIONS': {'autoretry_for': OSError}}}",
                "E011",
                "TASKS['default']: unknown option 'autoretry_for'. It is Celery's: use 'retry_on'.",
            ),
            (
                "TASKS = {'default': {'BACKEND': BACKEND, 'OPTIONS': {'backoff': 'no.where'}}}",
                "E011",
                "TASKS['default']: backoff 'no.where' cannot be imported",
            ),
        ],
    )
    def test_check_tells_of_them_where_the_site_imports_its_tasks(
        self, tmp_path: Path, wrong: str, number: str, message: str
    ) -> None:
        site = shop(tmp_path, wrong)

        output = site("check")

        assert f"(retrytasks.{number}) {message}" in output
        assert "Traceback" not in output

    def test_enqueue_names_the_setting(self, settings: Any) -> None:
        settings.RETRYTASKS = {"POLICY": {"max_retrys": 3}}

        with pytest.raises(TypeError, match=r"^RETRYTASKS\[\"POLICY\"\]: unknown option 'max_ret"):
            tasks.echoes.enqueue("ann")


def shop(directory: Path, wrong: str) -> Any:
    """Return how to run commands on a site whose models import a task, with such settings."""
    (directory / "orders").mkdir()
    for name, text in {
        "__init__": "",
        "models": "from . import tasks\n",
        "tasks": "from django_retrytasks import retry_task\n@retry_task\ndef send(): ...\n",
    }.items():
        (directory / "orders" / f"{name}.py").write_text(text)
    site = bare_site(
        directory, apps=["django.contrib.contenttypes", "django_q", "django_retrytasks", "orders"]
    )
    backend = "\nBACKEND = 'django_retrytasks.backend.RetryTasksBackend'\n"
    with (directory / "bare.py").open("a") as file:
        file.write(backend + wrong)
    return site
