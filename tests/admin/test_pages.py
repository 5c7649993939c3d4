"""The pages of a Task, of failure groups and of one group, through a browser's requests."""

from __future__ import annotations

import html
import re
import uuid
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import Permission, User
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.db.models import DateTimeField, ExpressionWrapper, Value
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import path

from django_retrytasks import lifecycle
from django_retrytasks.admin import TaskAdmin
from django_retrytasks.database import DatabaseNow
from django_retrytasks.lifecycle import groups
from django_retrytasks.models import Attempt, FailureGroup, Task
from tests.support import tasks
from tests.support.driver import Driver

pytestmark = pytest.mark.django_db

GROUPS = "/admin/retrytasks/failuregroup/"
TASKS = "/admin/retrytasks/task/"
GROUP = FailureGroup.Status
FOREIGN = "django_retrytasks/worker/attempt.py"


class LinkingTaskAdmin(TaskAdmin):
    def get_links(self, task: Task) -> Sequence[tuple[str, str]]:
        return [("Open <it>", f"https://logs.example/?a=1&q={task.pk}")]


own_site = admin.AdminSite(name="own")
own_site.register(Task, LinkingTaskAdmin)
urlpatterns = [path("own/", own_site.urls), path("admin/", admin.site.urls)]


def raw(client: Client, url: str) -> str:
    response = client.get(url)
    assert response.status_code == 200, response
    return response.content.decode()


def text_of(markup: str) -> str:
    # \s takes the no-break spaces of durations, too.
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", markup))).strip()


def shown(client: Client, url: str) -> str:
    """Return the text of a page's main part, as it reads."""
    return text_of(raw(client, url).partition('id="content"')[2])


def page_of(of: Any) -> str:
    return f"{TASKS}{of.pk if isinstance(of, Task) else of.id}/change/"


def timeline(page: str) -> str:
    return page.partition('<ol class="rt-timeline">')[2].partition("</ol>")[0]


def group_page() -> str:
    return f"{GROUPS}{FailureGroup.objects.get().pk}/change/"


def rows(client: Client) -> list[str]:
    """Return the markup of each row of the list of groups."""
    table = raw(client, GROUPS).partition('id="result_list"')[2].partition("</table>")[0]
    return table.split("<tr>")[2:]


def ago(**span: float) -> Any:
    moved = DatabaseNow() - Value(timedelta(**span))
    return ExpressionWrapper(moved, output_field=DateTimeField())


def fail(driver: Driver, count: int = 1, task: Any = tasks.fails_once_for_all) -> list[Any]:
    results = [task.enqueue() for _ in range(count)]
    driver.run_due()
    return results


def exhaust(driver: Driver, task: Any = tasks.always_fails) -> Any:
    result = task.enqueue()
    for _ in range(4):
        driver.attempt(result)
    return result


def log(of: Any, user: User, message: str) -> None:
    LogEntry.objects.create(
        user=user,
        content_type=ContentType.objects.get_for_model(of),
        object_id=str(of.pk),
        object_repr=str(of),
        action_flag=CHANGE,
        change_message=message,
    )


