"""What the script adds: a list that refreshes by itself, and tracebacks that can be copied."""

from __future__ import annotations

from playwright.sync_api import Page, expect
from webshop import mail

from django_retrytasks.models import Attempt, Status, Task

from .conftest import Browse
from .stage import Stage, operator

TASKS = "/admin/retrytasks/task/"
# Between two looks, in milliseconds.
EVERY = 5000


def refreshed(page: Page) -> bool:
    """Let the time of one look pass; return whether the page looked."""
    looks: list[str] = []
    page.on("request", lambda request: looks.append(request.url))
    page.clock.run_for(EVERY)
    page.wait_for_load_state("networkidle")
    return bool(looks)


def open_list(browse: Browse, *, is_on: bool = True) -> Page:
    page = browse(operator("ada"))
    page.clock.install()
    page.goto(TASKS)
    if is_on:
        page.get_by_label("Refresh every 5 seconds").check()
        page.locator("h1").first.click()
    return page


def test_list_follows_a_task(browse: Browse, stage: Stage) -> None:
    receipt = mail.send_receipt.enqueue("2026-1001", "ann@shop.example")
    page = open_list(browse)
    pill = page.locator("#result_list .rt-pill")
    expect(pill).to_have_text("Pending")

    stage.driver.run_due()
    page.clock.run_for(EVERY)

    expect(pill).to_have_text("Succeeded")
    assert stage.driver.row(receipt).status == Status.SUCCEEDED


def test_list_stands_still_until_it_is_asked_to_refresh(browse: Browse, stage: Stage) -> None:
    mail.send_receipt.enqueue("2026-1001", "ann@shop.example")
    page = open_list(browse, is_on=False)

    assert not refreshed(page)
    page.get_by_label("Refresh every 5 seconds").check()
    assert refreshed(page)
    page.get_by_label("Refresh every 5 seconds").uncheck()
    assert not refreshed(page)


def test_choice_is_kept_from_page_to_page(browse: Browse, stage: Stage) -> None:
    page = open_list(browse)

    page.goto(f"{TASKS}?status=FAILED")

    expect(page.get_by_label("Refresh every 5 seconds")).to_be_checked()


def test_ticks_stay_when_a_task_arrives(browse: Browse, stage: Stage) -> None:
    mail.send_receipt.enqueue("2026-1001", "ann@shop.example")
    page = open_list(browse)
    tick = page.locator("input.action-select")
    tick.check()
    page.locator("h1").first.click()

    mail.send_receipt.enqueue("2026-1002", "bo@shop.example")
    assert not refreshed(page)

    expect(tick).to_be_checked()
    expect(page.locator(".action-counter")).to_have_text("1 of 1 selected")
    tick.uncheck()
    page.locator("h1").first.click()
    page.clock.run_for(EVERY)
    expect(page.locator("#result_list tbody tr")).to_have_count(2)


def test_actions_work_on_rows_that_were_refreshed(browse: Browse, stage: Stage) -> None:
    receipt = mail.send_receipt.enqueue("2026-1001", "ann@shop.example")
    page = open_list(browse)
    stage.outage.touch()
    stage.driver.run_due()
    stage.outage.unlink()
    page.clock.run_for(EVERY)
    expect(page.locator("#result_list .rt-pill")).to_have_text("Retrying")

    page.locator("input.action-select").check()
    page.locator("select[name=action]").select_option("run_now")
    page.locator("button[name=index]").click()
    page.get_by_role("button", name="Run now").click()

    expect(page.locator(".messagelist")).to_have_text("1 Task made due.")
    assert Task.objects.due().filter(pk=receipt.id).exists()


def test_traceback_is_copied(browse: Browse, stage: Stage) -> None:
    [task] = stage.fail_payments(1)
    page = browse(operator("ada"), permissions=["clipboard-read", "clipboard-write"])
    page.goto(f"{TASKS}{task.pk}/change/")
    latest = page.locator(".rt-timeline > li").last

    latest.get_by_text("Full traceback").click()
    latest.get_by_role("button", name="Copy").last.click()

    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.strip() == Attempt.objects.get(task=task, number=3).traceback.strip()
