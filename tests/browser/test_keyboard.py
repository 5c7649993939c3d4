"""By keyboard alone, and always to be seen where one is."""

from __future__ import annotations

from playwright.sync_api import Locator, Page, expect

from django_retrytasks.models import Status

from .conftest import Browse
from .stage import PASSWORD, Stage, operator

# No page asks for more.
TABS = 150
# What has the focus, if it is a part of ours; and whether that can be seen.
FOCUSED = """() => {
  const ours = ":is(.rt-next, .rt-overview, .rt-section, .rt-confirm, #rt-refresh) *";
  const element = document.activeElement;
  const { outlineStyle, outlineWidth } = getComputedStyle(element);
  const isSeen = outlineStyle !== "none" && outlineWidth !== "0px";
  return element.matches(ours) ? [element.outerHTML, isSeen] : null;
}"""


def tab_to(page: Page, target: Locator, key: str = "Tab") -> None:
    """Press Tab until the target has the focus."""
    expect(target).to_be_visible()
    for _ in range(TABS):
        page.keyboard.press(key)
        if target.evaluate("(element) => element === document.activeElement"):
            return
    raise AssertionError(f"not to be reached by {key}: {target}")


def test_failed_task_is_found_and_re_driven(browse: Browse, stage: Stage) -> None:
    [task] = stage.fail_payments(1)
    operator("ada")
    page = browse()
    page.goto("/admin/retrytasks/task/")

    page.keyboard.type("ada")
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    tab_to(page, page.locator("#result_list").get_by_role("link", name="w.p.charge_card"))
    page.keyboard.press("Enter")
    tab_to(page, page.locator(".rt-buttons").get_by_role("link", name="Re-drive"))
    page.keyboard.press("Enter")
    tab_to(page, page.get_by_label("Reason"))
    page.keyboard.type("the gateway is back")
    tab_to(page, page.get_by_role("button", name="Re-drive"))
    page.keyboard.press("Space")

    expect(page.locator(".messagelist")).to_have_text("1 Task re-driven.")
    assert stage.driver.row(task).status == Status.PENDING


def test_ticked_tasks_are_discarded(browse: Browse, stage: Stage) -> None:
    tasks = stage.fail_payments(2)
    page = browse(operator("ada"))
    page.goto("/admin/retrytasks/task/")

    for checkbox in page.locator("input.action-select").all():
        tab_to(page, checkbox)
        page.keyboard.press("Space")
    tab_to(page, page.locator("select[name=action]"), "Shift+Tab")
    page.keyboard.type("Disc")
    tab_to(page, page.locator("button[name=index]"))
    page.keyboard.press("Enter")
    tab_to(page, page.get_by_role("button", name="Discard"))
    page.keyboard.press("Enter")

    expect(page.locator(".messagelist")).to_have_text("2 Tasks discarded.")
    assert {stage.driver.row(task).status for task in tasks} == {Status.DISCARDED}


def test_focus_is_seen_on_every_control(browse: Browse, shop: Stage) -> None:
    page = browse(operator("ada"))
    pages = shop.pages()
    focused: dict[str, bool] = {}

    for name in ("Tasks, none found", "Task failed", "group open", "all: re-drive", "pause"):
        page.goto(pages[name])
        for _ in range(TABS // 3):
            page.keyboard.press("Tab")
            focused |= [found] if (found := page.evaluate(FOCUSED)) else {}

    assert len(focused) > 20
    assert [element for element, is_seen in focused.items() if not is_seen] == []
