"""The check for django-health-check, asked through its own view."""

from __future__ import annotations

from typing import Any

import pytest
from django.urls import path
from health_check.views import HealthCheckView

from tests.docs.book import DOCS
from tests.docs.fences import blocks
from tests.health.test_reading import make_due_for
from tests.support import tasks

pytestmark = pytest.mark.django_db(transaction=True)

urlpatterns = [
    path(
        "checks/",
        HealthCheckView.as_view(
            checks=[("django_retrytasks.health.health_check.Work", {"max_lag": 20.0})]
        ),
    ),
]


@pytest.fixture(autouse=True)
def urls(settings: Any) -> None:
    settings.ROOT_URLCONF = __name__


def test_succeeds_while_all_is_well(client: Any) -> None:
    answer = client.get("/checks/?format=text")

    assert answer.status_code == 200
    assert "Work" in answer.content.decode()


def test_fails_if_a_task_is_due_for_too_long(client: Any) -> None:
    make_due_for(30, tasks.succeeds.using(queue_name="customer-4711").enqueue())

    answer = client.get("/checks/?format=text")

    text = answer.content.decode()
    assert answer.status_code == 500
    assert "A Task has been due for 3" in text
    assert "customer-4711" not in text


def test_page_of_the_documentation_asks_for_it(client: Any, settings: Any) -> None:
    page = blocks(DOCS / "how-to" / "monitoring.md")
    [code] = [block.code for block in page if "HealthCheckView" in block.code]
    names: dict[str, Any] = {}
    exec(code, names)

    settings.ROOT_URLCONF = type("Urls", (), {"urlpatterns": names["urlpatterns"]})

    told = client.get("/health/?format=json").json()
    assert [status for check, status in told.items() if check.startswith("Work")] == ["OK"]
