"""Failure groups: what is counted, when it is told, what an operator says of it."""

from __future__ import annotations

import html
import io
import re
import uuid
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.db.models import F
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_retrytasks import lifecycle, retry_task, worker
from django_retrytasks.alerts import Alert
from django_retrytasks.errors.reports import report
from django_retrytasks.lifecycle import groups
from django_retrytasks.lifecycle.groups import Failed
from django_retrytasks.models import FailureGroup, Status, Task
from django_retrytasks.worker.attempt import AttemptRun
from tests.support import tasks
from tests.support.driver import Driver, in_another_session

pytestmark = pytest.mark.django_db

HERE = "tests.lifecycle.test_failures"
GROUP = FailureGroup.Status
FAILURE_TIMES = (
    "first_seen_at",
    "last_seen_at",
    "last_failed_at",
    "streak_started_at",
    "alerted_at",
    "muted_until",
)
alerts: list[tuple[str, int, int]] = []
mood = {"fails": True}


def hear(alert: Alert) -> None:
    alerts.append((alert.kind.value, alert.count, alert.new_count))


@retry_task(max_retries=0)
def sends(recipient: str = "") -> None:
    if mood["fails"]:
        raise ConnectionError(f"refused for {recipient}")


@pytest.fixture(autouse=True)
def _nothing_heard(settings: Any) -> None:
    settings.RETRYTASKS = {"ALERTS": [f"{HERE}.hear"]}
    alerts.clear()
    mood["fails"] = True


def the_group() -> FailureGroup:
    group: FailureGroup = FailureGroup.objects.get()
    return group


def time_goes_by(span: timedelta) -> None:
    """Let time go by for failure groups and finished Tasks: what is stored moves back."""
    FailureGroup.objects.update(**{name: F(name) - span for name in FAILURE_TIMES})
    Task.objects.filter(finished_at__isnull=False).update(finished_at=F("finished_at") - span)


def fail(driver: Driver, count: int = 1) -> None:
    """Have so many Tasks fail for good, and their announcements run."""
    sends.enqueue_many([(f"user{n}@example.com",) for n in range(count)])
    driver.drain()


def sweep(driver: Driver) -> None:
    worker.sweep()
    driver.drain()


def recover(driver: Driver) -> None:
    """Have a Task succeed after six quiet minutes, and the sweep find it."""
    time_goes_by(timedelta(minutes=6))
    mood["fails"] = False
    fail(driver)
    sweep(driver)
    mood["fails"] = True


