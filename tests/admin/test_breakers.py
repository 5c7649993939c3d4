"""Breakers in the admin: banner, list, pages; operators open and close them."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from django_retrytasks.lifecycle import breakers
from django_retrytasks.models import FailureGroup, OpenBreaker
from django_retrytasks.worker.breaking import breaking
from tests.admin.actions import logged, text_of
from tests.admin.pages import user_who_may
from tests.support import service
from tests.support.driver import Driver
from tests.support.service import down

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("_no_alerts")]

BREAKERS = "/admin/retrytasks/openbreaker/"
NAME = "tests.support.service.calls"
BY_HOST = "tests.support.service.calls_host"


@pytest.fixture(autouse=True)
def _new_worker() -> None:
    breaking.__init__()  # type: ignore[misc]


def add(client: Client, **form: str) -> Any:
    return client.post(f"{BREAKERS}add/", {"name": "", "key": "", "reason": "", **form})


def test_an_operator_opens_and_closes_one(driver: Driver, admin_client: Client) -> None:
    assert add(admin_client, name=NAME, reason="the provider is down").status_code == 302
    row = OpenBreaker.objects.get()
    assert (row.opened_by, row.reason, row.probe_every) == ("admin", "the provider is down", 60)
    result = service.calls.enqueue()
    driver.run_due()
    assert driver.row(result).is_behind_breaker

    assert NAME in text_of(admin_client.get(BREAKERS))
    url = f"{BREAKERS}{row.pk}/close/"
    own = admin_client.get(f"{BREAKERS}{row.pk}/change/").content.decode()
    assert url in own
    assert "Close breaker</button>" in own
    page = text_of(admin_client.post(url, {"reason": "it is back"}, follow=True))
    assert f"Closed: {NAME}." in page
    driver.run_due()

    assert driver.row(result).status == "SUCCEEDED"
    assert [message for _, message in logged()] == [
        "Open: the provider is down", "Close: it is back"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("form", "problem"),
    [
        ({"name": "tests.support.tasks.echoes"}, "has no breaker: pause it instead"),
        ({"name": "tests.support.service.cals"}, f'Did you mean "{NAME}"?'),
        ({"name": BY_HOST}, 'for each value of "host": give a key'),
        ({"name": NAME, "key": "a"}, "give no key"),
        ({}, "This field is required."),
    ],
)
def test_a_form_that_does_not_fit_is_refused(
    admin_client: Client, form: dict[str, str], problem: str
) -> None:
    assert problem in text_of(add(admin_client, **form))
    assert not OpenBreaker.objects.exists()


def test_several_are_closed_from_the_list(admin_client: Client) -> None:
    breakers.open_breaker(NAME, probe_every=60)
    breakers.open_breaker(BY_HOST, "a", probe_every=60)
    ids = [str(pk) for pk in OpenBreaker.objects.values_list("pk", flat=True)]

    admin_client.post(BREAKERS, {"action": "close", "index": "0", "_selected_action": ids})

    assert not OpenBreaker.objects.exists()
    assert len(logged()) == 2


def test_who_may_only_view_changes_nothing() -> None:
    breakers.open_breaker(NAME, probe_every=60)
    row = OpenBreaker.objects.get()
    client = user_who_may("view_openbreaker")

    page = client.get(f"{BREAKERS}{row.pk}/change/")
    assert NAME in text_of(page)
    assert "/close/" not in page.content.decode()
    assert add(client, name=BY_HOST, key="a").status_code == 403
    assert client.post(f"{BREAKERS}{row.pk}/close/").status_code == 403
    assert OpenBreaker.objects.get().is_open


def test_it_is_seen_above_the_list_on_the_group_and_on_the_task(
    driver: Driver, admin_client: Client
) -> None:
    results = service.calls.using(max_retries=0).enqueue_many([()] * 5)
    with down():
        driver.run_due()
        driver.run_due()
    group = FailureGroup.objects.get(kind="FAILURE")
    banner = f"The breaker of {NAME} is open: its Tasks wait: 3 failures in a row: ConnectionError"

    assert banner in text_of(admin_client.get("/admin/retrytasks/task/"))
    group_page = admin_client.get(f"/admin/retrytasks/failuregroup/{group.pk}/change/")
    assert banner in text_of(group_page)
    waiting = next(each for each in results if driver.row(each).is_behind_breaker)
    page = text_of(admin_client.get(f"/admin/retrytasks/task/{waiting.id}/change/"))
    assert "waits until the breaker lets it through" in page

    breakers.close_breaker(NAME)
    assert (
        f"The breaker of {NAME} is closed: its Tasks come back"
        in text_of(admin_client.get("/admin/retrytasks/task/"))
        or not OpenBreaker.objects.exists()
    )