class TestTimeline:
    def test_tells_how_long_an_attempt_waited_and_ran(
        self, driver: Driver, admin_client: Client
    ) -> None:
        result = tasks.always_fails.enqueue()
        [attempt] = driver.attempts(driver.attempt(result))
        Attempt.objects.update(
            queued_at=attempt.started_at - timedelta(seconds=90),
            finished_at=attempt.started_at + timedelta(seconds=2.5),
        )

        text = shown(admin_client, page_of(result))

        assert f" Waited 90 s Run time 2.50 s Worker {attempt.worker} Queued " in text

    def test_a_clock_set_back_makes_no_negative_wait(
        self, driver: Driver, admin_client: Client
    ) -> None:
        result = tasks.always_fails.enqueue()
        [attempt] = driver.attempts(driver.attempt(result))
        Attempt.objects.update(queued_at=attempt.started_at + timedelta(seconds=90))

        assert " Waited 0.0 ms " in shown(admin_client, page_of(result))

    def test_shows_a_traceback_as_my_code_and_in_full(
        self, driver: Driver, admin_client: Client
    ) -> None:
        result = tasks.always_fails.enqueue()
        driver.attempt(result)

        page = raw(admin_client, page_of(result))
        own, full = (
            html.unescape(found)
            for found in re.findall(r'<pre class="rt-traceback"[^>]*>(.*?)</pre>', page, re.DOTALL)
        )

        [attempt] = driver.attempts(result)
        assert full == attempt.traceback
        assert FOREIGN in full
        assert FOREIGN not in own
        assert "tests/support/tasks.py" in own
        assert own.endswith("ConnectionError: no luck\n")
        assert re.findall(r"<details( open)?>\s*<summary>([^<]+)", timeline(page)) == [
            (" open", "My code"),
            ("", "Full traceback"),
        ]

    def test_opens_that_of_the_last_attempt_alone(
        self, driver: Driver, admin_client: Client
    ) -> None:
        result = tasks.always_fails.enqueue()
        driver.attempt(result)
        driver.attempt(result)

        first, second = timeline(raw(admin_client, page_of(result))).split("<li ")[1:]

        assert "<details open>" not in first
        assert second.count("<details open>") == 1

    def test_has_one_view_where_no_line_is_the_sites_own(
        self, driver: Driver, admin_client: Client
    ) -> None:
        result = tasks.always_fails.enqueue()
        driver.attempt(result)
        Attempt.objects.update(traceback="SyntaxError: no\n")

        text = shown(admin_client, page_of(result))

        assert " Traceback SyntaxError: no " in text
        assert "My code" not in text


class TestSchedule:
    @pytest.mark.parametrize(
        ("task", "sentences"),
        [
            (tasks.always_fails, ["1 5 s 5 s left", "2 10 s 15 s left", "3 20 s 35 s left"]),
            (tasks.echoes, ["1 2.5 to 5 s 5 s left"]),
            (tasks.echoes.using(max_retries=None), ["25 300 to 600 s ", "Retried for ever; the"]),
            (tasks.echoes.using(max_retries=26), ["The first 25 retries are shown."]),
            (tasks.fails_once_for_all, ["Schedule No retry follows a failure."]),
            (tasks.backs_off_by_its_errors, ["Its backoff is a function: it decides each wait"]),
            (
                tasks.echoes.using(retry_for=0.5),
                ["No retry begins later than 0.5 s after the first start."],
            ),
        ],
    )
    def test_is_that_of_the_policy_in_force(
        self, admin_client: Client, task: Any, sentences: list[str]
    ) -> None:
        text = shown(admin_client, page_of(task.enqueue()))

        assert [sentence for sentence in sentences if sentence not in text] == []

    def test_tells_which_retries_are_spent(self, driver: Driver, admin_client: Client) -> None:
        result = tasks.always_fails.enqueue()
        driver.attempt(result)

        text = shown(admin_client, page_of(result))

        assert "1 5 s 5 s spent 2 10 s 15 s left" in text

    def test_says_that_the_code_is_gone(self, admin_client: Client, settings: Any) -> None:
        settings.RETRYTASKS = {"POLICY": {"countdown": 7, "jitter": False}}
        result = tasks.always_fails.enqueue()
        Task.objects.filter(pk=result.id).update(name="gone.tasks.send")

        text = shown(admin_client, page_of(result))

        assert "1 7 s 7 s left" in text
        assert "Its code is not loaded here: this is the site's policy." in text

    def test_says_without_a_line_in_the_log_that_the_policy_is_not_valid(
        self, admin_client: Client, caplog: pytest.LogCaptureFixture
    ) -> None:
        result = tasks.always_fails.using(max_retries=1).enqueue()
        Task.objects.filter(pk=result.id).update(options={"countdwn": 1})
        caplog.clear()

        text = shown(admin_client, page_of(result))

        assert "Its policy is not valid any more: this is the default one." in text
        assert "Its code is not loaded here" not in text
        assert "1 2.5 to 5 s 5 s left" in text
        assert caplog.records == []


