"""Dotted paths stored in rows.

A cluster or a Task finds these functions by name. Another release may have written the row, so each
path must stay callable.
"""

from __future__ import annotations

WORKER_ENTRY = "django_retrytasks.worker.run"
SWEEP_ENTRY = "django_retrytasks.worker.sweep"
# Users write it into Schedules.
ENQUEUE_ENTRY = "django_retrytasks.worker.enqueue"
INLINE_ENTRY = "django_retrytasks.worker.run_inline"
ANNOUNCE_ENTRY = "django_retrytasks.alerts.announcements.announce_failures"
PERIODIC_ENTRY = "django_retrytasks.operators.periodic.run_moment"
BREAKER_ENTRY = "django_retrytasks.alerts.breakers.announce_breaker"
