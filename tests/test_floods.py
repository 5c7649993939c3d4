"""Many causes at once: at most so many letters, and nothing that nobody is told of."""

from __future__ import annotations

import json
import re
from collections import Counter
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models import F
from django.test import Client
from django.utils import timezone

from django_retrytasks import failures, notices, retry_task, worker
from django_retrytasks.alerts import Alert
from django_retrytasks.failures import Failed
from django_retrytasks.models import FailureGroup, Status, Task
from django_retrytasks.notices import Notice, NoticeKind
from django_retrytasks.reports import ErrorReport
from tests.driver import Driver, in_another_session
from tests.receivers import receiving

pytestmark = pytest.mark.django_db

HERE = "tests.test_floods"
SINKS = "django_retrytasks.alerts"
SITE = "https://shop.example"
REASON = "More failure groups than ALERT_LIMIT lets alert one by one"
TIMES = (
    "first_seen_at",
    "last_seen_at",
    "last_failed_at",
    "streak_started_at",
    "alerted_at",
    "muted_until",
)
heard: list[Alert] = []
mood = {"fails": True}


@retry_task(max_retries=0)
def breaks_at(place: int) -> None:
    """Fail in a function of its own for each place, so by a cause of its own."""
    if mood["fails"]:
        source = f"def place_{place}():\n    raise ConnectionError('refused')\nplace_{place}()"
        exec(compile(source, "/shop/places.py", "exec"), {"__name__": "shop.places"})


def hear(alert: Alert) -> None:
    heard.append(alert)


@pytest.fixture(autouse=True)
def _nothing_heard(settings: Any) -> None:
    settings.RETRYTASKS = {"ALERTS": [f"{HERE}.hear"], "ALERT_LIMIT": 4, "SITE_URL": SITE}
    heard.clear()
    mood["fails"] = True


def fail(driver: Driver, *places: int) -> None:
    """Have a Task fail for good at each of these places, and its announcement run."""
    breaks_at.enqueue_many([(place,) for place in places])
    driver.drain()


def sweep(driver: Driver) -> None:
    worker.sweep()
    driver.drain()


def time_goes_by(span: timedelta) -> None:
    """Let time go by for failure groups and finished Tasks: what is stored moves back."""
    FailureGroup.objects.update(**{name: F(name) - span for name in TIMES})
    Task.objects.filter(finished_at__isnull=False).update(finished_at=F("finished_at") - span)


def recover(driver: Driver) -> None:
    """Have a Task succeed after six quiet minutes, and the sweep find it."""
    time_goes_by(timedelta(minutes=6))
    mood["fails"] = False
    fail(driver, 0)
    sweep(driver)
    mood["fails"] = True


def kinds() -> dict[str, int]:
    return dict(Counter(alert.kind.value for alert in heard))


def groups_told_of() -> int:
    return sum(alert.group_count for alert in heard if alert.kind != NoticeKind.RECOVERED)


def failing() -> int:
    """Return how many causes fail still."""
    failed = FailureGroup.objects.filter(kind=FailureGroup.Kind.FAILURE)
    return int(failed.failing().count())