class TestWakeUp:
    def test_of_a_task_that_is_due_waits_for_a_cluster(self, admin_client: Client) -> None:
        text = shown(admin_client, page_of(tasks.succeeds.enqueue()))

        assert "Wake-up waits for the next look of a cluster " in text

    def test_of_a_retry_waits_until_it_is_due(self, driver: Driver, admin_client: Client) -> None:
        result = tasks.echoes.using(run_after=timedelta(seconds=60)).enqueue()

        text = shown(admin_client, page_of(result))

        assert re.search(r"Wake-up waits until [\d: -]{8,19} The row", text)

    def test_is_left_to_the_sweep_far_ahead(self, admin_client: Client) -> None:
        result = tasks.echoes.using(run_after=timedelta(days=1)).enqueue()

        text = shown(admin_client, page_of(result))

        assert "Wake-up none is noted: the sweep writes one in time" in text

    def test_there_is_none_once_final(self, driver: Driver, admin_client: Client) -> None:
        [result] = fail(driver)

        assert "Wake-up - The row" in shown(admin_client, page_of(result))


class TestTaskPage:
    def test_leads_to_its_failure_group(self, driver: Driver, admin_client: Client) -> None:
        [result] = fail(driver)

        page = raw(admin_client, page_of(result))

        name = "ValueError in tests.support.tasks.fails_once_for_all"
        assert f'<a href="{group_page()}">{name}</a>' in page

    def test_names_the_group_to_who_may_not_see_it(self, driver: Driver, client: Client) -> None:
        [result] = fail(driver)
        viewer = User.objects.create_user("viewer", is_staff=True)
        viewer.user_permissions.add(
            Permission.objects.get(codename="view_task", content_type__app_label="retrytasks")
        )
        client.force_login(viewer)

        page = raw(client, page_of(result))

        assert "Failure group: ValueError in tests.support.tasks.fails_once_for_all" in text_of(
            page
        )
        assert GROUPS not in page

    def test_tells_what_operators_did_the_latest_first(
        self, driver: Driver, admin_client: Client, admin_user: User
    ) -> None:
        [result, other] = fail(driver, 2)
        task = driver.row(result)
        log(task, admin_user, "Re-driven: <b>the server</b> is back")
        log(task, admin_user, "Discarded: not worth it")
        log(driver.row(other), admin_user, "of another Task")

        text = shown(admin_client, page_of(result))

        assert re.search(
            r"What operators did [\d: -]{19} admin Discarded: not worth it "
            r"[\d: -]{19} admin Re-driven: <b>the server</b> is back Policy",
            text,
        )
        assert "of another Task" not in text

    def test_without_actions_there_is_no_such_section(self, admin_client: Client) -> None:
        text = shown(admin_client, page_of(tasks.succeeds.enqueue()))

        assert "What operators did" not in text

    @pytest.mark.urls(__name__)
    def test_shows_the_links_of_a_subclass_beside_the_headline(
        self, driver: Driver, admin_client: Client
    ) -> None:
        [result] = fail(driver)

        page = raw(admin_client, f"/own/retrytasks/task/{result.id}/change/")

        url = f"https://logs.example/?a=1&amp;q={result.id}"
        assert f'<a href="{url}">Open &lt;it&gt;</a>' in page
        # That site has no page of failure groups.
        assert "Failure group: ValueError in " in text_of(page)
        assert "/failuregroup/" not in page

    def test_a_sites_template_may_fill_a_block(
        self, driver: Driver, admin_client: Client, settings: Any, tmp_path: Path
    ) -> None:
        [result] = fail(driver)
        for name, block in (("task", "rt_arguments"), ("failuregroup", "rt_sample")):
            template = tmp_path / "admin" / "retrytasks" / name / "change_form.html"
            template.parent.mkdir(parents=True)
            template.write_text(
                f'{{% extends "admin/retrytasks/{name}/change_form.html" %}}'
                f"{{% block {block} %}}Read the runbook.{{{{ block.super }}}}{{% endblock %}}"
            )
        settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [str(tmp_path)]}]

        assert "Read the runbook. Arguments" in shown(admin_client, page_of(result))
        assert "Read the runbook. Latest failure" in shown(admin_client, group_page())


