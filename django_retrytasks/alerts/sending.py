"""Send alerts: one Task per alert and sink."""

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
from django_retrytasks.models import FailureGroup, Task
from django_retrytasks.tasks import retry_task
from django_retrytasks.tasks.context import RetryTaskContext

from . import notices, rules
from .alert import Alert
from .calling import give_time, synchronous
from .notices import Notice
from .parts import in_the_sites_words


def review() -> None:
    """Enqueue the alerts that time makes due: end of a cooldown, recoveries, breached rules.

    Called by the sweep.
    """
    with in_the_sites_words():  # the messages of breaches and floods are stored
        breaches = list(rules.breached())
    for group in breaches:
        groups.count_breach(group)
    if not FailureGroup.objects.failing().exists():
        return
    for take in (notices.take_overdue, notices.take_recovered):
        with writing(), in_the_sites_words():
            enqueue_alerts(take())


@retry_task(bind=True, **POLICY)
def send_alert(self: RetryTaskContext, sink: str, notice: dict[str, Any]) -> None:
    """Send one alert to one sink; if the sink raises, it alone is retried."""
    target = next((entry for entry in conf.get().sinks if entry.name == sink), None)
    if target is None:
        give_time(self, f'no "{sink}" in RETRYTASKS["ALERTS"]')
    alert = Alert.from_notice(Notice(**notice), id=self.request.id)
    send = partial(synchronous(import_string(target.path)), alert, **target.options)
    with in_the_sites_words():
        if target.path == conf.LOG:
            send()
        else:
            backend_of(self.row).send_alert(target.name, alert, send)


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
