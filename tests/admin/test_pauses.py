"""Queues and functions that operators pause and resume in the admin."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from django_retrytasks.lifecycle import pauses
from django_retrytasks.models import Pause, Status, Task
from tests.admin.actions import PAUSES, logged, offered, text_of
from tests.admin.pages import user_who_may
from tests.support import tasks
from tests.support.driver import Driver

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("_no_alerts")]


class TestPauses:
    def add(self, client: Client, **form: str) -> Any:
        return client.post(f"{PAUSES}add/", {"queue_name": "", "name": "", "reason": "", **form})

    @pytest.mark.parametrize(
        "what", [{"queue_name": "default"}, {"name": "tests.support.tasks.echoes"}]
    )
    def test_it_pauses_and_resumes_a_queue_or_a_function(
        self, driver: Driver, admin_client: Client, what: dict[str, str]
    ) -> None:
        assert self.add(admin_client, **what, reason="the server is down").status_code == 302

        pause = Pause.objects.get(**what)
        assert (pause.paused_by, pause.reason) == ("admin", "the server is down")
        task = tasks.echoes.enqueue(1)
        driver.run_due()
        assert driver.row(task).status == Status.PENDING
        [name] = what.values()
        assert name in text_of(admin_client.get(PAUSES))

        url = f"{PAUSES}{pause.pk}/resume/"
        assert url in admin_client.get(f"{PAUSES}{pause.pk}/change/").content.decode()
        page = text_of(admin_client.post(url, {"reason": "it is back"}, follow=True))
        assert f"Resumed: {name}." in page
        driver.run_due()

        assert driver.row(task).status == Status.SUCCEEDED
        assert [message for _, message in logged()] == [
            "Pause: the server is down", "Resume: it is back"
        ]  # fmt: skip

    def test_several_are_resumed_from_the_list(self, admin_client: Client) -> None:
        pauses.pause(queue_name="default")
        pauses.pause(name="tests.support.tasks.echoes")
        ids = [str(pk) for pk in Pause.objects.values_list("pk", flat=True)]

        admin_client.post(PAUSES, {"action": "resume", "index": "0", "_selected_action": ids})

        assert not Pause.objects.exists()
        assert len(logged()) == 2

    @pytest.mark.parametrize(
        "what", [{}, {"queue_name": "default", "name": "tests.support.tasks.echoes"}]
    )
    def test_one_of_the_two_is_asked_for(self, admin_client: Client, what: dict[str, str]) -> None:
        page = text_of(self.add(admin_client, **what))

        assert "Give either a queue or a function." in page
        assert "Constraint" not in page
        assert not Pause.objects.exists()

    def test_it_suggests_queues_that_hold_tasks_and_the_functions(
        self, admin_client: Client
    ) -> None:
        tasks.echoes.using(queue_name="letters").enqueue(1)

        page = admin_client.get(f"{PAUSES}add/").content.decode()

        assert offered(page, "queue_name") == ["letters"]
        assert "tests.support.tasks.echoes" in offered(page, "name")
        assert not [name for name in offered(page, "name") if "django_retrytasks" in name]

    def test_a_function_that_is_not_known_is_refused_with_the_nearest_ones(
        self, admin_client: Client
    ) -> None:
        page = text_of(self.add(admin_client, name="tests.support.tasks.ecoes"))

        assert "There is no such function. Did you mean tests.support.tasks.echoes" in page
        assert not Pause.objects.exists()

    def test_a_function_whose_code_is_gone_can_wait_while_it_has_tasks(
        self, admin_client: Client
    ) -> None:
        tasks.echoes.enqueue(1)
        Task.objects.update(name="gone.tasks.send")

        assert self.add(admin_client, name="gone.tasks.send").status_code == 302

        assert Pause.objects.get().name == "gone.tasks.send"

    def test_any_queue_can_wait_where_a_backend_takes_any(self, admin_client: Client) -> None:
        assert self.add(admin_client, queue_name="not yet used").status_code == 302

    def test_where_all_backends_name_theirs_another_queue_is_refused(
        self, admin_client: Client, settings: Any
    ) -> None:
        tasks.echoes.using(queue_name="holds").enqueue(1)
        ours = settings.TASKS["default"]
        settings.TASKS = {"default": {**ours, "QUEUES": ["default", "letters"]}}

        page = text_of(self.add(admin_client, queue_name="leters"))

        assert "There is no such queue. Did you mean letters?" in page
        for known in ("letters", "holds"):
            assert self.add(admin_client, queue_name=known).status_code == 302

    def test_what_is_paused_already_is_told(self, admin_client: Client) -> None:
        pauses.pause(queue_name="default", by="ada")

        assert "already exists" in text_of(self.add(admin_client, queue_name="default"))

        assert Pause.objects.get().paused_by == "ada"

    def test_who_may_view_alone_can_neither(self) -> None:
        pauses.pause(queue_name="default")
        pause = Pause.objects.get()
        client = user_who_may("view_pause", "add_pause", "change_pause", "delete_pause")

        assert "default" in text_of(client.get(PAUSES))
        assert self.add(client, queue_name="slow").status_code == 403
        assert client.post(f"{PAUSES}{pause.pk}/resume/").status_code == 403
        client.post(PAUSES, {"action": "resume", "index": "0", "_selected_action": [pause.pk]})
        assert client.post(f"{PAUSES}{pause.pk}/delete/", {"post": "yes"}).status_code == 403

        assert Pause.objects.get() == pause

    def test_its_own_permission_suffices(self) -> None:
        client = user_who_may("pause_task")

        self.add(client, queue_name="slow")
        assert "slow" in text_of(client.get(PAUSES))
        client.post(f"{PAUSES}{Pause.objects.get().pk}/resume/")

        assert not Pause.objects.exists()
