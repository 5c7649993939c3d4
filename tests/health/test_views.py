"""What a probe is answered, and what it is not told."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.db import Error, connection
from django.test import RequestFactory
from django.urls import path

from django_retrytasks.health.views import HealthView
from django_retrytasks.lifecycle import breakers
from tests.health.test_reading import make_due_for
from tests.support import service, tasks
from tests.support.driver import Driver

pytestmark = pytest.mark.django_db

urlpatterns = [
    path("health/", HealthView.as_view()),
    path("strict/", HealthView.as_view(max_lag=20)),
]


@pytest.fixture
def database_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise Error("connection to server at 10.1.2.3, user shop, password s3cr3t failed")

    monkeypatch.setattr(connection, "cursor", refuse)


class TestView:
    def test_says_that_all_is_well(self, client: Any, urls: None, driver: Driver) -> None:
        claimed_at = driver.attempt(tasks.succeeds.enqueue()).claimed_at
        make_due_for(5, *tasks.succeeds.enqueue_many([()] * 3))

        answer = client.get("/health/")

        told = answer.json()
        assert answer.status_code == 200
        assert told.keys() == {
            *("ok", "problem", "note", "lag", "due_count", "running_count", "last_claim_at"),
            "swept_at",
        }
        assert (told["ok"], told["problem"], told["note"]) == (True, "", "")
        assert told["due_count"] == 3
        assert told["lag"] == pytest.approx(5, abs=3)
        assert claimed_at is not None
        assert told["last_claim_at"][:19] == claimed_at.isoformat()[:19]
        assert answer["Content-Type"] == "application/json"
        assert "no-store" in answer["Cache-Control"]

    def test_answers_503_if_a_task_is_due_for_too_long(self, client: Any, urls: None) -> None:
        make_due_for(30, tasks.succeeds.enqueue())

        strict, usual = client.get("/strict/"), client.get("/health/")

        assert (strict.status_code, strict.json()["ok"]) == (503, False)
        problem = strict.json()["problem"]
        assert problem.startswith("A Task has been due for 3")
        assert problem.endswith(" s, more than 20 s.")
        assert (usual.status_code, usual.json()["ok"]) == (200, True)

    def test_an_open_breaker_is_a_note_and_no_problem(
        self, client: Any, urls: None, driver: Driver
    ) -> None:
        name = service.calls.module_path
        make_due_for(300, service.calls.enqueue())
        breakers.open_breaker(name, probe_every=3600, reason="they move")
        driver.run_due()  # the claim parks the Task

        answer = client.get("/health/")

        assert answer.status_code == 200
        assert answer.json()["note"] == "1 breaker is open: the Tasks behind it wait."
        assert answer.json()["lag"] == 0
        assert name not in answer.content.decode()
        breakers.close_breaker(name)
        assert client.get("/health/").json()["note"] == ""

    def test_names_nothing_and_nobody(self, client: Any, urls: None) -> None:
        task = tasks.echoes.using(queue_name="customer-4711").enqueue("s3cr3t")
        make_due_for(300, task)

        text = client.get("/health/").content.decode()

        assert json.loads(text)["ok"] is False
        for hidden in ("customer-4711", "s3cr3t", "echoes", str(task.id)):
            assert hidden not in text

    def test_answers_503_if_the_database_does_not_answer(
        self, client: Any, urls: None, database_is_away: None
    ) -> None:
        answer = client.get("/health/")

        assert answer.status_code == 503
        problem = "The database does not answer."
        assert answer.json() == {"ok": False, "problem": problem, "note": ""}

    def test_head_has_the_status_and_other_methods_are_refused(
        self, client: Any, urls: None
    ) -> None:
        make_due_for(300, tasks.succeeds.enqueue())

        assert client.head("/health/").status_code == 503
        assert client.post("/health/").status_code == 405

    @pytest.mark.parametrize("wrong", ["soon", -1, True])
    def test_lag_that_is_no_duration_is_refused_when_the_urls_are_read(self, wrong: Any) -> None:
        with pytest.raises((TypeError, ValueError), match=r"^max_lag must be "):
            HealthView.as_view(max_lag=wrong)

    def test_runs_outside_of_atomic_requests(self) -> None:
        view: Any = HealthView.as_view()

        assert view._non_atomic_requests == {"default"}
        assert view(RequestFactory().get("/")).status_code == 200


@pytest.fixture
def urls(settings: Any) -> None:
    settings.ROOT_URLCONF = __name__