class TestCounting:
    def test_final_failures_and_failed_attempts_are_counted_apart(self, driver: Driver) -> None:
        result = tasks.fails_at_once_again.enqueue()
        driver.drain()

        group = the_group()
        assert (group.failure_count, group.failed_attempt_count) == (1, 4)
        assert (group.name, group.exception_class_path) == (
            "tests.support.tasks.fails_at_once_again",
            "builtins.ConnectionError",
        )
        assert group.origin == (
            'tests.support.tasks.fails_at_once_again: raise ConnectionError("no luck")'
        )
        assert group.message == "no luck"
        assert group.status == GROUP.OPEN
        row = driver.row(result)
        assert row.failure_group == group
        assert group.sample == row
        assert group.first_seen_at <= group.last_seen_at == group.last_failed_at

    def test_a_failure_that_is_retried_opens_a_group_without_final_failures(
        self, driver: Driver
    ) -> None:
        row = driver.attempt(tasks.always_fails.enqueue())

        group = the_group()
        assert (group.failure_count, group.failed_attempt_count) == (0, 1)
        assert group.last_failed_at is None
        assert row.failure_group is None
        assert not FailureGroup.objects.failing().exists()

    def test_failures_of_one_cause_are_one_group_whatever_their_words(self, driver: Driver) -> None:
        fail(driver, 30)

        assert the_group().failure_count == 30
        assert the_group().tasks.count() == 30

    def test_failures_of_two_functions_are_two_groups(self, driver: Driver) -> None:
        fail(driver)
        tasks.fails_once_for_all.enqueue()
        driver.drain()

        assert FailureGroup.objects.count() == 2

    def test_a_batch_costs_one_statement_for_each_group(self, driver: Driver) -> None:
        fail(driver)
        sends.enqueue_many([()] * 20)
        claimed = driver.claim(limit=20)
        endings = [AttemptRun(task, timezone.now).ending() for task in claimed.tasks]

        with CaptureQueriesContext(connection) as queries:
            lifecycle.settle(endings)

        table = FailureGroup._meta.db_table
        counting = [q["sql"] for q in queries if table in q["sql"]]
        assert len(counting) == 1
        assert counting[0].startswith("UPDATE")
        assert the_group().failure_count == 21

    def test_what_is_refused_is_not_counted(self, driver: Driver) -> None:
        result = sends.enqueue()
        [task] = driver.claim().tasks
        ending = AttemptRun(task, timezone.now).ending()
        driver.make_due(result)

        assert lifecycle.settle([ending]) == []
        assert not FailureGroup.objects.exists()

    def test_a_failed_announcement_opens_no_group(self, driver: Driver, settings: Any) -> None:
        settings.RETRYTASKS = {"ALERTS": [], "ON_FAILURE": ["nowhere.at_all"]}
        fail(driver)

        assert Task.objects.filter(internal=True, status=Status.FAILED).exists()
        assert the_group().name == f"{HERE}.sends"

    def test_a_redriven_task_stays_in_its_group_and_fails_into_another(
        self, driver: Driver
    ) -> None:
        result = tasks.raises.using(max_retries=0).enqueue("OSError")
        driver.drain()
        before = driver.row(result).failure_group
        Task.objects.filter(pk=result.id).update(args=["ValueError"])
        lifecycle.redrive([uuid.UUID(result.id)])
        assert driver.row(result).failure_group == before

        driver.drain()

        assert driver.row(result).failure_group != before
        assert FailureGroup.objects.count() == 2


class TestThrottle:
    def test_a_thousand_failures_of_one_cause_are_told_in_four_alerts_at_most(
        self, driver: Driver
    ) -> None:
        for _ in range(10):
            fail(driver, 100)

        kinds = [kind for kind, _, _ in alerts]
        assert kinds == ["FAILING"] + ["STILL_FAILING"] * (len(alerts) - 1)
        assert 2 <= len(alerts) <= 4
        counts = [count for _, count, _ in alerts]
        assert counts == sorted(set(counts))
        assert sum(new for _, _, new in alerts) == counts[-1]
        assert the_group().failure_count == Task.objects.filter(status=Status.FAILED).count()

    def test_the_counts_told_are_those_of_the_rows(self, driver: Driver) -> None:
        for _ in range(120):
            fail(driver)

        assert alerts == [("FAILING", 1, 1), ("STILL_FAILING", 10, 9), ("STILL_FAILING", 100, 90)]

    def test_the_first_failure_after_a_cooldown_is_told_with_those_before_it(
        self, driver: Driver
    ) -> None:
        fail(driver)
        fail(driver, 3)
        time_goes_by(timedelta(hours=1))

        fail(driver)

        assert alerts == [("FAILING", 1, 1), ("STILL_FAILING", 5, 4)]

    def test_what_failed_within_a_cooldown_is_told_after_it_by_the_sweep(
        self, driver: Driver
    ) -> None:
        fail(driver)
        fail(driver, 3)
        sweep(driver)
        time_goes_by(timedelta(minutes=59))
        sweep(driver)
        assert len(alerts) == 1

        time_goes_by(timedelta(minutes=2))
        sweep(driver)
        sweep(driver)

        assert alerts[1:] == [("STILL_FAILING", 4, 3)]

    def test_the_cooldown_is_a_setting(self, driver: Driver, settings: Any) -> None:
        settings.RETRYTASKS = {
            "ALERTS": [f"{HERE}.hear"],
            "ALERT_COOLDOWN": timedelta(seconds=30),
        }
        fail(driver)
        time_goes_by(timedelta(seconds=31))

        fail(driver)

        assert len(alerts) == 2

    def test_each_cause_is_told_of_by_itself(self, driver: Driver) -> None:
        fail(driver)
        tasks.fails_once_for_all.enqueue()
        driver.drain()

        assert alerts == [("FAILING", 1, 1)] * 2


