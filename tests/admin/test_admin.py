"""The admin, through a browser's requests."""

from __future__ import annotations

import html
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.db.models import DateTimeField, ExpressionWrapper, Value
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import path

from django_retrytasks import lifecycle
from django_retrytasks.admin import TaskAdmin, changelist, overview
from django_retrytasks.admin.filters import selection_of
from django_retrytasks.database import DatabaseNow
from django_retrytasks.lifecycle import pauses, tallies
from django_retrytasks.models import Attempt, FailureGroup, Status, Task
from django_retrytasks.operators import selections
from django_retrytasks.operators.selections import as_of_now
from django_retrytasks.values.ids import uuid7
from tests.support import tasks
from tests.support.driver import Driver

pytestmark = pytest.mark.django_db

LIST = "/admin/retrytasks/task/"
SCRIPT = "<script>alert(1)</script>"

own_site = admin.AdminSite(name="own")
own_site.register(Task, TaskAdmin)
urlpatterns = [path("own/", own_site.urls)]


def page_of(of: Any, verb: str = "change") -> str:
    return f"{LIST}{of.pk if isinstance(of, Task) else of.id}/{verb}/"


def raw(client: Client, url: str) -> str:
    response = client.get(url)
    assert response.status_code == 200, response
    return response.content.decode()


def shown(client: Client, url: str) -> str:
    """Return the text of a page's main part, as it reads."""
    main = raw(client, url).partition('id="content"')[2]
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", main)))


def rows(client: Client, query: str = "") -> list[str]:
    """Return the text of each row of the list."""
    table = raw(client, LIST + query).partition('id="result_list"')[2].partition("</table>")[0]
    cells = [re.sub(r"<[^>]+>", " ", row) for row in table.split("<tr>")[2:]]
    return [re.sub(r"\s+", " ", html.unescape(row)).strip() for row in cells]


def queues(client: Client, query: str = "") -> list[str]:
    """Return the choices of the filter by queue, "All" left out."""
    choices = raw(client, LIST + query).partition('data-filter-title="queue"')[2]
    return re.findall(r'"\?queue_name=(\w+)"', choices.partition("</details>")[0])


def put(of: Any, **values: Any) -> None:
    pk = of.pk if isinstance(of, Task) else of.id
    assert Task.objects.filter(pk=pk).update(**values) == 1


def seconds_from_now(seconds: float) -> Any:
    moved = DatabaseNow() + Value(timedelta(seconds=seconds))
    return ExpressionWrapper(moved, output_field=DateTimeField())


def id_of_hours_ago(hours: float) -> Any:
    at = datetime.now(UTC) - timedelta(hours=hours)
    return uuid7(int(at.timestamp() * 1000), bytes(10))


