"""Spans of time, for humans."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

# Seconds from which a span is told in a unit, the seconds in one, and the words.
UNITS = (
    (2 * 86_400, 86_400, _("%(count)d d")),
    (2 * 3_600, 3_600, _("%(count)d h")),
    (2 * 60, 60, _("%(count)d min")),
    (0, 1, _("%(count)d s")),
)


def span(seconds: float) -> str:
    """Return a duration in whole seconds, minutes, hours or days, such as "12 min"."""
    seconds = max(0.0, seconds)
    size, words = next((size, words) for least, size, words in UNITS if seconds >= least)
    return str(words % {"count": round(seconds / size)})
