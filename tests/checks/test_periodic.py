"""System checks of periodic Tasks."""

from __future__ import annotations

import pytest
from django.core.checks import CheckMessage, Error, Warning, run_checks

from django_retrytasks import periodic
from django_retrytasks.tasks import periodic as declarations
from django_retrytasks.values import calendars
from tests.checks.stage import found
from tests.support import tasks
from tests.support.declarations import code, declared

pytestmark = pytest.mark.usefixtures("no_declarations")


def found_in_rows() -> list[CheckMessage]:
    found = run_checks(tags=["database"], databases=["default"])
    return [one for one in found if one.id == "retrytasks.W017"]


def test_cron_lines_need_croniter(monkeypatch: pytest.MonkeyPatch) -> None:
    periodic(tasks.echoes, cron="0 3 * * *", name="nightly", args=[1])
    periodic(tasks.echoes, every=60, name="often", args=[1])
    assert found("E018") == []

    monkeypatch.setattr(calendars, "croniter", None)

    assert found("E018") == [
        Error(
            "croniter is not installed, so these periodic Tasks never come: ['nightly'].",
            hint="pip install 'django-retrytasks[periodic]', or give every= in place of cron=.",
            id="retrytasks.E018",
        )
    ]


def test_a_name_may_be_given_once() -> None:
    periodic(tasks.echoes, every=60, args=[1], name="report")
    assert found("E019") == []

    periodic(tasks.succeeds, every=60, name="report")

    assert found("E019") == [
        Error(
            "2 periodic Tasks have the name 'report', of tests.support.tasks.echoes, "
            "tests.support.tasks.succeeds: neither is stored.",
            hint="Give each a name of its own: periodic(..., name=...).",
            id="retrytasks.E019",
        )
    ]


@pytest.mark.django_db
def test_a_row_whose_task_is_gone_from_the_code_is_told_until_migrate_retires_it() -> None:
    declared()
    assert found_in_rows() == []

    with code():
        assert found_in_rows() == [
            Warning(
                "The periodic Task 'report' of tests.support.tasks.echoes is stored, but not "
                "declared in this code: it goes on as it is stored.",
                hint="If this code is the latest, run manage.py migrate, which stores what it "
                "declares.",
                id="retrytasks.W017",
            )
        ]
        declarations.sync(is_deploy=True)
        assert found_in_rows() == []


@pytest.mark.django_db
def test_a_row_that_a_later_deploy_has_changed_is_told_in_older_code() -> None:
    declared(args=["old"])
    with code():
        declared(args=["new"])
        assert found_in_rows() == []

    [warning] = found_in_rows()

    assert "is stored, but declared otherwise in this code" in warning.msg


@pytest.mark.django_db
def test_a_change_that_the_next_sweep_stores_is_not_told() -> None:
    declared(args=["old"])
    with code():
        periodic(tasks.echoes, every=60, args=["new"], name="report")

        assert found_in_rows() == []
