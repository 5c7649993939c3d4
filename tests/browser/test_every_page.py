"""Every page of ours, in every language it is translated to: read by all, on any screen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from django.contrib import admin
from django.urls import resolve
from playwright.sync_api import Page

from django_retrytasks.models import (
    FailureGroup,
    OpenBreaker,
    Operation,
    Pause,
    PeriodicTask,
    Task,
    Worker,
)

from .conftest import Browse
from .stage import Stage, operator

LANGUAGES = ["en", "de", "zh-hans", "ar"]
# What axe-core finds fault with in markup that is Django's own: the rule and the element.
NOT_OURS = {
    # Its label is a picture, whose text in place of it axe-core does not take for a label.
    ("label-title-only", "#searchbar"),
}
# A phone's width in pixels, a tablet's, and a small notebook's.
WIDTHS = (360, 768, 1300)
# By how many pixels an element's content is wider than the element.
SIDEWAYS = "of => { const e = document.querySelector(of); return e.scrollWidth - e.clientWidth; }"
# The rules that a theme makes a difference to.
OF_COLOURS = {"runOnly": ["color-contrast", "link-in-text-block"]}
# They take a POST, or answer 403: nobody adds, changes or deletes these rows by a form.
NO_PAGES = {"autocomplete", "stop", "resume", "close", "say", "delete", "run", "off", "on"}

for_each_language = pytest.mark.parametrize("language", LANGUAGES)


def each_page(page: Page, shop: Stage) -> Iterator[str]:
    """Go from page to page; yield the name of each one while it is shown."""
    for name, url in shop.pages().items():
        page.goto(url)
        yield name
    yield from _pages_behind_forms(page, shop)


def _pages_behind_forms(page: Page, shop: Stage) -> Iterator[str]:
    pages = shop.pages()
    page.goto(pages["Tasks, filtered"])
    for checkbox in page.locator("input.action-select").all()[:2]:
        checkbox.check()
    page.locator("select[name=action]").select_option("redrive")
    send(page, "button[name=index]")
    yield "some: re-drive"
    send(page, ".submit-row input[type=submit]")
    yield "Tasks, with a message"
    page.goto(pages["one: snooze"])
    send(page, ".submit-row input[type=submit]")
    yield "one: snooze, with an error"
    page.goto(pages["pause, add"])
    send(page, "input[name=_save]")
    yield "pause, add, with an error"


def send(page: Page, button: str) -> None:
    """Send a form by its button; return when the answer is loaded.

    A click returns at the answer's first byte, while the new document is empty.
    """
    with page.expect_navigation():
        page.locator(button).click()


def test_axe_finds_nothing_serious_in_either_theme(browse: Browse, shop: Stage) -> None:
    page = browse(operator("ada"), color_scheme="light")

    found = {}
    for name in each_page(page, shop):
        found[name, "light"] = violations(page)
        page.emulate_media(color_scheme="dark")
        found[name, "dark"] = violations(page, OF_COLOURS)
        page.emulate_media(color_scheme="light")

    assert {at: faults for at, faults in found.items() if faults} == {}


@for_each_language
def test_no_page_scrolls_sideways(browse: Browse, shop: Stage, language: str) -> None:
    page = browse(operator("ada"), locale=language)

    found = {}
    for name in each_page(page, shop):
        assert page.locator("html").get_attribute("lang") == language
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            found[name, width] = page.evaluate(SIDEWAYS, "html")

    assert {at: by for at, by in found.items() if by} == {}


def test_list_of_tasks_fits_a_notebook(browse: Browse, shop: Stage) -> None:
    page = browse(operator("ada"), width=1300)

    page.goto(shop.pages()["Tasks"])

    assert page.evaluate(SIDEWAYS, "#changelist .results") == 0


def test_every_page_there_is_was_visited(shop: Stage) -> None:
    visited = {resolve(url.partition("?")[0]).url_name for url in shop.pages().values()}

    there_are = {
        pattern.name
        for model in (Task, FailureGroup, OpenBreaker, Operation, Pause, PeriodicTask, Worker)
        for pattern in admin.site._registry[model].get_urls()
        if pattern.name and pattern.name.rpartition("_")[2] not in NO_PAGES
    }
    forbidden = {
        f"retrytasks_{name}_add"
        for name in ("task", "failuregroup", "operation", "periodictask", "worker")
    }
    # Shown where a verb was chosen in the list, or where its form has an error.
    behind_forms = {"retrytasks_task_selected"}
    assert there_are - forbidden - behind_forms <= visited


def test_watch_sees_what_the_policy_forbids(browse: Browse, faults: list[str]) -> None:
    page = browse()
    answer = page.goto("/admin/login/")

    with page.expect_console_message(lambda message: "CSP style-src-attr" in message.text):
        page.evaluate("document.body.setAttribute('style', 'color: red')")
    with page.expect_console_message(lambda message: "CSP img-src" in message.text):
        page.evaluate("document.body.append(Object.assign(new Image(), {src: 'data:,'}))")

    assert answer is not None
    assert answer.headers["content-security-policy"] == "default-src 'self'"
    assert sum("error: CSP" in fault for fault in faults) == 2
    faults.clear()


def violations(page: Page, options: dict[str, Any] | None = None) -> list[str]:
    """Return what axe-core finds serious or critical in a page."""
    # Else it sees colours half-way from one theme to the other.
    page.evaluate("document.getAnimations().forEach((transition) => transition.finish())")
    if page.evaluate("!window.axe"):
        page.evaluate(AXE_SCRIPT)
    run = "options => axe.run({resultTypes: ['violations'], preload: false, ...options})"
    results: Any = page.evaluate(run, options)
    return [
        f"{violation['id']}: {node['target']} {node['failureSummary']}"
        for violation in results["violations"]
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
        if (violation["id"], *node["target"]) not in NOT_OURS
    ]
