"""The page of workers: which clusters live, and what each worker runs."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.utils import quote
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django_q.conf import Conf

from django_retrytasks import lifecycle
from django_retrytasks.database import DatabaseNow
from django_retrytasks.lifecycle import workers
from django_retrytasks.models import Task, Worker
from tests.admin.pages import raw, says, shown, text_of, user_who_may
from tests.support import tasks
from tests.support.driver import KEY

pytestmark = pytest.mark.django_db

PAGE = "/admin/retrytasks/worker/"


def note(name: str, cluster: str = KEY, *, seen: float = 1, idle: float | None = 5) -> None:
    """Note a worker, as it was ``seen`` seconds ago."""
    workers.note(name, cluster, age=3600, idle=idle)
    seen_at = DatabaseNow() - timedelta(seconds=seen)
    Worker.objects.filter(name=name).update(seen_at=seen_at)


def claim(by: str, *results: Any) -> None:
    for result in results:
        lifecycle.claim_inline([uuid.UUID(result.id)], worker=by)


def listed(client: Client) -> list[str]:
    """Return the text of each row of the list."""
    table = raw(client, PAGE).partition('id="result_list"')[2].partition("</table>")[0]
    return [text_of(row) for row in table.split("<tr>")[2:]]


def test_lists_each_worker_with_its_state(admin_client: Client) -> None:
    note("app-1:11:Process-1")
    note("app-1:12:Process-2", seen=46)
    note("app-2:13:Process-1", "slow", idle=None)

    first, gone, slow = listed(admin_client)

    assert first.startswith(f"Alive app-1:11:Process-1 {KEY} - 5 s ago 1 s ago 60 min ago")
    assert gone.startswith(f"Gone app-1:12:Process-2 {KEY} - 5 s ago 46 s ago")
    assert slow.startswith("Alive app-2:13:Process-1 slow - - 1 s ago")
    by_name = raw(admin_client, f"{PAGE}?o=-2")
    assert by_name.index("app-2:13") < by_name.index("app-1:12")


def test_counts_the_live_workers_of_each_cluster_and_warns_of_one_without(
    admin_client: Client,
) -> None:
    note("app-1:11:Process-1")
    note("app-1:12:Process-2", seen=46)
    note("app-9:13:Process-1", "of-old")

    page = shown(admin_client, PAGE)

    assert f"{KEY} 1 of 2 alive slow 0 of 2 alive of-old 1 alive" in page
    assert "No worker of the cluster slow is alive: is qcluster running?" in page
    assert f"No worker of the cluster {KEY}" not in page


def test_no_cluster_is_missed_where_the_enqueuing_process_runs_tasks(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Conf, "SYNC", True)

    assert "is alive" not in shown(admin_client, PAGE)


def test_shows_what_a_worker_runs(admin_client: Client) -> None:
    note("app-1:11:Process-1")
    first, second = tasks.echoes.enqueue(1), tasks.echoes.enqueue(2)
    claim("app-1:11:Process-1", first, second)
    Task.objects.filter(pk=first.id).update(last_attempted_at=None)

    [row] = listed(admin_client)
    page = raw(admin_client, f"{PAGE}{quote('app-1:11:Process-1')}/change/")

    assert row.startswith("Busy app-1:11:Process-1")
    assert says(row, "t.s.t.echoes running for 0 s and 1 more")
    assert f"/admin/retrytasks/task/{second.id}/change/" in raw(admin_client, PAGE)
    assert "Tasks under its claim" in page
    assert f"/admin/retrytasks/task/{first.id}/change/" in page


def test_tasks_are_hidden_from_who_may_not_see_them() -> None:
    note("app-1:11:Process-1")
    claim("app-1:11:Process-1", tasks.echoes.enqueue(1))

    client = user_who_may("view_worker")

    assert "echoes" not in raw(client, PAGE)
    assert "echoes" not in raw(client, f"{PAGE}{quote('app-1:11:Process-1')}/change/")


def test_page_is_hidden_from_who_may_not_see_workers() -> None:
    note("app-1:11:Process-1")

    assert user_who_may("view_task").get(PAGE).status_code == 403


def test_takes_as_many_queries_for_many_workers_as_for_one(admin_client: Client) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            raw(admin_client, PAGE)
        return len(captured)

    note("app-1:11:Process-1")
    claim("app-1:11:Process-1", tasks.echoes.enqueue(1))
    queries()
    few = queries()
    for number in range(20):
        note(f"app-2:{number}:Process-1")
        claim(f"app-2:{number}:Process-1", tasks.echoes.enqueue(1))

    assert queries() == few


@pytest.mark.parametrize("model", ["worker", "task", "failuregroup", "pause", "operation"])
@pytest.mark.parametrize("page", ["change", "history"])
@pytest.mark.parametrize("pk", ["%00", "a%00b", "_00"])
def test_an_id_that_no_database_stores_is_an_unknown_one(
    admin_client: Client, model: str, page: str, pk: str
) -> None:
    answer, unknown = (
        admin_client.get(f"/admin/retrytasks/{model}/{each}/{page}/", follow=True)
        for each in (pk, "nobody")
    )

    assert answer.redirect_chain == unknown.redirect_chain == [("/admin/", 302)]
    assert "Perhaps it was deleted?" in text_of(answer.content.decode())


@pytest.mark.parametrize("pk", ["%00", "nobody"])
def test_nobody_deletes_a_worker_by_any_id(admin_client: Client, pk: str) -> None:
    assert admin_client.get(f"{PAGE}{pk}/delete/").status_code == 403