class TestLimit:
    def test_three_hundred_causes_are_ten_letters(self, driver: Driver, settings: Any) -> None:
        settings.RETRYTASKS = {"ALERTS": [f"{HERE}.hear"]}

        for start in range(0, 300, 100):
            fail(driver, *range(start, start + 100))
        sweep(driver)
        sweep(driver)

        assert kinds() == {"FAILING": 9, "FLOOD": 1}
        assert groups_told_of() == 300
        assert FailureGroup.objects.filter(kind=FailureGroup.Kind.FAILURE).count() == 300

    def test_within_it_each_cause_is_told_of_alone_and_at_once(self, driver: Driver) -> None:
        fail(driver, 1, 2, 3)

        assert kinds() == {"FAILING": 3}
        assert not FailureGroup.objects.filter(kind=FailureGroup.Kind.RULE).exists()

    def test_it_holds_for_causes_that_come_one_after_another(self, driver: Driver) -> None:
        for place in range(12):
            fail(driver, place)
        for place in range(12, 15):
            sweep(driver)
            fail(driver, place)
        sweep(driver)

        assert kinds() == {"FAILING": 3, "FLOOD": 1}
        assert groups_told_of() == 12

    def test_of_one_leaves_a_single_letter_to_all(self, driver: Driver, settings: Any) -> None:
        settings.RETRYTASKS["ALERT_LIMIT"] = 1

        fail(driver, 1, 2, 3)
        assert heard == []
        sweep(driver)

        assert kinds() == {"FLOOD": 1}
        assert groups_told_of() == 3

    def test_of_none_there_is_none(self, driver: Driver, settings: Any) -> None:
        settings.RETRYTASKS["ALERT_LIMIT"] = None

        fail(driver, *range(12))
        sweep(driver)

        assert kinds() == {"FAILING": 12}

    def test_a_cause_told_of_alone_still_tells_of_its_tenth_failure(self, driver: Driver) -> None:
        fail(driver, *range(12))
        told = {alert.group.pk for alert in heard}
        sweep(driver)

        for _ in range(9):
            fail(driver, *range(12))
        sweep(driver)

        assert kinds() == {"FAILING": 3, "FLOOD": 1, "STILL_FAILING": 3}
        assert {alert.group.pk for alert in heard[4:]} == told

    def test_breaches_of_rules_count_like_failures(self, driver: Driver, settings: Any) -> None:
        settings.RETRYTASKS["ALERT_RULES"] = [
            {"rule": "silence", "name": f"{HERE}.breaks_at", "within": second + 1}
            for second in range(12)
        ]

        sweep(driver)

        assert kinds() == {"FAILING": 3, "FLOOD": 1}
        assert groups_told_of() == 12

    def test_the_most_failures_are_told_of_alone(self, driver: Driver) -> None:
        fail(driver, *range(6))
        sweep(driver)
        time_goes_by(timedelta(minutes=61))
        FailureGroup.objects.filter(kind="FAILURE").update(streak_count=2)
        often = FailureGroup.objects.filter(kind="FAILURE").order_by("-pk")[:3]
        FailureGroup.objects.filter(pk__in=[group.pk for group in often]).update(streak_count=9)
        heard.clear()

        sweep(driver)

        assert kinds() == {"STILL_FAILING": 3, "FLOOD": 1}
        assert sorted(alert.count for alert in heard) == [6, 9, 9, 9]


class TestAfterwards:
    def test_nobody_is_told_twice_of_what_failed_once(self, driver: Driver) -> None:
        fail(driver, *range(12))
        sweep(driver)
        time_goes_by(timedelta(hours=2))
        heard.clear()

        sweep(driver)

        assert [alert.subject for alert in heard] == [f"Recovered: {REASON}"]

    def test_what_goes_on_failing_is_told_of_after_the_cooldown(self, driver: Driver) -> None:
        fail(driver, *range(12))
        alone = {alert.group.origin for alert in heard}
        sweep(driver)
        [quiet, *_] = {f"shop.places.place_{n}" for n in range(12)} - alone
        fail(driver, int(quiet.rpartition("_")[2]))
        sweep(driver)
        assert len(heard) == 4

        time_goes_by(timedelta(minutes=61))
        sweep(driver)

        [alert] = heard[4:]
        assert (alert.kind, alert.group.origin) == (NoticeKind.STILL_FAILING, quiet)
        assert (alert.count, alert.new_count) == (2, 1)

    def test_a_flood_that_goes_on_is_told_of_once_in_a_cooldown(self, driver: Driver) -> None:
        for _ in range(13):  # for two hours
            fail(driver, *range(12))
            sweep(driver)
            time_goes_by(timedelta(minutes=10))

        # Those told of alone were so at 0, 60 and, for their 10th failure, 90 minutes.
        assert kinds() == {"FAILING": 3, "FLOOD": 3, "STILL_FAILING": 3 + 3}
        floods = [alert for alert in heard if alert.is_flood]
        assert [alert.group_count for alert in floods] == [9, 9, 9]
        assert [alert.count for alert in floods] == [9, 9 * 7, 9 * 13]
        assert [alert.new_count for alert in floods] == [9, 9 * 6, 9 * 6]
        assert [alert.told_at is None for alert in floods] == [True, False, False]

    def test_only_what_was_told_of_alone_is_told_to_be_over(self, driver: Driver) -> None:
        fail(driver, *range(12))
        alone = {alert.group.pk for alert in heard}
        sweep(driver)
        heard.clear()

        recover(driver)

        over = [alert.group for alert in heard]
        assert kinds() == {"RECOVERED": 4}
        assert {group.pk for group in over} == {*alone, FailureGroup.FLOOD}
        assert failing() == 0

    def test_what_nobody_has_been_told_of_has_not_recovered_unheard(self, driver: Driver) -> None:
        fail(driver, *range(6))
        sweep(driver)
        fail(driver, *range(6, 12))  # held back until the cooldown is over
        recover(driver)
        assert failing() == 6

        time_goes_by(timedelta(hours=1))
        heard.clear()
        sweep(driver)
        sweep(driver)

        assert groups_told_of() == 6
        assert failing() == 0

    def test_a_flood_that_is_muted_is_told_of_after_the_mute(self, driver: Driver) -> None:
        fail(driver, *range(12))
        sweep(driver)
        failures.mute([FailureGroup.FLOOD], timezone.now() + timedelta(hours=2))
        time_goes_by(timedelta(minutes=90))
        heard.clear()
        fail(driver, *range(20, 32))
        sweep(driver)
        assert kinds() == {"FAILING": 3}

        time_goes_by(timedelta(minutes=31))
        sweep(driver)

        assert kinds() == {"FAILING": 3, "FLOOD": 1}
        assert groups_told_of() == 12

    def test_one_that_is_rolled_back_is_told_of_by_the_next_sweep(self, driver: Driver) -> None:
        fail(driver, *range(12))
        with transaction.atomic():
            worker.sweep()
            transaction.set_rollback(True)
        assert len(heard) == 3

        sweep(driver)

        assert kinds() == {"FAILING": 3, "FLOOD": 1}


