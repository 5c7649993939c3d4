"""What the URL of a list may ask for, and what the forms of the admin refuse."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.db.models import CASCADE, Field, ForeignKey
from django.http import HttpRequest
from django.test import Client, RequestFactory
from django.urls import path

from django_retrytasks import retry_task
from django_retrytasks.admin import TaskAdmin
from django_retrytasks.lifecycle import pauses
from django_retrytasks.models import FailureGroup, Operation, Pause, Task, Worker
from django_retrytasks.operators import operations
from tests.admin.pages import user_who_may
from tests.support.driver import Driver

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.admin.test_lookups")]

TASKS = "/admin/retrytasks/task/"
GROUPS = "/admin/retrytasks/failuregroup/"
OPERATIONS = "/admin/retrytasks/operation/"
PAUSES = "/admin/retrytasks/pause/"
WORKERS = "/admin/retrytasks/worker/"
LISTS = (TASKS, GROUPS, OPERATIONS, PAUSES)
# A lookup that a page does not offer, by the list that had answered it.
ATTACKS = [
    (TASKS, 'kwargs__regex="password":"s[a-m]'),
    (TASKS, "kwargs__contains=hunter2"),
    (TASKS, "kwargs__password__startswith=h"),
    (TASKS, "kwargs=x"),
    (TASKS, "args__regex=(a+)+b"),
    (TASKS, "args__0__gt=h"),
    (TASKS, "return_value__contains=hunter2"),
    (TASKS, "options__contains=x"),
    (TASKS, "attempts__traceback__regex=hunter2"),
    (TASKS, "attempts__exception_message__startswith=h"),
    (TASKS, "failure_group__message__startswith=h"),
    (TASKS, "claim_token__isnull=0"),
    (TASKS, "pk__gte=0"),
    (TASKS, "status__regex=F"),
    (TASKS, "name__contains=refund"),
    (TASKS, "search_key=4711"),
    (TASKS, "search=x"),
    (TASKS, "no_such_field=1"),
    (GROUPS, "message__regex=(a+)+b"),
    (GROUPS, "status__contains=O"),
    (GROUPS, "sample_id__isnull=0"),
    (OPERATIONS, "selection__contains=x"),
    (OPERATIONS, "selection__search=x"),
    (OPERATIONS, "reason__startswith=h"),
    (OPERATIONS, "canary_ids__0=x"),
    (PAUSES, "reason__regex=h"),
    (PAUSES, "paused_by=ada"),
]


class LetterFilter(admin.SimpleListFilter):
    title = "letter"
    parameter_name = "begins__with"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("t", "t")]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.filter(name__startswith=self.value() or "")


class RangeFilter(admin.FieldListFilter):
    """One with parameters of its own, as libraries have them."""

    def __init__(self, field: Any, request: Any, params: Any, *args: Any, **more: Any) -> None:
        self.wanted = params.pop("priority_from", [""])[-1]
        super().__init__(field, request, params, *args, **more)

    def expected_parameters(self) -> list[str | None]:
        return ["priority_from"]

    def choices(self, changelist: Any) -> Any:
        return []

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.filter(priority__gte=self.wanted) if self.wanted else queryset


class OwnTaskAdmin(TaskAdmin):
    """With filters of each kind that Django knows."""

    list_filter = (  # type: ignore[assignment]
        *TaskAdmin.list_filter,
        "backend",
        ("max_retries", admin.EmptyFieldListFilter),
        ("priority", RangeFilter),
        "enqueued_at",
        "suspect",
        LetterFilter,
    )


class DatedTaskAdmin(TaskAdmin):
    date_hierarchy = "enqueued_at"


own_site = admin.AdminSite(name="own")
own_site.register(Task, OwnTaskAdmin)
urlpatterns = [path("admin/", admin.site.urls), path("own/", own_site.urls)]


@retry_task(max_retries=0, sensitive=("password",))
def logs_in(user: str, *, password: str) -> None:
    raise PermissionError(f"{user} is not let in")


@pytest.fixture
def failed(driver: Driver) -> Task:
    """A failed Task with a secret, and one row at least in each list."""
    result = logs_in.enqueue("ada", password="hunter2")
    driver.drain()
    pauses.pause(queue_name="slow", by="ada", reason="hunter2")
    operations.start("REDRIVE", {"status": "FAILED"}, by="ada")
    return driver.row(result)


class TestALookupThatNoFilterOffers:
    @pytest.mark.parametrize(("url", "query"), ATTACKS)
    def test_is_refused_before_it_is_asked(self, failed: Task, url: str, query: str) -> None:
        name, _, value = query.partition("=")
        client = user_who_may(
            "view_task", "view_failuregroup", "view_operation", "view_pause", "pause_task"
        )

        assert client.get(url, {name: value}).status_code == 400

    @pytest.mark.parametrize("path", ["kwargs", "args", "attempts__traceback", "options"])
    def test_tells_a_user_who_may_view_tasks_alone_no_bit_of_a_secret(
        self, failed: Task, path: str
    ) -> None:
        client = user_who_may("view_task")

        answers = [
            client.get(TASKS, {f"{path}__{how}": guess})
            for how in ("regex", "contains", "startswith", "iexact")
            for guess in ("hunter2", "hunter3")
        ]

        assert {answer.status_code for answer in answers} == {400}
        assert len({answer.content for answer in answers}) == 1

    def test_is_refused_for_every_column_of_every_model(
        self, failed: Task, admin_client: Client
    ) -> None:
        pages = {
            TASKS: Task,
            GROUPS: FailureGroup,
            OPERATIONS: Operation,
            PAUSES: Pause,
            WORKERS: Worker,
        }

        statuses = {
            (url, field.name): admin_client.get(url, {f"{field.name}__contains": "x"}).status_code
            for url, model in pages.items()
            for field in model._meta.get_fields()
            if isinstance(field, Field)
        }

        assert len(statuses) > 60
        assert set(statuses.values()) == {400}

    def test_is_refused_beside_a_filter_that_is_offered(
        self, failed: Task, admin_client: Client
    ) -> None:
        query = {"status": "FAILED", "kwargs__contains": "hunter2"}

        assert admin_client.get(TASKS, query).status_code == 400

    def test_is_refused_where_an_action_is_sent(self, failed: Task, admin_client: Client) -> None:
        data = {"action": "redrive", "select_across": "1", "_selected_action": str(failed.pk)}

        response = admin_client.post(f"{TASKS}?kwargs__contains=hunter2", data)

        assert response.status_code == 400


class TestAFilterThatIsOffered:
    @pytest.mark.parametrize(
        ("url", "query"),
        [
            (TASKS, "status=FAILED&within=day&retried=no&stuck=yes&queue_name=default&internal=no"),
            (TASKS, "name=tests.support.tasks.f&error=builtins.OSError&since=2026-01-31T12:00:00"),
            (TASKS, "failure_group=00000000-0000-0000-0000-000000000007&chart=hour"),
            (TASKS, "q=refund&p=1&all=&o=1&_facets=&_popup=1"),
            (GROUPS, "status__exact=OPEN&failing=yes&kind__exact=FAILURE&q=x&o=-1"),
            (OPERATIONS, "status__exact=DONE&verb__exact=REDRIVE&p=1"),
            (PAUSES, "o=1&all="),
        ],
    )
    def test_goes_on_narrowing_the_list(
        self, failed: Task, admin_client: Client, url: str, query: str
    ) -> None:
        assert admin_client.get(f"{url}?{query}").status_code == 200

    @pytest.mark.parametrize(
        "query",
        [
            "backend=default",
            "backend__isnull=False",
            "max_retries__isempty=0",
            "priority_from=0",
            "enqueued_at__gte=2020-01-01+00:00:00%2B00:00",
            "suspect__exact=0",
            "begins__with=tests",
            "status=FAILED&backend=default",
        ],
    )
    def test_of_a_subclass_is_asked_too(
        self, failed: Task, admin_client: Client, query: str
    ) -> None:
        response = admin_client.get(f"/own/retrytasks/task/?{query}")

        assert response.status_code == 200
        assert [task.pk for task in response.context["cl"].result_list] == [failed.pk]

    @pytest.mark.parametrize(
        "query", ["backend__regex=(a+)+b", "enqueued_at__week=1", "priority__gt=0", "begins=t"]
    )
    def test_opens_no_other_lookup_on_its_column(
        self, failed: Task, admin_client: Client, query: str
    ) -> None:
        assert admin_client.get(f"/own/retrytasks/task/?{query}").status_code == 400

    def test_of_a_date_hierarchy_is_asked(self, rf: RequestFactory) -> None:
        # Not by a page: MariaDB draws the hierarchy only where its time zones are installed.
        request, pages = rf.get(TASKS), DatedTaskAdmin(Task, own_site)

        asked = [f"enqueued_at__{part}" for part in ("year", "month", "day", "gte", "regex")]
        allowed = [pages.lookup_allowed(lookup, "2026", request) for lookup in asked]

        assert allowed == [True, True, True, False, False]

    def test_of_a_sites_foreign_key_opens_its_popup(
        self, failed: Task, admin_client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # As Django notes it for ForeignKey(Task, limit_choices_to=...) of a site's own model.
        field: Any = ForeignKey(Task, CASCADE, limit_choices_to={"priority": 0})
        limits = [field.remote_field.limit_choices_to, lambda: {"queue_name": "default"}]
        monkeypatch.setattr(Task._meta, "related_fkey_lookups", limits)

        assert admin_client.get(TASKS, {"priority": "0", "_popup": "1"}).status_code == 200
        assert admin_client.get(TASKS, {"priority": "1", "_popup": "1"}).status_code == 400


NUL = "a\0b"


class TestNul:
    """PostgreSQL refuses a text that holds one."""

    @pytest.mark.parametrize(
        "name",
        [
            *("status", "name", "queue_name", "failure_group", "error", "retried", "stuck"),
            *("within", "since", "internal"),
        ],
    )
    def test_in_a_parameter_of_the_list_is_refused(
        self, failed: Task, admin_client: Client, name: str
    ) -> None:
        assert admin_client.get(TASKS, {name: NUL}).status_code == 400

    @pytest.mark.parametrize("url", LISTS)
    @pytest.mark.parametrize("name", ["q", "o", "p", "all", "e", "chart", "_popup", "_to_field"])
    def test_in_how_a_list_is_shown_does_no_harm(
        self, failed: Task, admin_client: Client, url: str, name: str
    ) -> None:
        assert admin_client.get(url, {name: NUL}).status_code in (200, 302, 400)

    @pytest.mark.parametrize(
        ("url", "name"),
        [
            (GROUPS, "status__exact"),
            (GROUPS, "failing"),
            (GROUPS, "kind__exact"),
            (OPERATIONS, "status__exact"),
            (OPERATIONS, "verb__exact"),
            ("/own/retrytasks/task/", "backend"),
            ("/own/retrytasks/task/", "begins__with"),
            (TASKS, "na\0me"),
        ],
    )
    def test_in_a_filter_of_any_list_is_refused(
        self, failed: Task, admin_client: Client, url: str, name: str
    ) -> None:
        assert admin_client.get(url, {name: NUL}).status_code == 400

    @pytest.mark.parametrize(
        "name",
        [
            *("status", "name", "queue_name", "failure_group", "error", "retried", "stuck"),
            *("within", "since", "search", "internal"),
        ],
    )
    @pytest.mark.parametrize("method", ["get", "post"])
    def test_in_the_selection_of_a_verb_for_all_is_refused(
        self, failed: Task, admin_client: Client, name: str, method: str
    ) -> None:
        url = f"{TASKS}all/redrive/"

        response = getattr(admin_client, method)(url, query_params={name: NUL})

        assert response.status_code == 400
        assert Operation.objects.count() == 1

    def test_in_the_reason_for_a_verb_is_an_error_of_the_form(
        self, failed: Task, admin_client: Client
    ) -> None:
        for url in (f"{TASKS}{failed.pk}/do/redrive/", f"{TASKS}all/redrive/?status=FAILED"):
            response = admin_client.post(url, {"reason": NUL, "arguments": ""})

            assert response.status_code == 200
            assert "Null characters are not allowed." in response.content.decode()

    def test_in_the_arguments_of_a_redrive_is_an_error_of_the_form(
        self, failed: Task, admin_client: Client
    ) -> None:
        data = {"reason": "", "arguments": f'{{"args": ["{NUL}"], "kwargs": {{}}}}'}

        response = admin_client.post(f"{TASKS}{failed.pk}/do/redrive/", data)

        assert response.status_code in (200, 302)

    def test_in_a_field_of_a_new_pause_is_an_error_of_the_form(self, admin_client: Client) -> None:
        for name in ("queue_name", "name", "reason"):
            response = admin_client.post(f"{PAUSES}add/", {"queue_name": "default", name: NUL})

            assert response.status_code == 200
            assert "Null characters are not allowed." in response.content.decode()
        assert Pause.objects.count() == 0

    @pytest.mark.parametrize("reason", [NUL, "x" * 1001])
    def test_in_the_reason_of_a_button_or_an_action_is_refused(
        self, failed: Task, admin_client: Client, reason: str
    ) -> None:
        group, running, paused = (
            str(model._default_manager.get().pk) for model in (FailureGroup, Operation, Pause)
        )
        posts: list[tuple[str, dict[str, str]]] = [
            (f"{OPERATIONS}{running}/stop/", {}),
            (f"{PAUSES}{paused}/resume/", {}),
            (PAUSES, {"action": "resume", "_selected_action": paused}),
            (f"{GROUPS}{group}/say/mute/", {}),
            (GROUPS, {"action": "resolve", "_selected_action": group}),
        ]

        statuses = [
            admin_client.post(url, {**data, "reason": reason}).status_code for url, data in posts
        ]

        assert statuses == [400] * 5
        assert Operation.objects.get().status == "RUNNING"
        assert Pause.objects.count() == 1
        assert FailureGroup.objects.get().status == "OPEN"
