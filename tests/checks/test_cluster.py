"""System checks of Q_CLUSTER and of the sweep's schedule."""

from __future__ import annotations

import pytest
from django.core.checks import CheckMessage, Error, Tags, Warning, run_checks
from django.db import connection
from django.test import override_settings
from django_q.brokers.orm import ORM
from django_q.models import Schedule

from django_retrytasks.broker.sweep_schedule import SWEEP_NAME
from tests.checks.stage import SLOW, found, q_cluster


class OwnBroker(ORM):  # type: ignore[misc]
    """An ORM broker of the site's own."""


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

    @override_settings(Q_CLUSTER="redis://:secret@cache")
    def test_one_that_is_no_dict_is_told_without_its_value(self) -> None:
        told = found("E002")

        assert [one.msg for one in told] == [
            "Q_CLUSTER must be a dict, not a str: it is not read.",
            'Q_CLUSTER["orm"] is not set: no cluster looks for Tasks.',
        ]
        assert "secret" not in repr(run_checks(tags=["retrytasks"]))

    @pytest.mark.parametrize("value", ["slow", ["slow"], 7])
    def test_other_clusters_that_are_no_dict_are_told(self, value: object) -> None:
        with q_cluster(ALT_CLUSTERS=value):
            [told] = found("E002")

        assert told.msg.startswith('Q_CLUSTER["ALT_CLUSTERS"] must be a dict, not a ')

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
            broker_class="tests.checks.test_cluster.OwnBroker", redis={"host": "localhost"}
        ):
            assert run_checks(tags=["retrytasks"]) == []

    def test_a_broker_that_listens_needs_postgresql(self) -> None:
        listening = "django_retrytasks.broker.listening.ListeningBroker"
        error = Error(
            f'{SLOW}["broker_class"] is "{listening}", which needs PostgreSQL, but the database '
            f'"default" is {connection.display_name}: the cluster only polls.',
            hint=f'Remove "broker_class" from {SLOW}: django-q2\'s own broker polls too.',
            id="retrytasks.E016",
        )
        expected = [] if connection.vendor == "postgresql" else [error]
        with q_cluster(ALT_CLUSTERS={"slow": {"broker_class": listening}}):
            assert run_checks(tags=["retrytasks"]) == expected

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