@pytest.mark.django_db(transaction=True)
class TestManyWorkers:
    def test_that_look_at_once_tell_of_no_more_than_one(self, driver: Driver) -> None:
        if not connection.features.has_select_for_update:
            pytest.skip("there is one writer at a time")
        groups = [count_a_failure(driver, place) for place in range(40)]
        barrier = Barrier(8)

        def decide(number: int) -> list[Notice]:
            barrier.wait(20)
            with transaction.atomic():
                return notices.take_due(groups[number::8])

        sessions = [in_another_session(lambda number=n: decide(number)) for n in range(8)]
        told = [notice for session in sessions for notice in session.result()]

        assert len(told) == 3
        assert not FailureGroup.objects.filter(pk=FailureGroup.FLOOD).exists()

        with transaction.atomic():
            [flood] = notices.take_overdue()

        assert (flood.kind, flood.group_count) == (NoticeKind.FLOOD, 37)


def count_a_failure(driver: Driver, place: int) -> Any:
    task = driver.row(breaks_at.enqueue(place))
    error = ErrorReport(class_path="OSError", message="", traceback="", origin=f"place_{place}")
    failed = Failed(task=task, error=error, is_final=True)
    with transaction.atomic():
        failures.count([failed])
    return failed.fingerprint


def flood_of(driver: Driver) -> Alert:
    """Have five causes fail six times in all, two of them held back; return what is told of it."""
    FailureGroup.objects.all().delete()
    fail(driver, *range(5))
    alone = {alert.group.origin for alert in heard}
    [first, _] = sorted({f"shop.places.place_{n}" for n in range(5)} - alone)
    fail(driver, int(first.rpartition("_")[2]))
    sweep(driver)
    return heard[-1]


