"""Where no script runs, all there is can be reached."""

from __future__ import annotations

from playwright.sync_api import expect

from django_retrytasks.models import Status

from .conftest import Browse
from .stage import PASSWORD, Stage, operator


def test_failed_task_is_found_and_re_driven(browse: Browse, stage: Stage) -> None:
    [task] = stage.fail_payments(1)
    operator("ada")
    page = browse(java_script_enabled=False)

    page.goto("/admin/retrytasks/task/")
    page.get_by_label("Username").fill("ada")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.locator("#changelist-filter").get_by_role("link", name="Failed", exact=True).click()
    page.locator("#result_list").get_by_role("link", name="w.p.charge_card").click()
    last = page.locator(".rt-timeline > li").last
    expect(last.locator(".rt-traceback").first).to_be_visible()
    last.get_by_text("Full traceback").click()
    expect(last.locator(".rt-traceback").last).to_be_visible()
    page.locator(".rt-buttons").get_by_role("link", name="Re-drive").click()
    page.get_by_label("Reason").fill("the gateway is back")
    page.get_by_role("button", name="Re-drive").click()

    expect(page.locator(".messagelist")).to_have_text("1 Task re-driven.")
    expect(page.locator(".rt-history")).to_contain_text("ada Re-drive: the gateway is back")
    assert stage.driver.row(task).status == Status.PENDING


def test_all_that_the_filters_match_are_re_driven_from_their_group(
    browse: Browse, stage: Stage
) -> None:
    tasks = stage.fail_payments(3)
    page = browse(operator("ada"), java_script_enabled=False)

    page.goto("/admin/retrytasks/failuregroup/")
    page.get_by_role("link", name="GatewayError").click()
    page.get_by_role("link", name="Re-drive all").click()
    page.get_by_label("Canary").fill("")
    page.get_by_role("button", name="Re-drive").click()
    expect(page.locator(".rt-headline")).to_contain_text("Re-drive: 0 of 3 done")
    stage.driver.drain()

    # The page looks again by itself: its answer says so, no script is needed.
    expect(page.locator(".rt-headline")).to_contain_text("Re-drive: 3 of 3 done")
    assert {stage.driver.row(task).status for task in tasks} == {Status.SUCCEEDED}