class TestGroupList:
    def test_counts_what_failed_of_late(self, driver: Driver, admin_client: Client) -> None:
        spans: tuple[dict[str, float], ...] = (
            {"minutes": 30},
            {"hours": 3},
            {"hours": 3.1},
            {"days": 3},
            {"days": 8},
        )
        for result, span in zip(fail(driver, 5), spans, strict=True):
            Task.objects.filter(pk=result.id).update(finished_at=ago(**span))

        [row] = rows(admin_client)

        assert " 1 / 3 / 4 " in text_of(row)
        assert 'aria-label="3 in 24 h, at most 2 in an hour"' in row
        # The bars of the fourth hour from the last, and of the last.
        assert re.findall(r'<rect x="(\d+)" y="(\d+)" width="3" height="(\d+)"', row) == [
            ("80", "0", "20"),
            ("92", "10", "10"),
        ]

    def test_leaves_out_what_was_redriven_or_discarded(
        self, driver: Driver, admin_client: Client
    ) -> None:
        redriven, discarded, _ = fail(driver, 3)
        lifecycle.redrive([uuid.UUID(redriven.id)])
        lifecycle.discard([uuid.UUID(discarded.id)])

        [row] = rows(admin_client)

        assert " 1 / 1 / 1 " in text_of(row)

    def test_a_rule_counts_no_tasks(self, admin_client: Client) -> None:
        FailureGroup.objects.create(
            fingerprint=uuid.uuid4(), kind=FailureGroup.Kind.RULE, message="too late",
            first_seen_at=ago(hours=2), last_seen_at=ago(), last_failed_at=ago(),
            failure_count=3, streak_count=3, streak_started_at=ago(hours=2),
        )  # fmt: skip

        [row] = rows(admin_client)

        assert "Open too late - 3 0 s ago first: 2 h ago" in text_of(row)
        assert "<svg" not in row

    def test_has_the_cause_with_its_origin_beneath(
        self, driver: Driver, admin_client: Client
    ) -> None:
        fail(driver)

        [row] = rows(admin_client)

        cause = "ValueError · t.s.t.fails_once_for_all"
        origin = 'tests.support.tasks.fails_once_for_all: raise ValueError("not today")'
        assert f"{cause} {origin}" in text_of(row)

    @pytest.mark.parametrize(
        ("values", "status"),
        [
            ({}, "Open"),
            ({"streak_count": 0}, "Quiet"),
            ({"status": GROUP.MUTED}, "Muted"),
            ({"status": GROUP.RESOLVED, "streak_count": 0}, "Resolved"),
            ({"regressed_at": ago(hours=1), "streak_started_at": ago(hours=1)}, "Regressed"),
        ],
    )
    def test_tells_the_status(
        self, driver: Driver, admin_client: Client, values: dict[str, Any], status: str
    ) -> None:
        fail(driver)
        FailureGroup.objects.update(**values)
        if "regressed_at" in values:
            [group] = FailureGroup.objects.all()
            FailureGroup.objects.update(regressed_at=group.streak_started_at)

        [row] = rows(admin_client)

        assert f">{status}</span>" in row

    def test_many_groups_cost_as_many_queries_as_one(
        self, driver: Driver, admin_client: Client
    ) -> None:
        fail(driver)
        with CaptureQueriesContext(connection) as one:
            assert len(rows(admin_client)) == 1
        fail(driver, 1, tasks.exits)
        fail(driver, 1, tasks.returns_unstorable)

        with CaptureQueriesContext(connection) as many:
            assert len(rows(admin_client)) == 3

        assert len(many) == len(one)

    def test_no_style_or_script_is_inline(self, driver: Driver, admin_client: Client) -> None:
        fail(driver)

        for page in (raw(admin_client, GROUPS), raw(admin_client, group_page())):
            assert 'href="/static/retrytasks/admin.css"' in page
            assert not re.search(r"<style|\sstyle=|<script(?![^>]*\ssrc=)|\son\w+=", page)