def fail_thrice(driver: Driver) -> Any:
    result = tasks.always_fails.enqueue()
    for _ in range(3):
        driver.attempt(result)
    return result


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
        assert long == "many: see its page"

    @pytest.mark.parametrize(
        ("status", "values", "words"),
        [
            (Status.PENDING, {"run_after": seconds_from_now(3 * 86_400)}, "starts in 3 d"),
            (Status.PENDING, {"run_after": seconds_from_now(-300)}, "due for 5 min"),
            (Status.RETRYING, {"run_after": seconds_from_now(-300)}, "due for 5 min"),
            (Status.RUNNING, {"last_attempted_at": None}, "claimed 0 s ago"),
            (Status.RUNNING, {"run_after": seconds_from_now(-300)}, "lease over for 5 min"),
            (Status.SUCCEEDED, {"finished_at": seconds_from_now(-7200)}, "succeeded 2 h ago"),
            (Status.FAILED, {"finished_at": seconds_from_now(-300)}, "failed 5 min ago"),
            (Status.DISCARDED, {"finished_at": seconds_from_now(-300)}, "discarded 5 min ago"),
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

        assert f"{status.label} t.s.t.echoes {words} " in rows(admin_client)[0]

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


class TestSelection:
    """What the URL of the list asks for, and what it says of it to others."""

    def names(self, client: Client, query: str) -> list[str]:
        return sorted(row.split()[1] for row in rows(client, query))

    def test_filters_by_name_error_and_failure_group(
        self, driver: Driver, admin_client: Client
    ) -> None:
        tasks.succeeds.enqueue()
        tasks.fails_once_for_all.enqueue()
        tasks.discards.enqueue()
        driver.run_due()
        group = FailureGroup.objects.get()

        for query in (
            "?name=tests.support.tasks.fails_once_for_all",
            f"?error={group.exception_class_path}",
            f"?failure_group={group.pk}",
        ):
            assert self.names(admin_client, query) == ["t.s.t.fails_once_for_all"]

    def test_filters_by_whether_it_was_retried(self, driver: Driver, admin_client: Client) -> None:
        fail_thrice(driver)
        tasks.succeeds.enqueue()

        assert self.names(admin_client, "?retried=yes") == ["t.s.t.always_fails"]
        assert self.names(admin_client, "?retried=no") == ["t.s.t.succeeds"]

    def test_filters_by_how_long_it_has_been_due(self, admin_client: Client) -> None:
        put(tasks.succeeds.enqueue(), run_after=seconds_from_now(-301))
        put(tasks.echoes.enqueue(), run_after=seconds_from_now(-200))

        assert self.names(admin_client, "?stuck=yes") == ["t.s.t.succeeds"]

    @pytest.mark.parametrize(("within", "most"), [("hour", 1), ("day", 24), ("week", 168)])
    def test_filters_by_when_it_was_enqueued(
        self, admin_client: Client, within: str, most: int
    ) -> None:
        put(tasks.succeeds.enqueue(), id=id_of_hours_ago(most - 0.01))
        put(tasks.echoes.enqueue(), id=id_of_hours_ago(most + 0.01))
        since = datetime.now(UTC) - timedelta(hours=most)

        assert self.names(admin_client, f"?within={within}") == ["t.s.t.succeeds"]
        assert self.names(admin_client, f"?since={since:%Y-%m-%dT%H:%M:%SZ}") == ["t.s.t.succeeds"]

    def test_several_filters_and_a_search_hold_together(self, admin_client: Client) -> None:
        tasks.succeeds.enqueue()
        tasks.succeeds.using(queue_name="mail").enqueue()
        tasks.echoes.using(queue_name="mail").enqueue(1)

        query = "?queue_name=mail&status=PENDING&q=succ"
        assert self.names(admin_client, query) == ["t.s.t.succeeds"]

    @pytest.mark.parametrize(
        "query",
        [
            "status=DONE",
            "failure_group=7",
            "within=year",
            "since=monday",
            "retried=maybe",
            "stuck=no",
        ],
    )
    def test_what_cannot_be_is_refused_as_the_admin_does(
        self, admin_client: Client, query: str
    ) -> None:
        response = admin_client.get(f"{LIST}?{query}")

        assert response.status_code == 302
        assert response["Location"] == f"{LIST}?e=1"

    def test_offers_names_errors_and_shows_a_failure_group_asked_for(
        self, driver: Driver, admin_client: Client
    ) -> None:
        tasks.fails_once_for_all.enqueue()
        driver.run_due()
        group = FailureGroup.objects.get()

        plain = raw(admin_client, LIST)
        asked = raw(admin_client, f"{LIST}?failure_group={group.pk}")

        assert '"?name=tests.support.tasks.fails_once_for_all"' in plain
        assert '"?name=django_retrytasks.' not in plain
        assert f'"?error={group.exception_class_path}"' in plain
        assert 'data-filter-title="failure group"' not in plain
        assert 'data-filter-title="failure group"' in asked
        assert html.escape(str(group)) in asked

    @pytest.mark.parametrize(
        ("query", "selection"),
        [
            ("", {}),
            ("?status=FAILED&p=2&e=1&chart=hour&name=", {"status": "FAILED"}),
            ("?q=+ech+&internal=all", {"search": "ech", "internal": "all"}),
        ],
    )
    def test_a_url_is_a_selection(self, query: str, selection: dict[str, str]) -> None:
        assert selection_of(RequestFactory().get(LIST + query)) == selection

    def test_a_url_that_says_more_is_no_selection(self) -> None:
        with pytest.raises(ValueError, match="no selection can say priority__gt: filter by"):
            selection_of(RequestFactory().get(f"{LIST}?priority__gt=3&status=FAILED"))

    def test_a_time_window_stays_where_it_is_once_it_is_stored(self) -> None:
        before = datetime.now(UTC) - timedelta(hours=1)
        fixed = as_of_now({"within": "hour", "status": "FAILED"})
        later, earlier = before + timedelta(minutes=5), before - timedelta(minutes=5)

        assert set(fixed) == {"since", "status"}
        assert before <= datetime.fromisoformat(fixed["since"]) < before + timedelta(minutes=1)
        for since, kept in ((later, True), (earlier, False)):
            told = as_of_now({"within": "hour", "since": since.isoformat()})["since"]
            assert (told == since.isoformat()) == kept


class TestCount:
    def test_counts_and_pages_no_further_than_a_limit_and_says_so(
        self, admin_client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(changelist, "COUNT_LIMIT", 2)
        monkeypatch.setattr(TaskAdmin, "list_per_page", 1)
        tasks.succeeds.enqueue_many([()] * 2)
        exact = raw(admin_client, LIST)

        tasks.succeeds.enqueue()

        capped = raw(admin_client, LIST)
        assert "There are more than" not in exact
        assert "There are more than 2: only the first 2 can be paged through." in capped
        assert f"{LIST}?e=1" in admin_client.get(f"{LIST}?p=3")["Location"]

    def test_no_query_counts_without_a_limit(self, driver: Driver, admin_client: Client) -> None:
        fail_thrice(driver)

        with CaptureQueriesContext(connection) as queries:
            raw(admin_client, LIST)

        counts = [q["sql"] for q in queries if "COUNT(" in q["sql"]]
        grouped_or_running = re.compile(r"GROUP BY|= 'RUNNING'")
        assert len(counts) > 3
        assert all(" LIMIT " in sql or grouped_or_running.search(sql) for sql in counts), counts


class TestOverview:
    def numbers(self, client: Client) -> dict[str, str]:
        listed = raw(client, LIST).partition('class="rt-numbers"')[2].partition("</dl>")[0]
        found = re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", listed)
        return {label: html.unescape(re.sub(r"<[^>]+>", "", value)) for label, value in found}

    def chart(self, client: Client, query: str = "") -> list[list[str]]:
        """Return the rows of the table behind the chart."""
        table = raw(client, LIST + query).partition('<table class="rt-ended-table">')[2]
        body = table.partition("<tbody>")[2].partition("</tbody>")[0]
        return [re.findall(r">(\d+)</td>", row) for row in body.split("<tr>")[1:]]

    def banners(self, client: Client) -> list[str]:
        return re.findall(r'<p class="rt-banner [\w-]+">(.*?)</p>', raw(client, LIST))

    def test_tells_the_numbers_that_matter(self, driver: Driver, admin_client: Client) -> None:
        put(driver.task_in(Status.PENDING), run_after=seconds_from_now(-300))
        driver.task_in(Status.PENDING)
        put(driver.task_in(Status.RUNNING), claimed_at=seconds_from_now(-30))
        driver.task_in(Status.RETRYING)
        driver.task_in(Status.FAILED)
        put(driver.task_in(Status.FAILED), finished_at=seconds_from_now(-90_000))
        Task.objects.filter(internal=True).delete()
        Task.objects.filter(status=Status.FAILED).update(claimed_at=seconds_from_now(-30))

        assert self.numbers(admin_client) == {
            "Due now": "2",
            "Oldest due": "5\xa0min",
            "Running": "1",
            "Retrying": "1",
            "Failed in 24 h": "1",
            "Last claim": "30\xa0s ago",
        }

    def test_an_empty_site_has_an_overview(self, admin_client: Client) -> None:
        assert self.numbers(admin_client)["Last claim"] == "never"
        assert self.banners(admin_client) == []
        assert self.chart(admin_client) == []

    def test_the_chart_counts_what_ended_in_each_hour_or_minute(
        self, driver: Driver, admin_client: Client
    ) -> None:
        at_once, retried, failed = (driver.task_in(Status.SUCCEEDED) for _ in range(3))
        put(at_once, finished_at=seconds_from_now(-7200))
        put(retried, finished_at=seconds_from_now(-7200), attempt_count=2)
        put(failed, status=Status.FAILED)
        put(driver.task_in(Status.SUCCEEDED), finished_at=seconds_from_now(-90_000))
        put(driver.task_in(Status.SUCCEEDED), internal=True)

        assert self.chart(admin_client) == [["1", "1", "0"], ["0", "0", "1"]]
        assert self.chart(admin_client, "?chart=hour") == [["0", "0", "1"]]
        assert self.chart(admin_client, "?chart=nonsense") == self.chart(admin_client)
        assert raw(admin_client, LIST).count("<rect ") == 3

    def test_the_chart_tells_what_the_sweep_has_counted_though_it_is_pruned(
        self, driver: Driver, admin_client: Client
    ) -> None:
        put(driver.task_in(Status.FAILED), finished_at=seconds_from_now(-7200))
        driver.task_in(Status.SUCCEEDED)
        tallies.take()
        Task.objects.filter(status=Status.FAILED).delete()

        assert self.chart(admin_client) == [["0", "0", "1"], ["1", "0", "0"]]

    def test_the_chart_says_until_when_some_is_not_counted(
        self, driver: Driver, admin_client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(overview, "COUNT_LIMIT", 1)
        for hours in (1, 2, 3):
            put(driver.task_in(Status.SUCCEEDED), finished_at=seconds_from_now(-3600 * hours))

        assert len(self.chart(admin_client)) == 2
        assert "that which the sweep has not counted yet is left out" in raw(admin_client, LIST)
        tallies.take()
        assert len(self.chart(admin_client)) == 3
        assert "that which the sweep" not in raw(admin_client, LIST)

    def test_the_latest_to_end_comes_first_where_all_have_ended(
        self, driver: Driver, admin_client: Client
    ) -> None:
        first, second = (driver.task_in(Status.FAILED) for _ in range(2))
        put(first, finished_at=seconds_from_now(-60), queue_name="first")
        put(second, finished_at=seconds_from_now(-120), queue_name="second")

        ended, enqueued = rows(admin_client, "?status=FAILED"), rows(admin_client)
        assert [row.split()[-1] for row in ended] == ["first", "second"]
        assert [row.split()[-1] for row in enqueued] == ["second", "first"]

    def test_says_when_tasks_are_due_and_nobody_claims(
        self, driver: Driver, admin_client: Client
    ) -> None:
        waits = driver.task_in(Status.PENDING)
        put(waits, run_after=seconds_from_now(-30))
        fresh = self.banners(admin_client)
        put(waits, run_after=seconds_from_now(-300))
        idle = self.banners(admin_client)
        runs = driver.task_in(Status.RUNNING)
        claims = self.banners(admin_client)
        put(runs, claimed_at=seconds_from_now(-300))

        assert [fresh, claims] == [[], []]
        assert idle == [
            "Tasks have been due for 5\xa0min and no worker claims: is qcluster running?"
        ]
        assert self.banners(admin_client) == [
            "Tasks have been due for 5\xa0min: all workers are busy, or none claims."
        ]

    def test_says_what_is_paused_by_whom_and_why(self, admin_client: Client) -> None:
        pauses.pause(queue_name="mail", by="ann", reason="<bounces>")
        pauses.pause(name="tests.support.tasks.echoes")
        put(tasks.succeeds.using(queue_name="mail").enqueue(), run_after=seconds_from_now(-300))

        assert self.banners(admin_client) == [
            "The queue mail is paused (ann): &lt;bounces&gt;",
            "The function tests.support.tasks.echoes is paused",
        ]
        assert self.numbers(admin_client)["Due now"] == "0"

    def test_costs_few_queries(self, driver: Driver, admin_client: Client) -> None:
        fail_thrice(driver)
        raw(admin_client, LIST)

        with CaptureQueriesContext(connection) as queries:
            raw(admin_client, LIST)

        assert len(queries) <= 32, [query["sql"][:150] for query in queries]


class TestPage:
    def test_what_happens_next_comes_first(self, driver: Driver, admin_client: Client) -> None:
        result = fail_thrice(driver)
        put(result, run_after=seconds_from_now(600))

        text = shown(admin_client, page_of(result))

        assert re.search(
            r"Retrying Attempt 3 of 4 failed; next retry in 10 min at [\d: -]{8,19} "
            r"Run now Snooze Discard Cancel ConnectionError: no luck Attempts "
            r"Attempt 1 Failed retry 1 of 3 in 5 s ",
            text,
        )

    @pytest.mark.parametrize(
        ("status", "values", "sentence"),
        [
            (Status.PENDING, {"run_after": seconds_from_now(600)}, "Starts in 10 min at "),
            (Status.PENDING, {}, "Due since "),
            (Status.RUNNING, {"last_attempted_at": None}, "Attempt 1 of 4: claimed 0 s ago by "),
            (
                Status.RUNNING,
                {"run_after": seconds_from_now(-300)},
                "Attempt 1 of 4: lease over since ",
            ),
            (Status.RETRYING, {}, "Attempt 1 of 4 failed; next retry in 5 s at "),
            (
                Status.SUCCEEDED,
                {"finished_at": seconds_from_now(-300)},
                "Attempt 1 of 4: succeeded 5 min ago at ",
            ),
            (
                Status.FAILED,
                {"finished_at": seconds_from_now(-300)},
                "Attempt 1 of 4: failed 5 min ago at ",
            ),
            (Status.DISCARDED, {"finished_at": seconds_from_now(-300)}, "Discarded 5 min ago at "),
        ],
    )
    def test_every_status_has_its_sentence(
        self,
        driver: Driver,
        admin_client: Client,
        status: Status,
        values: dict[str, Any],
        sentence: str,
    ) -> None:
        task = driver.task_in(status)
        if values:
            put(task, **values)

        assert f" {status.label} {sentence}" in shown(admin_client, page_of(task))

    @pytest.mark.parametrize(
        ("enqueue", "sentence"),
        [
            (lambda: tasks.snoozes_once.enqueue(), "Attempt 1 of 2 was put off; starts in 60 s at"),
            (lambda: tasks.discards.enqueue(), "Attempt 1 of 4 raised Discard; discarded 0 s ago"),
            (lambda: tasks.fails_once_for_all.enqueue(), "Attempt 1 of 1: failed 0 s ago at"),
            (
                lambda: tasks.sleeps.using(countdown=60).enqueue(5),
                "Attempt 1 of 2 timed out; next retry in",
            ),
        ],
    )
    def test_the_sentence_says_how_the_last_attempt_ended(
        self, driver: Driver, admin_client: Client, enqueue: Any, sentence: str
    ) -> None:
        result = enqueue()
        driver.attempt(result)

        assert sentence in shown(admin_client, page_of(result))

    def test_a_lost_attempt_is_told_as_lost(self, driver: Driver, admin_client: Client) -> None:
        task = driver.task_in(Status.RUNNING)
        driver.make_due(task)
        driver.run_due()

        assert "Attempt 1 of 4 was lost with its worker; next retry in" in shown(
            admin_client, page_of(task)
        )

    def test_the_timeline_holds_every_attempt_in_order(
        self, driver: Driver, admin_client: Client
    ) -> None:
        result = fail_thrice(driver)
        driver.attempt(result)
        first = driver.attempts(result)[0]

        page = raw(admin_client, page_of(result))
        timeline = page.partition('<ol class="rt-timeline">')[2].partition("</ol>")[0]
        entries = [
            re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", entry)).strip()
            for entry in timeline.split("<li")[1:]
        ]

        assert re.findall(r'<li value="(\d+)" class="rt-(\w+)"', timeline) == [
            ("1", "failed"),
            ("2", "failed"),
            ("3", "failed"),
            ("4", "failed"),
        ]
        assert "Attempt 1 Failed retry 1 of 3 in 5 s ConnectionError: no luck" in entries[0]
        assert "Attempt 4 Failed max_retries reached (3 retries)" in entries[3]
        for label in ("Queued", "Started", "Finished", "Next run after", "Run time", "Worker"):
            assert f" {label} " in entries[0]
        assert "Next run after" not in entries[3]
        assert first.worker in entries[0]
        assert "Traceback (most recent call last)" in entries[0]
        assert first.started_at.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + " UTC" in timeline

    def test_shows_the_latest_attempts_of_a_task_with_very_many(
        self, driver: Driver, admin_client: Client
    ) -> None:
        task = driver.task_in(Status.RETRYING)
        [first] = driver.attempts(task)
        for number in range(2, 53):
            first.pk, first.number = None, number
            first.save(force_insert=True)
        put(task, attempt_count=52)

        page = raw(admin_client, page_of(task))

        assert "2 earlier attempts are not shown." in page
        numbers = re.findall(r'<li value="(\d+)"', page)
        assert [numbers[0], numbers[-1], len(numbers)] == ["3", "52", 50]

    def test_shows_arguments_by_name_and_the_return_value(
        self, driver: Driver, admin_client: Client
    ) -> None:
        result = tasks.echoes.enqueue({"größe": [1, None]}, other=datetime(2026, 1, 2, tzinfo=UTC))
        driver.run_due()

        text = shown(admin_client, page_of(result))

        value, moment = '{ "größe": [ 1, null ] }', '"value": "2026-01-02T00:00:00+00:00"'
        assert f'Arguments value {value} other {{ "__type__": "datetime", {moment} }}' in text
        assert f"Return value [ {value}, {{" in text

    def test_shows_arguments_by_place_where_the_code_is_gone(
        self, driver: Driver, admin_client: Client
    ) -> None:
        result = tasks.echoes.enqueue("first", other=2)
        put(result, name="gone.tasks.echoes")

        text = shown(admin_client, page_of(result))
        stars = '"********************"'
        assert f"Arguments args[0] {stars} other {stars} " in text

    def test_a_task_without_arguments_or_attempts_says_so(self, admin_client: Client) -> None:
        result = tasks.succeeds.enqueue()

        assert "Attempts None yet. Arguments None. Policy" in shown(admin_client, page_of(result))

    @pytest.mark.parametrize("name", ["tests.support.tasks.echoes", "gone.tasks.echoes"])
    def test_redacted_arguments_are_never_shown(
        self, admin_client: Client, settings: Any, name: str
    ) -> None:
        settings.RETRYTASKS = {"REDACT": ["^VALUE$"]}
        result = tasks.echoes.enqueue("hunter1", other=[{"deep": {"value": "hunter2", "id": 7}}])
        put(result, name=name)

        text = shown(admin_client, page_of(result))

        assert "hunter" not in text
        assert ('"id": 7' in text) == (name == "tests.support.tasks.echoes")

    def test_shows_policy_times_and_place_with_what_they_mean(
        self, driver: Driver, admin_client: Client
    ) -> None:
        result = tasks.fails_once_for_all.using(timeout=2.5, countdown=7).enqueue()
        driver.run_due()

        text = shown(admin_client, page_of(result))

        assert "Max retries 0 Most retries in one drive. Empty: no limit." in text
        assert "Timeout 2.5 Seconds" in text
        assert "Options countdown=7, timeout=2.5 Policy options" in text
        assert "Stop reason max_retries reached Why" in text
        assert "Run after - Earliest moment" in text
        assert f"Id {result.id} The same for life" in text
        assert "Internal No Whether" in text

    def test_what_comes_from_a_task_is_escaped(self, driver: Driver, admin_client: Client) -> None:
        result = tasks.always_fails.enqueue(SCRIPT)
        driver.run_due()
        put(result, name=f"{SCRIPT}.{SCRIPT}", worker=SCRIPT, queue_name=SCRIPT)
        Attempt.objects.update(
            exception_class_path=f"{SCRIPT}.{SCRIPT}", decision=SCRIPT, worker=SCRIPT
        )

        page, table = raw(admin_client, page_of(result)), raw(admin_client, LIST)

        escaped = "&lt;script&gt;alert(1)&lt;/script&gt;"
        assert SCRIPT not in page + table
        assert page.count(escaped) > 6
        assert table.count(escaped) > 4

    def test_many_attempts_cost_as_many_queries_as_one(
        self, driver: Driver, admin_client: Client
    ) -> None:
        result = tasks.always_fails.enqueue()
        driver.attempt(result)
        raw(admin_client, page_of(result))  # what a process asks for once
        with CaptureQueriesContext(connection) as one:
            raw(admin_client, page_of(result))
        driver.attempt(result)
        driver.attempt(result)

        with CaptureQueriesContext(connection) as three:
            raw(admin_client, page_of(result))

        assert len(three) == len(one)

    def test_no_style_or_script_is_inline(self, driver: Driver, admin_client: Client) -> None:
        result = fail_thrice(driver)

        for page in (raw(admin_client, LIST), raw(admin_client, page_of(result))):
            assert 'href="/static/retrytasks/admin.css"' in page
            assert not re.search(r"<style|\sstyle=|<script(?![^>]*\ssrc=)|\son\w+=", page)


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
