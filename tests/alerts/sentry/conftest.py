"""Fixtures for tests of Sentry."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
import sentry_sdk

from django_retrytasks.alerts.sentry import capture_attempt, capture_failure, connect
from django_retrytasks.signals import attempt_failed, task_failed
from django_retrytasks.tasks import tracing
from tests.alerts.sentry.stage import Sent, initialised, refuses


@pytest.fixture(scope="package", autouse=True)
def _unpatched_logging() -> Iterator[None]:
    """Take away what Sentry's logging integration leaves behind."""
    # Not after each file: Sentry patches logging once for a process.
    before = logging.Logger.callHandlers
    yield
    logging.Logger.callHandlers = before  # type: ignore[method-assign]


@pytest.fixture(autouse=True)
def _no_sentry(monkeypatch: pytest.MonkeyPatch, settings: Any) -> Iterator[None]:
    """Let each test start without Sentry, and leave this process as it was."""
    settings.RETRYTASKS = {"ALERTS": []}
    monkeypatch.setattr("sentry_sdk.scope._global_scope", None)
    monkeypatch.setattr("sentry_sdk.integrations.logging._IGNORED_LOGGERS", set())
    with sentry_sdk.isolation_scope() as scope:
        scope.clear()
        yield
    sentry_sdk.get_client().close(timeout=0)
    attempt_failed.disconnect(capture_failure)
    attempt_failed.disconnect(capture_attempt)
    task_failed.disconnect(refuses)
    tracing.connect("sentry", None)


@pytest.fixture
def sentry() -> Sent:
    """Return what Sentry is sent, once it is initialised and connected."""
    sent = initialised()
    connect()
    return sent
