"""The function that django-q2's Schedule of the sweep calls."""

from __future__ import annotations

from django_retrytasks import lifecycle
from django_retrytasks.alerts.sending import review


def sweep() -> None:
    """Run the sweep, and review the alerts."""
    try:
        lifecycle.sweep()
    finally:
        review()
