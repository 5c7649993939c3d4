"""A browser for the whole run, a context of its own for each test, and an eye on what goes wrong.

Every page a test visits is watched: a violation of the Content-Security-Policy, an error in the
console, an answer of 400 or more and a request to another host fail the test.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.contrib.auth.models import User
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from pytest_django.live_server_helper import LiveServer

from tests import matrix

SETTINGS = "tests.browser.settings"
if os.environ.get("DJANGO_SETTINGS_MODULE") != SETTINGS:
    raise pytest.UsageError(f"set DJANGO_SETTINGS_MODULE={SETTINGS}, or run `tox -e browser`")

from .stage import QUIET_DAY, Stage  # noqa: E402

# Playwright's loop runs in the thread of the tests, which Django then takes for asynchronous code.
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
TELL_VIOLATIONS = """
addEventListener("securitypolicyviolation", (event) =>
  console.error(`CSP ${event.violatedDirective}: ${event.blockedURI} ${event.sample}`));
"""
Browse = Callable[..., Page]


def chromium_path() -> str:
    """Return where the browser is; fail where there is none."""
    found = matrix.chromium()
    if found is None:
        pytest.fail(f"no Chromium: {matrix.CHROMIUM_WANTED}", pytrace=False)
    return found


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path())
        yield browser
        browser.close()


@pytest.fixture
def faults() -> Iterator[list[str]]:
    """Collect what goes wrong in the pages of a test; it fails if any is left at its end."""
    found: list[str] = []
    yield found
    assert found == []


@pytest.fixture
def browse(chromium: Browser, live_server: LiveServer, faults: list[str]) -> Iterator[Browse]:
    """Return what opens a page: ``browse(user, width=1280, **options_of_the_context)``.

    Whoever is given as ``user`` is logged in.
    """
    contexts: list[BrowserContext] = []

    def open_page(user: User | None = None, *, width: int = 1280, **options: Any) -> Page:
        context = chromium.new_context(
            base_url=live_server.url,
            viewport={"width": width, "height": 900},
            reduced_motion="reduce",
            **options,
        )
        contexts.append(context)
        context.set_default_timeout(10_000)
        watch(context, live_server.url, faults)
        if user:
            log_in(context, user, live_server.url)
        return context.new_page()

    yield open_page
    for context in contexts:
        context.close()


def watch(context: BrowserContext, origin: str, faults: list[str]) -> None:
    """Note what goes wrong in the pages of a context."""
    context.add_init_script(TELL_VIOLATIONS)
    host = urlsplit(origin).netloc

    def note(what: str, is_fault: bool) -> None:
        if is_fault:
            faults.append(what)

    context.on("console", lambda m: note(f"{m.type}: {m.text}", m.type in ("error", "warning")))
    context.on("weberror", lambda e: note(f"uncaught: {e.error}", True))
    context.on("request", lambda r: note(f"foreign: {r.url}", urlsplit(r.url).netloc != host))
    context.on("response", lambda r: note(f"{r.status}: {r.url}", r.status >= 400))


def log_in(context: BrowserContext, user: User, url: str) -> None:
    """Log a user in, the form left out."""
    client = Client()
    client.force_login(user)
    value = client.cookies["sessionid"].value
    context.add_cookies([{"name": "sessionid", "value": value, "url": url}])


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, transactional_db: None) -> Stage:
    """Return an empty stage."""
    monkeypatch.setenv("WEBSHOP_OUTAGE", "")  # to be put back after the test
    return Stage(outage=tmp_path / "outage")


@pytest.fixture
def shop(stage: Stage) -> Stage:
    """Return a stage with rows in every status."""
    stage.fill(QUIET_DAY, failed=5)
    return stage