class TestRecovery:
    def test_a_success_after_quiet_is_told_once(self, driver: Driver) -> None:
        fail(driver, 3)
        time_goes_by(timedelta(minutes=6))
        mood["fails"] = False
        fail(driver)

        sweep(driver)
        sweep(driver)

        assert alerts[1:] == [("RECOVERED", 3, 3 - alerts[0][1])]
        group = the_group()
        assert group.recovered_at is not None
        assert (group.streak_count, group.failure_count) == (0, 3)

    def test_quiet_without_a_success_is_no_recovery(self, driver: Driver) -> None:
        mood["fails"] = False
        fail(driver)
        mood["fails"] = True
        time_goes_by(timedelta(minutes=1))
        fail(driver)
        time_goes_by(timedelta(minutes=6))

        sweep(driver)

        assert len(alerts) == 1

    def test_a_success_amid_failures_is_no_recovery(self, driver: Driver) -> None:
        fail(driver)
        mood["fails"] = False
        fail(driver)

        sweep(driver)

        assert len(alerts) == 1
        assert the_group().streak_count == 1

    def test_a_success_of_another_function_is_no_recovery(self, driver: Driver) -> None:
        fail(driver)
        time_goes_by(timedelta(minutes=6))
        tasks.succeeds.enqueue()
        driver.drain()

        sweep(driver)

        assert len(alerts) == 1

    def test_a_failure_long_after_it_is_told_at_once(self, driver: Driver) -> None:
        fail(driver)
        recover(driver)
        time_goes_by(timedelta(hours=1))

        fail(driver)

        assert alerts[2:] == [("FAILING", 1, 1)]
        assert the_group().failure_count == 2

    def test_one_that_comes_and_goes_is_told_of_once_in_a_cooldown(self, driver: Driver) -> None:
        for _ in range(19):  # for 114 minutes
            fail(driver)
            recover(driver)

        assert [kind for kind, _, _ in alerts] == ["FAILING", "RECOVERED"] * 2
        assert the_group().failure_count == 19

    def test_ten_failures_soon_after_it_are_told(self, driver: Driver) -> None:
        fail(driver)
        recover(driver)

        for _ in range(10):
            fail(driver)

        assert alerts[2:] == [("FAILING", 10, 10)]


@pytest.mark.django_db(transaction=True)
def test_a_cause_that_many_workers_meet_at_once_is_counted_by_all(driver: Driver) -> None:
    if not connection.features.has_select_for_update:
        pytest.skip("there is one writer at a time")
    result = sends.enqueue()
    error = report(ConnectionError("refused"))
    barrier = Barrier(4)

    def count() -> None:
        barrier.wait(20)
        with transaction.atomic():
            groups.count([Failed(task=driver.row(result), error=error, is_final=True)])

    sessions = [in_another_session(count) for _ in range(4)]
    for session in sessions:
        session.result()

    assert the_group().failure_count == 4


