"""Periodic Tasks as the code declares them, and how deploys store them."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.apps import apps
from django.db.models.signals import post_migrate

import django_retrytasks
from django_retrytasks import periodic, retry_task, worker
from django_retrytasks.lifecycle.periodic import switch_off
from django_retrytasks.models import PeriodicTask, Task
from django_retrytasks.tasks import discovery
from django_retrytasks.tasks import periodic as declarations
from tests.support import tasks
from tests.support.declarations import RARE, code, declared, enqueued, pass_time, row_of

pytestmark = pytest.mark.usefixtures("no_declarations")


class TestDeclarations:
    def test_it_is_exported_beside_the_decorator(self) -> None:
        assert django_retrytasks.periodic is periodic

    @pytest.mark.parametrize(
        ("options", "error"),
        [
            ({}, r"periodic 'tests.support.tasks.echoes': give either cron or every"),
            ({"cron": "* * * * *", "every": 60}, "give either cron or every"),
            ({"every": "hourly"}, r"every must be seconds \(int, float\) or a timedelta"),
            ({"every": 60, "args": "x"}, "args must be a tuple or a list"),
            ({"every": 60, "args": [1, 2]}, "too many positional arguments"),
            ({"every": 60, "kwargs": {"valeu": 1}}, "unexpected keyword argument 'valeu'"),
            ({"every": 60, "args": [object()]}, "argument 'value' cannot be stored"),
            ({"every": 60, "name": 7}, "name must be a string"),
        ],
    )
    def test_a_wrong_one_is_refused_with_its_name(
        self, options: dict[str, Any], error: str
    ) -> None:
        with pytest.raises(TypeError, match=error):
            periodic(tasks.echoes, **options)

        assert declarations.declarations() == []

    @pytest.mark.parametrize(
        ("options", "error"),
        [
            ({"cron": "61 * * * *"}, "periodic 'nightly': cron must be a cron line"),
            ({"every": 5}, "periodic 'nightly': every must be at least 10"),
            ({"every": 60, "name": ""}, "name must have from 1 to 100 characters"),
            ({"every": 60, "name": "n" * 101}, "name must have from 1 to 100 characters"),
            ({"every": 60, "name": " nightly"}, "name must be printable"),
            ({"every": 60, "name": "night\0ly"}, "name must be printable"),
        ],
    )
    def test_a_value_out_of_range_is_refused(self, options: dict[str, Any], error: str) -> None:
        with pytest.raises(ValueError, match=error):
            periodic(tasks.echoes, **{"name": "nightly", "args": [1], **options})

    def test_what_is_no_task_is_refused(self) -> None:
        def send() -> None: ...

        with pytest.raises(TypeError, match="takes a task: decorate <function"):
            periodic(send, every=60)  # type: ignore[arg-type]

    def test_a_task_of_using_is_refused_since_its_options_would_be_lost(self) -> None:
        with pytest.raises(TypeError, match=r"options on the decorator, not by using\(\)"):
            periodic(tasks.echoes.using(priority=5), every=60, args=[1])

    def test_two_of_one_name_clash_and_neither_is_known(self) -> None:
        periodic(tasks.echoes, every=60, args=[1])
        periodic(tasks.succeeds, every=60)

        periodic(tasks.echoes, every=60, args=[2])

        [known] = declarations.declarations()
        assert known.name == "tests.support.tasks.succeeds"
        assert declarations.clashes() == {
            "tests.support.tasks.echoes": ["tests.support.tasks.echoes"] * 2
        }

    def test_a_module_that_is_imported_anew_replaces_its_declaration(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        periodic(tasks.echoes, every=60, args=[1])

        def echoes(value: object) -> object:
            return value

        echoes.__module__, echoes.__qualname__ = tasks.echoes.func.__module__, "echoes"
        anew = retry_task(echoes)
        monkeypatch.setattr(sys.modules[echoes.__module__], "echoes", anew)
        periodic(anew, every=120, args=[1])

        [known] = declarations.declarations()
        assert known.calendar.every == 120


@pytest.mark.django_db
class TestSync:
    def test_a_new_one_is_stored_and_not_due_at_once(self) -> None:
        moment = datetime(2026, 1, 2, tzinfo=UTC)
        row = declared("weekly", every=RARE, args=[{"since": moment}])

        assert (row.task_name, row.cron, row.every) == (tasks.echoes.module_path, "", 25_920_000)
        assert (row.args, row.kwargs, row.last_run_at) == ([{"since": moment}], {}, None)
        worker.sweep()
        assert enqueued() == []

    def test_a_second_sync_changes_nothing(self) -> None:
        before = PeriodicTask.objects.filter(pk=declared().pk).values().get()

        declarations.sync()

        assert PeriodicTask.objects.values().get() == before

    def test_a_changed_one_is_changed(self) -> None:
        before = declared(args=[1])
        with code():
            declared(args=[2], every=7200)

        after = row_of()
        assert (after.pk, after.args, after.every) == (before.pk, [2], 7200)
        assert after.declared_at > before.declared_at

    def test_one_whose_calendar_stays_keeps_the_moments_that_it_has_missed(self) -> None:
        declared(args=[1])
        pass_time()
        before = row_of()
        with code():
            declared(args=[2])

        assert row_of().planned_at == before.planned_at

    def test_one_that_an_operator_switched_off_stays_off(self) -> None:
        switch_off(declared().pk, by="ada", reason="the server moves")
        with code():
            declared(every=7200)
            declarations.sync(is_deploy=True)

        assert (row_of().every, row_of().switched_off_by) == (7200, "ada")
        assert row_of().switched_off_at is not None

    def test_a_deploy_retires_what_its_code_does_not_declare(self) -> None:
        declared("old")
        with code():
            declared("new")
            declarations.sync()
            assert row_of("old").retired_at is None

            declarations.sync(is_deploy=True)

        assert row_of("old").retired_at is not None
        assert row_of("new").retired_at is None

    def test_it_retires_none_while_a_tasks_module_does_not_import(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        declared("old")
        broken = {"shop.tasks": "SyntaxError: invalid syntax"}
        monkeypatch.setattr(discovery, "discover", lambda: broken)
        with code():
            declared("new")
            declarations.sync(is_deploy=True)

        assert row_of("old").retired_at is None
        assert row_of("new").retired_at is None

    def test_it_retires_none_while_two_share_a_name(self) -> None:
        declared("old")
        with code():
            for value in (1, 2):
                periodic(tasks.echoes, every=60, args=[value], name="old")
            declarations.sync(is_deploy=True)

        assert row_of("old").retired_at is None
        assert row_of("old").args == [1]

    def test_a_worker_with_older_code_changes_nothing_back(self) -> None:
        declared("changed", args=["old"])
        declared("removed", args=["old"])
        with code():
            declared("changed", args=["new"])
            declarations.sync(is_deploy=True)

        declarations.sync()

        assert row_of("changed").args == ["new"]
        assert row_of("removed").retired_at is not None

    def test_a_deploy_of_the_older_code_brings_back_what_it_declares(self) -> None:
        declared("changed", args=["old"])
        declared("removed", args=["old"])
        with code():
            declared("changed", args=["new"])
            declarations.sync(is_deploy=True)

        declarations.sync(is_deploy=True)

        assert row_of("changed").args == ["old"]
        assert row_of("removed").retired_at is None
        with code():
            declared("changed", args=["new"])
        assert row_of("changed").args == ["old"]

    def test_a_newer_declaration_of_a_retired_name_needs_no_migrate(self) -> None:
        declared(args=["old"])
        with code():
            declarations.sync(is_deploy=True)
        with code():
            declared(args=["new"])

        assert (row_of().args, row_of().retired_at) == (["new"], None)

    def test_what_has_been_retired_for_a_month_is_deleted(self) -> None:
        declared("old")
        with code():
            declarations.sync(is_deploy=True)
            PeriodicTask.objects.update(retired_at=datetime.now(UTC) - timedelta(days=31))
            declarations.sync(is_deploy=True)

        assert not PeriodicTask.objects.exists()

    def test_names_that_differ_in_case_alone_are_two(self) -> None:
        declared("Report", args=[1])
        declared("report", args=[2])

        assert PeriodicTask.objects.count() == 2
        assert sorted(PeriodicTask.objects.values_list("name", flat=True)) == ["Report", "report"]

    def test_migrate_is_a_deploy(self) -> None:
        declared("old")
        with code():
            periodic(tasks.echoes, every=3600, args=[1], name="new")
            config = apps.get_app_config("retrytasks")
            post_migrate.send(config, app_config=config, using="default", verbosity=0)

        assert row_of("old").retired_at is not None
        assert row_of("new").args == [1]

    def test_migrate_back_to_the_first_migration_asks_for_no_row(self) -> None:
        config = apps.get_app_config("retrytasks")

        earlier = apps.__class__([])
        earlier.all_models["retrytasks"] = {"task": Task}

        periodic(tasks.echoes, every=3600, args=[1], name="new")
        post_migrate.send(config, app_config=config, using="default", verbosity=0, apps=earlier)

        assert not PeriodicTask.objects.exists()
