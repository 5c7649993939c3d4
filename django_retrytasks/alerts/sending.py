"""Send alerts, each to each sink by a Task of its own."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from django.utils.module_loading import import_string

from django_retrytasks import conf, lifecycle
from django_retrytasks.backend import backend_of
from django_retrytasks.database import writing
from django_retrytasks.lifecycle import groups
from django_retrytasks.lifecycle.internal import POLICY, internal_task
from django_retrytasks.models import Task
from django_retrytasks.tasks import retry_task
from django_retrytasks.tasks.context import RetryTaskContext

from . import notices, rules
from .alert import Alert
from .calling import give_time, synchronous
from .notices import Notice
from .words import in_the_sites_words


def review() -> None:
    """Tell of what time alone makes due: failures within a cooldown, recoveries, breached rules.

    Called by the sweep.
    """
    with in_the_sites_words():  # a breach's message is stored, as is that of a flood below
        breaches = list(rules.breached())
    for group in breaches:
        groups.count_breach(group)
    for take in (notices.take_overdue, notices.take_recovered):
        with writing(), in_the_sites_words():
            enqueue_alerts(take())


@retry_task(bind=True, **POLICY)
def send_alert(self: RetryTaskContext, sink: str, notice: dict[str, Any]) -> None:
    """Send one alert to one sink; it is retried alone when it raises."""
    found = next((one for one in conf.get().sinks if one.name == sink), None)
    if found is None:
        give_time(self, f'no "{sink}" in RETRYTASKS["ALERTS"]')
    alert = Alert.from_notice(Notice(**notice), id=self.request.id)
    send = partial(synchronous(import_string(found.path)), alert, **found.options)
    with in_the_sites_words():
        if found.path == conf.LOG:
            send()
        else:
            backend_of(self.row).send_alert(found.name, alert, send)


def enqueue_alerts(due: Sequence[Notice]) -> None:
    """Enqueue one Task per notice and sink."""
    rows = Task.objects.only("queue_name", "backend")
    samples = rows.in_bulk([notice.sample_id for notice in due])
    path = send_alert.module_path
    alerts = [
        internal_task(path, [sink.name, notice.as_stored()], samples.get(notice.sample_id))
        for notice in due
        for sink in conf.get().sinks
    ]
    lifecycle.enqueue(alerts)