class TestLetter:
    def test_says_how_many_since_when_and_names_the_largest(
        self, driver: Driver, settings: Any, mailoutbox: list[Any]
    ) -> None:
        settings.RETRYTASKS["ALERTS"] = [f"{HERE}.hear", f"{SINKS}.mail_admins"]
        settings.TIME_ZONE = "UTC"
        alert = flood_of(driver)

        letter = mailoutbox[-1]
        [page] = [text for text, kind in letter.alternatives if kind == "text/html"]
        url = f"{SITE}/admin/retrytasks/failuregroup/?failing=yes"
        assert re.fullmatch(r"\[Django\] 2 more failure groups in \d+ s", letter.subject)
        assert letter.body.splitlines() == [
            alert.subject,
            "",
            f"Reason: {REASON}",
            "Failure groups: 2",
            f"Failures: 3 since {alert.since:%Y-%m-%d %H:%M:%S} UTC",
            f"2 times: ConnectionError in {HERE}.breaks_at · {alert.groups[0].origin}",
            f"1 time: ConnectionError in {HERE}.breaks_at · {alert.groups[1].origin}",
            f"Failure groups: {url}",
        ]
        assert f'<a href="{url}"' in page
        assert f">{REASON}</dd>" in page

    def test_leads_to_the_groups_that_fail(self, driver: Driver, admin_client: Client) -> None:
        alert = flood_of(driver)

        page = admin_client.get(str(alert.group_url).removeprefix(SITE)).content.decode()

        assert page.count("ConnectionError · t.t.breaks_at") == 5

    def test_is_json_that_names_its_groups(self, driver: Driver) -> None:
        alert = flood_of(driver)

        told = json.loads(json.dumps(alert.as_dict()))

        assert (told["kind"], told["group_count"]) == ("FLOOD", 2)
        assert (told["count"], told["new_count"], told["told_at"]) == (3, 3, None)
        assert [group["name"] for group in told["groups"]] == [f"{HERE}.breaks_at"] * 2
        assert (told["group"]["kind"], told["group"]["message"]) == ("RULE", REASON)
        assert (told["task"], told["attempt"]) == (None, None)

    def test_goes_to_a_chat(self, driver: Driver, settings: Any) -> None:
        with receiving() as receiver:
            chat = {"sink": f"{SINKS}.webhook", "url": receiver.url(), "form": "text"}
            settings.RETRYTASKS["ALERTS"] = [f"{HERE}.hear", chat]
            alert = flood_of(driver)

        text = receiver.posted[-1].content["text"]
        assert text.startswith(f"{alert.subject}\nReason: {REASON}\nFailure groups: 2\n")

    def test_waits_in_the_queue_of_what_failed(self, driver: Driver) -> None:
        breaks_at.using(queue_name="emails").enqueue_many([(n,) for n in range(12)])
        driver.drain()
        sweep(driver)

        sent = Task.objects.filter(internal=True, name__endswith="send_alert").order_by("-pk")
        assert sent[0].queue_name == "emails"

    def test_leaves_out_a_group_deleted_meanwhile(self, driver: Driver) -> None:
        alert = flood_of(driver)
        notice = Notice(
            kind=NoticeKind.FLOOD,
            fingerprint=alert.group.pk,
            sample_id=None,
            count=3,
            new_count=3,
            since=alert.since,
            told_at=None,
            at=alert.at,
            group_count=2,
            groups=[group.pk for group in alert.groups],
        )
        FailureGroup.objects.filter(pk=alert.groups[0].pk).delete()

        assert [group.pk for group in Alert.of(notice, id="1").groups] == [alert.groups[1].pk]


class TestPage:
    def test_of_a_group_says_that_an_alert_about_many_told_of_it(
        self, driver: Driver, admin_client: Client
    ) -> None:
        alert = flood_of(driver)

        page = admin_client.get(f"/admin/retrytasks/failuregroup/{alert.groups[0].pk}/change/")

        told = "The last alert was about many groups, when the count was 2."
        to_come = "The next failure alerts at once, or later in an alert about many groups."
        assert f"{told} {to_come}" in page.content.decode()

    def test_of_the_flood_says_how_often_it_alerts(
        self, driver: Driver, admin_client: Client
    ) -> None:
        flood_of(driver)

        page = admin_client.get(f"/admin/retrytasks/failuregroup/{FailureGroup.FLOOD}/change/")

        assert "It alerts once in an ALERT_COOLDOWN at most." in page.content.decode()


def test_a_notice_stored_by_an_older_version_is_still_sent(driver: Driver) -> None:
    fail(driver, 1)
    alerts = Task.objects.filter(name__endswith="send_alert")
    [stored] = [task for task in alerts if task.args[0] == f"{HERE}.hear"]
    args = list(stored.args)
    for added in ("group_count", "groups"):
        args[1].pop(added)
    Task.objects.filter(pk=stored.pk).update(
        args=args, status=Status.PENDING, run_after=timezone.now(), finished_at=None
    )
    heard.clear()

    driver.drain()

    assert kinds() == {"FAILING": 1}
