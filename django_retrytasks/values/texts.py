"""Values in words: a decision in the reader's language, a length of time, a number, an error."""

from __future__ import annotations

import re

from django.utils.translation import gettext, gettext_noop
from django.utils.translation import gettext_lazy as _

# Phrases of Attempt.decision, Task.stop_note, Operation.stopped_because and OpenBreaker.reason. The
# first match wins.
PHRASES = (
    gettext_noop("succeeded"),
    gettext_noop("discarded: %(why)s"),
    gettext_noop("discarded"),
    gettext_noop("snoozed for %(seconds)s s"),
    gettext_noop("retry %(number)s of %(most)s in %(seconds)s s"),
    gettext_noop("retry %(number)s of %(most)s in %(seconds)s s (%(note)s)"),
    gettext_noop("retry %(number)s (no limit) in %(seconds)s s"),
    gettext_noop("retry %(number)s (no limit) in %(seconds)s s (%(note)s)"),
    gettext_noop("probe of an open breaker: again in %(seconds)s s, no retry spent"),
    gettext_noop("max_retries reached (%(count)s retry)"),
    gettext_noop("max_retries reached (%(count)s retries)"),
    gettext_noop("max_crashes reached (crash %(count)s of %(most)s)"),
    gettext_noop("retry_for: %(seconds)s s would be exceeded"),
    gettext_noop("backoff returned None"),
    gettext_noop("%(error)s is not in retry_on"),
    gettext_noop("%(error)s is in no_retry_on"),
    gettext_noop("the return value cannot be stored"),
    gettext_noop("the outcome cannot be stored"),
    gettext_noop("cancelled by %(who)s: %(why)s"),
    gettext_noop("cancelled by %(who)s"),
    gettext_noop("cancelled: %(why)s"),
    gettext_noop("cancelled"),
    gettext_noop("canary: %(count)s of %(most)s did not succeed"),
    gettext_noop("its selection was erased"),
    gettext_noop("by %(who)s: %(why)s"),
    gettext_noop("by %(who)s"),
    gettext_noop("%(count)s failures in a row: %(error)s, Retry-After %(seconds)s s"),
    gettext_noop("%(count)s failures in a row: %(error)s"),
    gettext_noop("a failure: %(error)s, Retry-After %(seconds)s s"),
    gettext_noop("a failure: %(error)s"),
)
# The ends of the phrases that give a countdown.
WAITS = ("%(seconds)s s", "%(seconds)s s (%(note)s)", "%(seconds)s s, no retry spent")
# Notes after a semicolon that are for operators.
NOTES = (gettext_noop("its end is not known yet"),)


def translated(text: str) -> str:
    """Return a stored text in the current language; unchanged if it matches no phrase.

    The part after a semicolon stays unchanged if it is a note for developers.
    """
    first, semicolon, note = text.partition("; ")
    for phrase, pattern in _PATTERNS.items():
        if match := pattern.fullmatch(first):
            shown = gettext(note) if note in NOTES else note
            return gettext(phrase) % match.groupdict() + semicolon + shown
    return text


def countdown_in(decision: str) -> float | None:
    """Return the seconds that a stored decision says to wait; None if it stops the Task."""
    first = decision.partition("; ")[0]
    for phrase in PHRASES:
        if phrase.endswith(WAITS) and (match := _PATTERNS[phrase].fullmatch(first)):
            return float(match["seconds"])
    return None


def _pattern(phrase: str) -> re.Pattern[str]:
    named = re.sub(r"%\\\((\w+)\\\)s", r"(?P<\1>.+?)", re.escape(phrase))
    return re.compile(named, re.DOTALL)


_PATTERNS = {phrase: _pattern(phrase) for phrase in PHRASES}

# From so many seconds a unit is used; the seconds of one unit; the words.
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


def length(seconds: int) -> str:
    """Return an exact length of time above 0 in the largest unit that fits, such as "90 s"."""
    size, words = next((size, words) for _, size, words in UNITS if seconds % size == 0)
    return str(words % {"count": seconds // size})


def number_text(value: float) -> str:
    """Return a number to the third decimal place, such as "5" or "0.25"."""
    return f"{value:.3f}".rstrip("0").rstrip(".")


def error_text(class_path: str, message: str) -> str:
    """Return a line about an exception, such as "ValueError: no such order"."""
    return class_path.removeprefix("builtins.") + (f": {message}" if message else "")