class TestOperators:
    def test_a_muted_group_is_counted_and_not_told_of(self, driver: Driver) -> None:
        fail(driver)
        groups.mute([the_group().pk])

        fail(driver, 20)
        time_goes_by(timedelta(hours=2))
        sweep(driver)

        assert len(alerts) == 1
        assert the_group().failure_count == 21

    def test_a_mute_ends_by_itself_and_what_failed_meanwhile_is_told(self, driver: Driver) -> None:
        fail(driver)
        groups.mute([the_group().pk], timezone.now() + timedelta(hours=2))
        fail(driver, 5)
        time_goes_by(timedelta(hours=1))
        sweep(driver)
        assert len(alerts) == 1

        time_goes_by(timedelta(hours=1, minutes=1))
        sweep(driver)

        assert alerts[1:] == [("STILL_FAILING", 6, 5)]
        assert (the_group().status, the_group().muted_until) == (GROUP.OPEN, None)

    def test_what_failed_during_a_mute_is_told_after_it_and_then_that_it_is_over(
        self, driver: Driver
    ) -> None:
        fail(driver)
        groups.mute([the_group().pk], timezone.now() + timedelta(hours=2))
        fail(driver, 5)
        recover(driver)
        assert len(alerts) == 1
        assert the_group().status == GROUP.MUTED

        time_goes_by(timedelta(hours=2))
        sweep(driver)

        assert alerts[1:] == [("STILL_FAILING", 6, 5), ("RECOVERED", 6, 0)]

    def test_a_resolved_group_that_fails_again_is_a_regression(self, driver: Driver) -> None:
        fail(driver, 3)
        told = len(alerts)
        groups.resolve([the_group().pk])
        assert the_group().status == GROUP.RESOLVED

        fail(driver)

        group = the_group()
        assert group.status == GROUP.OPEN
        assert group.resolved_at is not None
        assert group.regressed_at is not None
        assert group.resolved_at < group.regressed_at
        assert group.streak_started_at == group.regressed_at
        assert alerts[told:] == [("FAILING", 1, 1)]

    def test_a_failed_attempt_that_is_retried_opens_no_resolved_group(self, driver: Driver) -> None:
        tasks.always_fails.enqueue()
        driver.run_due()
        groups.resolve([the_group().pk])

        tasks.always_fails.enqueue()
        driver.run_due()

        assert the_group().status == GROUP.RESOLVED
        assert the_group().failed_attempt_count == 2

    def test_a_reopened_group_alerts_again(self, driver: Driver) -> None:
        fail(driver)
        groups.mute([the_group().pk])
        fail(driver, 3)
        groups.reopen([the_group().pk])
        time_goes_by(timedelta(hours=1))

        sweep(driver)

        assert alerts[1:] == [("STILL_FAILING", 4, 3)]

    def test_a_group_is_pruned_with_its_last_task(self, driver: Driver) -> None:
        fail(driver)
        time_goes_by(timedelta(days=89))
        worker.sweep()
        assert FailureGroup.objects.count() == 1
        time_goes_by(timedelta(days=2))

        worker.sweep()
        worker.sweep()

        assert FailureGroup.objects.count() == 0

    @pytest.mark.parametrize("kept", [0, 600])
    def test_a_short_retention_loses_no_alert(
        self, driver: Driver, settings: Any, kept: int
    ) -> None:
        settings.RETRYTASKS = {"ALERTS": [f"{HERE}.hear"], "RETENTION": {"FAILED": kept}}
        sends.enqueue()
        driver.run_due()
        time_goes_by(timedelta(minutes=11))

        for _ in range(2):
            worker.sweep()
        driver.drain()
        fail(driver)

        assert alerts == [("FAILING", 1, 1)]
        assert the_group().failure_count == 2

    def test_a_muted_group_is_not_forgotten(self, driver: Driver) -> None:
        fail(driver)
        groups.mute([the_group().pk])
        time_goes_by(timedelta(days=100))

        worker.sweep()
        worker.sweep()

        assert FailureGroup.objects.count() == 1
        assert not the_group().tasks.exists()


def told(*args: str) -> str:
    out = io.StringIO()
    call_command("retrytasks", *args, stdout=out)
    return out.getvalue()


class TestCommand:
    def test_the_groups_that_fail_are_listed(self, driver: Driver) -> None:
        fail(driver, 2)
        [_, line] = told("failures").splitlines()

        group = the_group()
        assert line.split() == [
            str(group.pk), "OPEN", "2",
            *f"{group.last_seen_at:%Y-%m-%d %H:%M:%S}".split(),
            "ConnectionError", "in", f"{HERE}.sends",
        ]  # fmt: skip

    def test_one_that_is_over_is_listed_when_asked_for(self, driver: Driver) -> None:
        fail(driver)
        told("resolve", str(the_group().pk))

        assert len(told("failures").splitlines()) == 1
        assert len(told("failures", "--all").splitlines()) == 2

    def test_mute_for_a_while(self, driver: Driver) -> None:
        fail(driver)

        assert told("mute", str(the_group().pk), "--for", "60") == "1 muted, 0 skipped\n"

        until = the_group().muted_until
        assert until is not None
        assert timedelta(0) < until - timezone.now() < timedelta(minutes=1)

    def test_mute_then_reopen(self, driver: Driver) -> None:
        fail(driver)
        told("mute", str(the_group().pk))
        assert (the_group().status, the_group().muted_until) == (GROUP.MUTED, None)

        told("reopen", str(the_group().pk))

        assert the_group().status == GROUP.OPEN

    def test_one_that_is_not_there(self) -> None:
        with pytest.raises(CommandError, match=r"0 resolved, 1 skipped \(no such group\)"):
            told("resolve", str(uuid.uuid4()))