class TestGroupPage:
    @pytest.mark.parametrize(
        ("values", "sentence"),
        [
            ({}, "Open 3 failures in 12 min, the last 5 min ago"),
            ({"streak_count": 1}, "Open 1 failure, 5 min ago"),
            (
                {"streak_count": 0, "recovered_at": ago(minutes=3)},
                "Quiet Recovered 3 min ago, after 3 failures",
            ),
            ({"streak_count": 0}, "Quiet 3 failures, the last 5 min ago"),
            (
                {"status": GROUP.RESOLVED, "streak_count": 0, "resolved_at": ago(minutes=4)},
                "Resolved 4 min ago, after 3 failures",
            ),
            (
                {"streak_count": 0, "last_failed_at": None, "last_seen_at": ago(minutes=4)},
                "No Task failed for good; failed attempts: 3, the last 4 min ago",
            ),
            (
                {"kind": FailureGroup.Kind.RULE},
                "3 breaches in 12 min, the last 5 min ago",
            ),
        ],
    )
    def test_its_headline_says_how_many_since_when_and_whether_it_goes_on(
        self, driver: Driver, admin_client: Client, values: dict[str, Any], sentence: str
    ) -> None:
        fail(driver, 3)
        times = {"streak_started_at": ago(minutes=17), "last_failed_at": ago(minutes=5)}
        FailureGroup.objects.update(**{**times, **values})

        text = shown(admin_client, group_page())

        assert sentence in text

    @pytest.mark.parametrize(
        ("values", "sentences"),
        [
            (
                {},
                r"The last alert was 5 min ago, when the count was 3\. It alerts next at a count "
                r"of 10, or if it fails after [\d: -]{8,19}\. ",
            ),
            (
                {"streak_count": 9},
                r"the count was 3\. It alerts next at a count of 10, or at [\d: -]{8,19}\. ",
            ),
            ({"streak_count": 10}, "The next alert is due: the sweep sends it within a minute"),
            ({"alerted_at": ago(hours=2)}, "2 h ago, .* The next failure alerts at once"),
            (
                {"alerted_at": None, "alerted_count": 0},
                "No alert has told of these failures. The next alert is due",
            ),
            ({"streak_count": 0, "alerted_count": 0, "alerted_at": None}, "failure alerts at once"),
            ({"status": GROUP.MUTED}, "Muted: it alerts no more until it is reopened"),
            (
                {"status": GROUP.MUTED, "muted_until": ago(hours=-1)},
                r"Muted: it alerts no more until [\d: -]{8,19}\.",
            ),
            ({"status": GROUP.RESOLVED}, "the next failure opens it again, and alerts"),
        ],
    )
    def test_says_when_it_alerted_last_and_when_it_does_next(
        self, driver: Driver, admin_client: Client, values: dict[str, Any], sentences: str
    ) -> None:
        fail(driver, 3)
        times = {"streak_started_at": ago(hours=3), "alerted_at": ago(minutes=5)}
        told = {"alerted_count": 3, **times}
        FailureGroup.objects.update(**{**told, **values})

        text = shown(admin_client, group_page())

        assert re.search(sentences, text)

    def test_has_the_counts_and_leads_to_its_tasks(
        self, driver: Driver, admin_client: Client
    ) -> None:
        results = fail(driver, 3)
        Task.objects.filter(pk=results[0].id).update(finished_at=ago(hours=3))

        page = raw(admin_client, group_page())

        assert "in 1 h 2 in 24 h 3 in 7 d 3 each of the last 24 hours" in text_of(page)
        [group] = FailureGroup.objects.all()
        assert f'href="{TASKS}?failure_group={group.pk}"' in page

    def test_shows_the_sample_as_my_code_and_in_full(
        self, driver: Driver, admin_client: Client
    ) -> None:
        exhaust(driver)

        text = shown(admin_client, group_page())

        own, _, full = text.partition(" Full traceback ")
        assert "attempt 4: max_retries reached (3 retries) My code Traceback" in own
        assert FOREIGN not in own
        assert FOREIGN in full

    def test_tells_what_operators_did(
        self, driver: Driver, admin_client: Client, admin_user: User
    ) -> None:
        fail(driver)
        [group] = FailureGroup.objects.all()
        groups.mute([group.pk])
        log(group, admin_user, "Muted: known")

        assert "admin Muted: known " in shown(admin_client, group_page())
