"""The list of Tasks, through a browser's requests."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import path

from django_retrytasks import lifecycle
from django_retrytasks.admin import TaskAdmin
from django_retrytasks.models import Status, Task
from django_retrytasks.operators import selections
from tests.admin.pages import LIST, page_of, raw, rows, says, shown
from tests.admin.stored import fail_thrice, put, seconds_from_now
from tests.support import tasks
from tests.support.driver import Driver

pytestmark = pytest.mark.django_db
own_site = admin.AdminSite(name="own")
own_site.register(Task, TaskAdmin)
urlpatterns = [path("own/", own_site.urls)]


def queues(client: Client, query: str = "") -> list[str]:
    """Return the choices of the filter by queue, "All" left out."""
    choices = raw(client, LIST + query).partition('data-filter-title="queue"')[2]
    return re.findall(r'"\?queue_name=(\w+)"', choices.partition("</details>")[0])


class TestList:
    def test_a_row_tells_status_name_time_attempts_error_arguments_duration_and_queue(
        self, driver: Driver, admin_client: Client
    ) -> None:
        result = tasks.always_fails.enqueue(message="größe")
        for _ in range(3):
            driver.attempt(result)
        last = driver.attempts(result)[-1]
        started = last.finished_at - timedelta(seconds=2.5)
        put(result, run_after=seconds_from_now(600), last_attempted_at=started)

        assert rows(admin_client) == [
            "Retrying t.s.t.always_fails next retry in 10 min 3 / 4 ConnectionError "
            'message="größe" 2.50 s default'
        ]

    def test_a_running_task_lasts_since_its_start(
        self, driver: Driver, admin_client: Client
    ) -> None:
        put(driver.task_in(Status.RUNNING), last_attempted_at=seconds_from_now(-600))

        assert rows(admin_client)[0].endswith(" value=1 10 min default")

    def test_a_task_that_never_started_has_no_duration(self, admin_client: Client) -> None:
        tasks.succeeds.enqueue()

        assert rows(admin_client)[0].endswith(" 0 / 4 - default")

    def test_arguments_are_cut_redacted_and_not_read_where_they_are_long(
        self, admin_client: Client, settings: Any
    ) -> None:
        settings.RETRYTASKS = {"REDACT": ["^token$"]}
        tasks.echoes.enqueue("y" * 5000)
        tasks.echoes.enqueue("x" * 500)
        tasks.echoes.enqueue({"token": "hunter2"})

        long, cut, secret = sorted(
            re.findall(r" 0 / 4 (.*) - default$", row)[0] for row in rows(admin_client)
        )

        assert secret == 'value={"token": "********************"}'
        assert re.fullmatch(r'value="x{72}…', cut)
        assert long == "too long: see its page"

    @pytest.mark.parametrize(
        ("status", "values", "words"),
        [
            (Status.PENDING, {"run_after": seconds_from_now(3 * 86_400)}, "starts in 3 d"),
            (Status.PENDING, {"run_after": seconds_from_now(-300)}, "due for 5 min"),
            (Status.RETRYING, {"run_after": seconds_from_now(-300)}, "due for 5 min"),
            (Status.RUNNING, {"last_attempted_at": None}, "claimed 0 s ago"),
            (Status.RUNNING, {"run_after": seconds_from_now(-300)}, "lease over for 5 min"),
            (Status.RUNNING, {"progress": {"current": 1200}}, "running for 0 s 1,200"),
            (Status.SUCCEEDED, {"finished_at": seconds_from_now(-7200)}, "succeeded 2 h ago"),
            (Status.FAILED, {"finished_at": seconds_from_now(-300)}, "failed 5 min ago"),
            (Status.DISCARDED, {"finished_at": seconds_from_now(-300)}, "discarded 5 min ago"),
            (Status.DISCARDED, {"stop_reason": "EXPIRED"}, "expired 0 s ago"),
        ],
    )
    def test_when_is_told_in_words_that_fit_the_status(
        self,
        driver: Driver,
        admin_client: Client,
        status: Status,
        values: dict[str, Any],
        words: str,
    ) -> None:
        put(driver.task_in(status), **values)

        assert says(rows(admin_client)[0], f"{status.label} t.s.t.echoes {words} ")

    def test_a_task_known_to_have_started_is_running(
        self, driver: Driver, admin_client: Client
    ) -> None:
        start = seconds_from_now(-600)
        put(driver.task_in(Status.RUNNING), claimed_at=start, last_attempted_at=start)

        assert "running for 10 min" in rows(admin_client)[0]

    def test_the_exact_time_in_utc_and_full_paths_are_in_titles(
        self, driver: Driver, admin_client: Client
    ) -> None:
        result = fail_thrice(driver)
        put(result, run_after=datetime(2126, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC))

        page = raw(admin_client, LIST)

        assert 'title="2126-01-02 03:04:05.678 UTC"' in page
        assert 'title="tests.support.tasks.always_fails"' in page
        assert 'title="builtins.ConnectionError"' in page

    def test_attempts_go_on_counting_through_a_redrive(
        self, driver: Driver, admin_client: Client
    ) -> None:
        result = fail_thrice(driver)
        task = driver.attempt(result)
        before = rows(admin_client)[0]

        lifecycle.redrive([task.pk])

        assert " 4 / 4 " in before
        assert " 4 / 8 " in rows(admin_client)[0]

    def test_a_task_retried_for_ever_has_no_last_attempt(
        self, driver: Driver, admin_client: Client
    ) -> None:
        put(driver.task_in(Status.PENDING), max_retries=None)

        assert " 0 / ∞ " in rows(admin_client)[0]

    def test_the_newest_come_first(self, admin_client: Client) -> None:
        tasks.succeeds.enqueue()
        put(tasks.echoes.enqueue(), id="ffffffff-ffff-7fff-bfff-ffffffffffff")

        assert [row.split()[1] for row in rows(admin_client)] == ["t.s.t.echoes", "t.s.t.succeeds"]

    def test_internal_tasks_are_hidden_unless_asked_for(
        self, driver: Driver, admin_client: Client
    ) -> None:
        driver.task_in(Status.FAILED)

        names = {
            query: sorted(row.split()[1] for row in rows(admin_client, query))
            for query in (
                "",
                "?internal=no",
                "?internal=nonsense",
                "?internal=yes",
                "?internal=all",
            )
        }

        own, internal = ["t.s.t.echoes"], ["d.a.a.announce_failures"]
        hidden = {"": own, "?internal=no": own, "?internal=nonsense": own}
        assert {query: set(found) for query, found in names.items()} == {
            **{query: set(found) for query, found in hidden.items()},
            "?internal=yes": set(internal),
            "?internal=all": {*own, *internal},
        }

    def test_filters_by_status(self, driver: Driver, admin_client: Client) -> None:
        driver.task_in(Status.SUCCEEDED)
        driver.task_in(Status.PENDING)

        assert [row.split()[0] for row in rows(admin_client, "?status=SUCCEEDED")] == ["Succeeded"]

    def test_filters_by_a_queue_with_unfinished_tasks(self, admin_client: Client) -> None:
        tasks.succeeds.enqueue()
        tasks.succeeds.using(queue_name="mail").enqueue()
        put(tasks.succeeds.using(queue_name="mail").enqueue(), priority=5)

        assert queues(admin_client) == ["default", "mail"]
        assert len(rows(admin_client, "?queue_name=mail")) == 2

    def test_offers_the_queue_asked_for_though_nothing_waits_in_it(
        self, admin_client: Client
    ) -> None:
        assert queues(admin_client, "?queue_name=old") == ["old"]

    def test_finds_one_task_by_its_id(self, admin_client: Client) -> None:
        wanted = tasks.echoes.enqueue()
        tasks.succeeds.enqueue()

        for text in (wanted.id, f" {wanted.id.upper()} ", wanted.id.replace("-", "")):
            assert [row.split()[1] for row in rows(admin_client, f"?q={text}")] == ["t.s.t.echoes"]

    @pytest.mark.parametrize("functions", [500, 1])
    @pytest.mark.parametrize("text", ["tests.support.tasks.ech", "tasks.echo", "ech"])
    def test_finds_tasks_by_how_the_path_or_a_part_of_it_begins(
        self, admin_client: Client, text: str, functions: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(selections, "FUNCTIONS", functions)
        tasks.echoes.enqueue()
        tasks.succeeds.enqueue()

        assert [row.split()[1] for row in rows(admin_client, f"?q={text}")] == ["t.s.t.echoes"]

    @pytest.mark.parametrize("text", ["hoes", "tests.support.tasks.echoes.more", "e%25s", "0190"])
    def test_finds_nothing_by_the_middle_of_a_name(self, admin_client: Client, text: str) -> None:
        tasks.echoes.enqueue()

        assert rows(admin_client, f"?q={text}") == []

    def test_many_tasks_cost_as_many_queries_as_one(
        self, driver: Driver, admin_client: Client
    ) -> None:
        fail_thrice(driver)
        rows(admin_client)  # what a process asks for once
        with CaptureQueriesContext(connection) as one:
            rows(admin_client)
        for _ in range(5):
            fail_thrice(driver)

        with CaptureQueriesContext(connection) as many:
            assert len(rows(admin_client)) == 6

        assert len(many) == len(one)

    def test_reads_no_column_that_may_be_big(self, driver: Driver, admin_client: Client) -> None:
        fail_thrice(driver)

        with CaptureQueriesContext(connection) as queries:
            rows(admin_client)

        # django-q2's Schedules have arguments, too; they are few.
        sql = [one["sql"] for one in queries if "django_q_schedule" not in one["sql"]]
        assert not re.search(r"\b(options|return_value|traceback)\b", " ".join(sql))
        # They are read by key, and only where they are short.
        [read] = [one for one in sql if re.search(r"\bk?w?args\b", one)]
        assert " <= 4000" in read
        assert "exception_class_path" in read
        assert " IN (" in read


class TestPermission:
    def test_nothing_can_be_added_changed_or_deleted(self, admin_client: Client) -> None:
        result = tasks.succeeds.enqueue()

        answers = [
            admin_client.get(f"{LIST}add/"),
            admin_client.post(page_of(result), {"name": "other"}),
            admin_client.post(page_of(result, "delete"), {"post": "yes"}),
        ]

        assert [answer.status_code for answer in answers] == [403, 403, 403]
        assert Task.objects.get(pk=result.id).name == "tests.support.tasks.succeeds"

    def test_staff_needs_the_permission_to_view(self, client: Client) -> None:
        result = tasks.succeeds.enqueue()
        user = User.objects.create_user("ann", is_staff=True)
        client.force_login(user)
        before = [client.get(url).status_code for url in (LIST, page_of(result))]

        user.user_permissions.add(
            Permission.objects.get(codename="view_task", content_type__app_label="retrytasks")
        )

        assert before == [403, 403]
        assert [client.get(url).status_code for url in (LIST, page_of(result))] == [200, 200]

    @pytest.mark.urls(__name__)
    def test_a_site_with_its_own_admin_site_can_register_it(
        self, driver: Driver, admin_client: Client
    ) -> None:
        result = fail_thrice(driver)

        assert "/own/retrytasks/task/" in raw(admin_client, "/own/retrytasks/task/")
        assert "Attempt 3 of 4 failed" in shown(
            admin_client, f"/own/retrytasks/task/{result.id}/change/"
        )
