"""An operator's day: from the list to a re-driven group seen succeeding, by a real cluster."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect
from webshop import outage, payments, stock

from django_retrytasks.models import Operation, Status, Task
from tests.support.cluster import is_idle, running_cluster, wait_for

from .conftest import Browse
from .stage import PASSWORD, operator

pytestmark = pytest.mark.cluster

ORDERS = [(f"2026-{1800 + n}", "19.90 EUR") for n in range(6)]
# An operation's page refreshes every 2 seconds; in milliseconds.
IN_BACKGROUND = 60_000


@pytest.fixture
def gateway(tmp_path: Path) -> Path:
    """Return the file that says that the payment gateway is down."""
    return tmp_path / "outage"


@pytest.fixture
def _cluster(transactional_db: None, gateway: Path, tmp_path: Path) -> Iterator[None]:
    mail = tmp_path / "mail"
    environment = {outage.VARIABLE: str(gateway), "MAIL_DIRECTORY": str(mail)}
    with running_cluster(tmp_path / "log", **environment):
        yield
        wait_for(is_idle)


def fill_in_login(page: Page, user: User) -> None:
    page.goto("/admin/")
    page.get_by_label("Username").fill(user.get_username())
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()


def all_are(status: Status, count: int) -> bool:
    return Task.objects.filter(internal=False, status=status).count() == count


@pytest.mark.usefixtures("_cluster")
def test_failed_payments_are_understood_and_re_driven(browse: Browse, gateway: Path) -> None:
    may = ("view_task", "redrive_task", "view_failuregroup", "change_failuregroup")
    ada = operator("ada", *may, "view_operation")
    gateway.touch()
    payments.charge_card.enqueue_many(ORDERS)
    wait_for(lambda: all_are(Status.FAILED, len(ORDERS)))
    page = browse()

    fill_in_login(page, ada)
    page.locator("#content").get_by_role("link", name="Tasks", exact=True).click()
    page.locator("#changelist-filter").get_by_role("link", name="Failed", exact=True).click()
    expect(page.locator("#result_list tbody tr")).to_have_count(len(ORDERS))
    page.locator("#result_list").get_by_role("link", name="w.p.charge_card").first.click()
    expect(page.locator(".rt-headline")).to_contain_text("Attempt 3 of 3: failed")
    timeline = page.locator(".rt-timeline > li")
    expect(timeline).to_have_count(3)
    expect(timeline.first.locator(".rt-decision")).to_have_text("retry 1 of 2 in 0.2 s")
    expect(timeline.last.locator(".rt-traceback").first).to_contain_text("in request_payment")

    page.get_by_role("link", name="GatewayError in webshop.payments.charge_card").click()
    expect(page.locator(".rt-headline")).to_contain_text("6 failures")
    gateway.unlink()
    page.get_by_role("link", name="Re-drive all").click()
    expect(page.locator(".rt-facts").first).to_contain_text("webshop.payments.charge_card 6")
    page.get_by_label("Canary").fill("2")
    page.get_by_label("Reason").fill("the gateway is back")
    page.get_by_role("button", name="Re-drive").click()

    headline = page.locator(".rt-headline")
    done = re.compile("Done.*Re-drive: 6 of 6 done, 0 skipped", re.DOTALL)
    expect(headline).to_have_text(done, timeout=IN_BACKGROUND)
    expect(page.locator("#content")).to_contain_text("the gateway is back")
    wait_for(lambda: all_are(Status.SUCCEEDED, len(ORDERS)))
    operation = Operation.objects.get()
    assert (operation.canary, operation.started_by) == (2, "ada")
    assert LogEntry.objects.get().get_change_message() == "Re-drive (canary 2): the gateway is back"

    page.goto("/admin/retrytasks/task/")
    expect(page.locator("#result_list .rt-pill")).to_have_text(["Succeeded"] * len(ORDERS))
    page.locator("#result_list").get_by_role("link", name="w.p.charge_card").first.click()
    expect(page.locator(".rt-headline")).to_contain_text("Attempt 4 of 4: succeeded")
    expect(page.locator(".rt-timeline > li")).to_have_count(4)

    page.get_by_role("link", name="GatewayError in webshop.payments.charge_card").click()
    expect(page.locator(".rt-counts dd").first).to_have_text("0")
    page.get_by_label("Reason").fill("a certificate had expired")
    page.get_by_role("button", name="Resolve").click()
    expect(headline).to_contain_text("Resolved")
    expect(page.locator(".rt-history")).to_contain_text("ada Resolve: a certificate had expired")


@pytest.mark.usefixtures("_cluster")
def test_paused_queue_waits_until_it_is_resumed(browse: Browse) -> None:
    page = browse(operator("ada", "view_task", "pause_task"))

    page.goto("/admin/retrytasks/pause/")
    page.get_by_role("link", name="Add pause").click()
    page.get_by_label("Queue name").fill("suppliers")
    page.get_by_label("Reason").fill("price lists are being repaired")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#result_list")).to_contain_text("Queue suppliers")
    prices = stock.import_prices.enqueue("Oak & Daughters")
    payments.charge_card.enqueue("2026-1800", "19.90 EUR")
    wait_for(lambda: all_are(Status.SUCCEEDED, 1))

    page.goto("/admin/retrytasks/task/")
    banner = page.locator(".rt-banner")
    expect(banner).to_have_text(
        "The queue suppliers is paused (ada): price lists are being repaired"
    )
    assert Task.objects.get(pk=prices.id).status == Status.PENDING
    page.goto("/admin/retrytasks/pause/")
    page.get_by_role("link", name="Queue suppliers").click()
    page.get_by_role("button", name="Resume").click()

    expect(page.locator(".messagelist")).to_have_text("Resumed: suppliers.")
    wait_for(lambda: all_are(Status.SUCCEEDED, 2))
    page.goto("/admin/retrytasks/task/")
    expect(banner).to_have_count(0)
    expect(page.locator("#result_list .rt-pill")).to_have_text(["Succeeded"] * 2)