GROUPS = "/admin/retrytasks/failuregroup/"


def acted(client: Client, action: str, group: FailureGroup) -> str:
    """Do a list's action on a group as a browser does; return the page that follows."""
    form = {"action": action, "_selected_action": [str(group.pk)]}
    response = client.post(GROUPS, form, follow=True)
    assert response.status_code == 200
    return response.content.decode()


class TestAdmin:
    def test_the_list_tells_status_cause_count_and_times(
        self, driver: Driver, admin_client: Client
    ) -> None:
        fail(driver, 3)

        page = admin_client.get(GROUPS).content.decode()

        for text in (
            "Open",
            "ConnectionError · t.l.t.sends",
            "tests.lifecycle.test_failures.sends: ",
            "ago",
        ):
            assert text in page
        assert '<td class="field-failure_count">3</td>' in page

    def test_the_page_shows_the_latest_traceback_and_leads_to_the_tasks(
        self, driver: Driver, admin_client: Client
    ) -> None:
        fail(driver, 2)
        tasks.fails_once_for_all.enqueue()
        driver.drain()
        group = FailureGroup.objects.get(name=f"{HERE}.sends")

        page = admin_client.get(f"{GROUPS}{group.pk}/change/").content.decode()

        assert re.search(r"ConnectionError: refused for user[01]@example.com", html.unescape(page))
        link = f"/admin/retrytasks/task/?failure_group={group.pk}"
        assert link in page
        listed = admin_client.get(link).content.decode()
        assert listed.count("t.l.t.sends</span>") == 2
        assert "t.s.t.fails_once_for_all</span>" not in listed

    def test_a_rule_and_a_group_whose_sample_is_gone_have_pages(
        self, driver: Driver, admin_client: Client
    ) -> None:
        fail(driver)
        Task.objects.all().delete()
        now = timezone.now()
        rule = FailureGroup.objects.create(
            fingerprint=uuid.uuid4(), kind=FailureGroup.Kind.RULE, message="<b>too late</b>",
            first_seen_at=now, last_seen_at=now,
        )  # fmt: skip

        pages = [admin_client.get(f"{GROUPS}{pk}/change/") for pk in (rule.pk, the_failure().pk)]

        assert [page.status_code for page in pages] == [200, 200]
        assert "<b>too late" not in pages[0].content.decode()

    def test_its_actions_mute_resolve_and_reopen(
        self, driver: Driver, admin_client: Client
    ) -> None:
        fail(driver)

        assert "1 group changed." in acted(admin_client, "mute_for_a_day", the_group())
        until = the_group().muted_until
        assert until is not None
        assert timedelta(hours=23) < until - timezone.now() <= timedelta(days=1)
        acted(admin_client, "mute", the_group())
        assert (the_group().status, the_group().muted_until) == (GROUP.MUTED, None)
        assert "Resolved" in acted(admin_client, "resolve", the_group())
        assert the_group().status == GROUP.RESOLVED
        acted(admin_client, "reopen", the_group())
        assert the_group().status == GROUP.OPEN

    def test_who_may_only_look_has_no_action(
        self, driver: Driver, client: Client, django_user_model: Any
    ) -> None:
        fail(driver)
        viewer = django_user_model.objects.create_user("viewer", is_staff=True)
        viewer.user_permissions.add(Permission.objects.get(codename="view_failuregroup"))
        client.force_login(viewer)

        acted(client, "resolve", the_group())

        assert the_group().status == GROUP.OPEN
        assert 'value="resolve"' not in client.get(GROUPS).content.decode()

    def test_a_regression_is_called_one(self, driver: Driver, admin_client: Client) -> None:
        fail(driver)
        groups.resolve([the_group().pk])
        fail(driver)

        assert "Regressed" in admin_client.get(GROUPS).content.decode()


def the_failure() -> FailureGroup:
    group: FailureGroup = FailureGroup.objects.get(kind=FailureGroup.Kind.FAILURE)
    return group
