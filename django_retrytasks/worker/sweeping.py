"""The sweep, as django-q2's Schedule calls it."""

from __future__ import annotations

from django_retrytasks import lifecycle
from django_retrytasks.alerts.sending import review


def sweep() -> None:
    """Run the sweep, and review what there is to alert about: what django-q2's Schedule calls."""
    try:
        lifecycle.sweep()
    finally:
        review()
