"""System checks of tasks and of backends: their options, queues and retries without end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from django.core.checks import Error, Warning, run_checks
from django.test import override_settings

from django_retrytasks.values.contract import task_backends
from tests.checks.stage import HERE, OPTIONS, defined, found, q_cluster, receive, receive_task, send

BACKEND = "django_retrytasks.backend.RetryTasksBackend"


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Configure the alias "other" in TASKS, a backend of ours."""

    def configured(**given: Any) -> None:
        monkeypatch.setitem(task_backends.settings, "other", {"BACKEND": BACKEND, **given})

    yield configured
    with suppress(AttributeError):
        del task_backends["other"]


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
                    f'The queue "{queue_name}" of tests.checks.stage.send is served by the '
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
            f"{owner} retries for ever: max_retries is None and retry_for sets no limit, so a "
            "failure that is retried never alerts.",
            hint="Set max_retries to a number, or retry_for to the seconds after the first start "
            "within which a retry may begin.",
            id="retrytasks.W011",
        )

    def test_a_task_that_is_retried_for_ever_is_named(self) -> None:
        with defined(max_retries=None):
            assert self.endless("tests.checks.stage.send") in found("W011")

    def test_one_that_retry_for_bounds_is_not(self) -> None:
        with defined(max_retries=None, retry_for=3600):
            assert self.endless("tests.checks.stage.send") not in found("W011")

    def test_what_one_call_asks_for_is_its_own_matter(self) -> None:
        send.using(max_retries=None)

        assert self.endless("tests.checks.stage.send") not in found("W011")

    @override_settings(RETRYTASKS={"POLICY": {"max_attempts": None}})
    def test_a_default_is_named_where_it_stands_not_with_every_task(self) -> None:
        with defined(countdown=1):
            endless = found("W011")

        assert self.endless('RETRYTASKS["POLICY"]') in endless
        assert self.endless("tests.checks.stage.send") not in endless

    def test_so_is_that_of_a_backend(self, configure: Callable[..., None]) -> None:
        configure(OPTIONS={"max_retries": None})

        assert self.endless("TASKS['other']") in found("W011")
