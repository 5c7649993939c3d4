"""The admin where Tasks are in a database of their own, and a router reads from yet another one."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.admin.utils import quote
from django.db import router
from django.test import Client

from django_retrytasks import worker
from django_retrytasks.lifecycle import pauses, workers
from django_retrytasks.models import FailureGroup, Operation, Pause, Status, Task, Worker
from django_retrytasks.operators import operations
from tests.support import tasks
from tests.support.driver import KEY
from tests.support.routers import ReadsElsewhere

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "apart"])

LIST = "/admin/retrytasks/task/"
VERBS = {
    "redrive": Status.PENDING,
    "discard": Status.DISCARDED,
}


@pytest.fixture(autouse=True, params=["no router", "router"])
def _routed(orm_apart: None, request: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "router":
        monkeypatch.setattr(router, "routers", [ReadsElsewhere()])
        assert (router.db_for_read(Task), router.db_for_write(Task)) == ("default", "apart")


@pytest.fixture
def failed() -> Task:
    tasks.fails_once_for_all.enqueue()
    worker.run(KEY)
    pauses.pause(queue_name="slow", by="ada")
    workers.note("app-1:11:Process-1", "slow", age=60, idle=5)
    task: Task = Task.objects.using("apart").get(internal=False)
    assert task.status == Status.FAILED
    return task


def nothing_in_default() -> bool:
    models: list[Any] = [Task, FailureGroup, Operation, Pause, Worker]
    return not any(model.objects.using("default").exists() for model in models)


def logged() -> list[tuple[str, str]]:
    assert not LogEntry.objects.using("apart").exists()
    entries = LogEntry.objects.using("default").order_by("pk")
    return [(entry.object_id or "", entry.get_change_message()) for entry in entries]


def test_every_page_reads_there(failed: Task, admin_client: Client) -> None:
    group = FailureGroup.objects.using("apart").get()
    operation = operations.start("DISCARD", {"status": "FAILED"}, by="ada")
    pause = Pause.objects.using("apart").get()
    shown = {
        LIST: "fails_once_for_all",
        f"{LIST}{failed.pk}/change/": "not today",
        f"{LIST}{failed.pk}/history/": "fails_once_for_all",
        f"{LIST}{failed.pk}/do/redrive/": "fails_once_for_all",
        f"{LIST}all/discard/?status=FAILED": "fails_once_for_all",
        "/admin/retrytasks/failuregroup/": "ValueError",
        f"/admin/retrytasks/failuregroup/{group.pk}/change/": "not today",
        "/admin/retrytasks/operation/": "0 of 1 done",
        f"/admin/retrytasks/operation/{operation.pk}/change/": "0 of 1 done",
        "/admin/retrytasks/pause/": "Queue slow",
        f"/admin/retrytasks/pause/{pause.pk}/change/": "slow",
        "/admin/retrytasks/worker/": "app-1:11:Process-1",
        f"/admin/retrytasks/worker/{quote('app-1:11:Process-1')}/change/": "app-1:11:Process-1",
    }

    pages = {url: admin_client.get(url).content.decode() for url in shown}

    assert [url for url, words in shown.items() if words not in pages[url]] == []
    assert nothing_in_default()


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_writes_there_and_to_the_log_of_the_admin(
    failed: Task, admin_client: Client, verb: str
) -> None:
    admin_client.post(f"{LIST}{failed.pk}/do/{verb}/", {"reason": "so it is"})

    assert Task.objects.using("apart").get(pk=failed.pk).status == VERBS[verb]
    assert [pk for pk, _ in logged()] == [str(failed.pk)]
    page = admin_client.get(f"{LIST}{failed.pk}/change/").content.decode()
    assert "so it is" in page
    assert nothing_in_default()


def test_an_operation_runs_there(failed: Task, admin_client: Client) -> None:
    ticked = {"action": "discard", "select_across": "1", "_selected_action": [str(failed.pk)]}
    asked = admin_client.post(f"{LIST}?status=FAILED", ticked)["Location"]
    begun = admin_client.post(asked, {"reason": "so it is"})["Location"]
    worker.run(KEY)

    assert "1 of 1 done" in admin_client.get(begun).content.decode()
    assert Task.objects.using("apart").get(pk=failed.pk).status == Status.DISCARDED
    assert [message for _, message in logged()] == ["Discard: so it is"]
    assert nothing_in_default()


def test_an_operation_is_stopped_there(failed: Task, admin_client: Client) -> None:
    operation = operations.start("REDRIVE", {"status": "FAILED"})

    admin_client.post(f"/admin/retrytasks/operation/{operation.pk}/stop/", {"reason": "no"})

    stored = Operation.objects.using("apart").get()
    assert (stored.status, stored.stopped_because) == ("STOPPED", "by admin: no")
    assert logged() == [(str(operation.pk), "Stop: no")]


def test_a_group_is_muted_there(failed: Task, admin_client: Client) -> None:
    group = FailureGroup.objects.using("apart").get()
    ticked = {"action": "resolve", "_selected_action": [str(group.pk)]}

    admin_client.post(f"/admin/retrytasks/failuregroup/{group.pk}/say/mute/")
    assert FailureGroup.objects.using("apart").get().status == "MUTED"
    admin_client.post("/admin/retrytasks/failuregroup/", ticked)

    assert FailureGroup.objects.using("apart").get().status == "RESOLVED"
    assert len(logged()) == 2
    assert nothing_in_default()


def test_a_pause_begins_and_ends_there(admin_client: Client) -> None:
    form = {"queue_name": "default", "name": "", "reason": "it moves"}

    again = [admin_client.post("/admin/retrytasks/pause/add/", form) for _ in range(2)]
    pause = Pause.objects.using("apart").get()
    assert (again[0].status_code, again[1].status_code) == (302, 200)
    assert re.search("already exists", again[1].content.decode())
    admin_client.post(f"/admin/retrytasks/pause/{pause.pk}/resume/")

    assert not Pause.objects.using("apart").exists()
    assert [message for _, message in logged()] == ["Pause: it moves", "Resume"]
    assert nothing_in_default()
