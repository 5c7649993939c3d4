"""``retrytasks doctor``: what is wrong with a site's set-up, and how to mend it."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone
from django_q.models import Schedule

from django_retrytasks.broker import clusters, sweep_schedule
from django_retrytasks.database import DatabaseNow
from django_retrytasks.lifecycle import workers
from django_retrytasks.management.terminal import printable
from django_retrytasks.models import Task, Worker
from tests.checks.sites import ROOT, bare_site
from tests.management.running import values
from tests.support import tasks
from tests.support.driver import Driver

PARTS = ["broker", "database", "settings", "migrations", "cluster", "schedules", "mail", "code"]
APPS = ["django.contrib.contenttypes", "django_q", "django_retrytasks"]
GONE = "tests.gone.tasks.send"


def doctor() -> tuple[list[str], str]:
    """Return the lines that are not "ok", and the error that the command exits with."""
    output, wrong = StringIO(), ""
    try:
        call_command("retrytasks", "doctor", stdout=output)
    except CommandError as error:
        wrong = str(error)
    lines = output.getvalue().splitlines()
    return [line for line in lines if not line.startswith("ok ")], wrong


@pytest.mark.django_db
class TestSite:
    @pytest.fixture(autouse=True)
    def _workers(self) -> None:
        for key in clusters.keys():  # noqa: SIM118
            workers.note(f"host:1:{key}", key, age=60, idle=1)
        # The row is as old as the test session.
        Schedule.objects.update(next_run=timezone.now())

    def test_that_is_well_has_a_line_for_each_part(self) -> None:
        assert doctor() == ([], "")
        assert values("doctor") == [{"part": name, "ok": True, "findings": []} for name in PARTS]

    def test_whose_cluster_does_not_run(self) -> None:
        Worker.objects.update(seen_at=DatabaseNow() - timedelta(minutes=2))
        Schedule.objects.update(next_run=timezone.now() - timedelta(minutes=9))
        tasks.succeeds.enqueue()
        Task.objects.update(run_after=DatabaseNow() - timedelta(minutes=9))

        lines, wrong = doctor()

        assert wrong == "3 wrong: mend the first, and run doctor again"
        assert lines[:4] == [
            "wrong    cluster: no worker of cluster retrytasks-tests was seen in the last 45 s, "
            "and its Tasks have been due for 9 min",
            "         do: Run manage.py retrytasks cluster, under a supervisor that starts it "
            "again.",
            "wrong    cluster: no worker of cluster slow was seen in the last 45 s",
            "         do: Run manage.py retrytasks cluster --name slow, under a supervisor that "
            "starts it again.",
        ]
        assert lines[4] == "wrong    schedules: no cluster has taken the sweep for 10 min"

    def test_whose_workers_are_busy(self) -> None:
        tasks.succeeds.using(queue_name="slow").enqueue()
        Task.objects.update(run_after=DatabaseNow() - timedelta(minutes=9))

        lines, _ = doctor()

        assert lines[0] == (
            "wrong    cluster: Tasks of cluster slow have been due for 9 min: all its workers are "
            "busy, or it is frozen"
        )
        assert len(lines) == 2

    def test_with_schedules_that_cannot_run(self) -> None:
        Schedule.objects.create(name="broken", func="f", args="(", next_run=timezone.now())
        Schedule.objects.filter(name=sweep_schedule.SWEEP_NAME).delete()

        lines, wrong = doctor()

        assert wrong.startswith("2 wrong")
        assert lines[0].startswith(
            'wrong    schedules: The schedule "django-retrytasks sweep" is missing or switched off'
        )
        assert lines[0].endswith("(retrytasks.W012)")
        assert lines[1].startswith("         do: Run manage.py migrate to create it.")
        assert "schedules: cannot run, and holds up all schedules while it is due: b" in lines[2]

    def test_with_wrong_settings_in_order(self, settings: Any) -> None:
        settings.DEBUG = False
        settings.ADMINS = []
        settings.Q_CLUSTER = {**settings.Q_CLUSTER, "guard_cycle": 0.3}
        settings.RETRYTASKS = {"ALERTS": ["django_retrytasks.alerts.mail_admins"]}

        lines, _ = doctor()

        assert [line.partition(":")[0] for line in lines[::2]] == [
            "wrong    broker", "wrong    mail",
        ]  # fmt: skip
        settings.RETRYTASKS = {"LEASES": 5}
        assert "settings: RETRYTASKS has the unknown key" in "".join(doctor()[0])

    @pytest.mark.parametrize(("debug", "wrong"), [(True, ""), (False, "mail")])
    def test_whose_alerts_reach_nobody_only_while_debug_is_off(
        self, settings: Any, debug: bool, wrong: str
    ) -> None:
        settings.DEBUG = debug
        settings.ADMINS = []
        settings.RETRYTASKS = {"ALERTS": ["django_retrytasks.alerts.mail_admins"]}

        assert "".join(doctor()[0]).partition(":")[0].removeprefix("wrong    ") == wrong
        page = (ROOT / "docs/how-to/doctor.md").read_text()
        assert "| mail | Whether alerts reach anybody; only while `DEBUG` is off. |" in page

    def test_may_accept_a_finding_as_it_is(self, settings: Any) -> None:
        settings.Q_CLUSTER = {**settings.Q_CLUSTER, "guard_cycle": 0.3}
        assert doctor()[1]

        settings.SILENCED_SYSTEM_CHECKS = ["retrytasks.W004"]

        assert doctor() == ([], "")

    def test_whose_code_is_gone(self, driver: Driver) -> None:
        tasks.succeeds.enqueue()
        Task.objects.update(name=GONE)

        lines, wrong = doctor()

        assert wrong
        assert lines[0].startswith(f"wrong    code: Tasks of {GONE} are unfinished, but {GONE} can")
        assert lines[1].endswith(f"manage.py retrytasks discard --task {GONE}")
        call_command("retrytasks", "discard", Task.objects.get().pk, stdout=StringIO())
        assert doctor() == ([], "")

    def test_whose_urls_do_not_import_is_looked_at_all_the_same(self, settings: Any) -> None:
        settings.ROOT_URLCONF = "tests.gone.urls"
        settings.Q_CLUSTER = {**settings.Q_CLUSTER, "guard_cycle": 0.3}

        lines, wrong = doctor()

        assert wrong.startswith("2 wrong")
        assert lines[0].startswith("wrong    broker: ")
        assert lines[2].startswith("wrong    code: looking at it failed: ModuleNotFoundError: ")

    def test_with_a_hostile_row_is_told_as_text(self) -> None:
        tasks.succeeds.enqueue()
        Task.objects.update(name="gone.\x1b[2J\x07")

        lines, _ = doctor()

        assert r"gone.\x1b[2J\x07" in lines[0]
        assert all(line == printable(line) for line in lines)


class TestNewSite:
    def test_is_told_to_migrate_and_then_to_run_a_cluster(self, tmp_path: Path) -> None:
        site = bare_site(tmp_path, apps=APPS)

        before = site("retrytasks", "doctor")
        site("migrate")
        after = site("retrytasks", "doctor", "--json")

        assert "wrong    migrations: not applied: " in before
        assert "retrytasks.0001_initial" in before
        assert "do: Run manage.py migrate --database default." in before
        assert "skipped  cluster: it needs the tables" in before
        assert before.endswith("CommandError: 1 wrong: mend the first, and run doctor again\n")
        assert after.count('"ok": true') == len(PARTS) - 1
        assert "no worker of cluster default was seen in the last 45 s" in after

    def test_whose_q_cluster_is_no_dict_is_told_so(self, tmp_path: Path) -> None:
        site = bare_site(tmp_path, apps=APPS)
        settings = tmp_path / "bare.py"
        settings.write_text(f'{settings.read_text()}\nQ_CLUSTER = "x"\n')

        told = site("retrytasks", "doctor")

        assert "wrong    broker: Q_CLUSTER must be a dict, not a str" in told
        assert "Traceback" not in told
        assert told.splitlines()[-1].startswith("CommandError: ")

    def test_without_a_broker_is_told_although_the_checks_fail(self, tmp_path: Path) -> None:
        site = bare_site(tmp_path, apps=APPS, orm=None)
        site("migrate", "--skip-checks")

        assert "System check identified some issues" in site("retrytasks", "health")
        told = site("retrytasks", "doctor")

        assert told.startswith('wrong    broker: Q_CLUSTER["orm"] is not set')
        assert "         do: Set Q_CLUSTER" in told
