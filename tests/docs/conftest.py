"""Books of pages, each run as if it were alone."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module

import django
import pytest
from django.dispatch import Signal
from pytest_django import Settings

from django_retrytasks import signals
from tests.docs.book import Book, NewBook


@pytest.fixture
def same_receivers() -> Iterator[None]:
    """Take away what pages connect to our signals."""
    ours = [value for value in vars(signals).values() if isinstance(value, Signal)]
    before = [(one, list(one.receivers)) for one in ours]
    yield
    for one, receivers in before:
        one.receivers = receivers
        one.sender_receivers_cache.clear()


@pytest.fixture
def backport(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have Django 5.2's backport found where the pages import django.tasks from."""
    if django.VERSION < (6, 0):
        monkeypatch.setitem(sys.modules, "django.tasks", import_module("django_tasks"))


@pytest.fixture
def new_book(
    monkeypatch: pytest.MonkeyPatch,
    settings: Settings,
    same_receivers: None,
    backport: None,
    no_declarations: None,
) -> NewBook:
    """Return what opens a page."""
    return lambda page: Book(page, monkeypatch, settings)
