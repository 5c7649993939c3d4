"""Celery's option names, their replacements here, and the error for an unknown option."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from django_retrytasks.values.checked import meant

# The replacement of each of Celery's options.
INSTEAD: Final = {
    "autoretry_for": "use 'retry_on'",
    "dont_autoretry_for": "use 'no_retry_on'",
    "default_retry_delay": "use 'countdown', with backoff=1 and jitter=False for equal waits",
    "retry_backoff": "use 'backoff', the factor, and 'countdown', the first wait",
    "retry_backoff_max": "use 'max_countdown'",
    "retry_jitter": "use 'jitter'",
    "retry_kwargs": "give its keys as options, such as 'max_retries' and 'countdown'",
    "soft_time_limit": "use 'timeout'",
    "time_limit": "use 'timeout'",
    "queue": "use 'queue_name'",
    "eta": "use 'run_after'",
    "name": "leave it out, a Task is known by the dotted path of its function",
    "base": "use 'on_failure' or the signals",
    "throws": "raise Discard, or use 'no_retry_on'",
    "rate_limit": "use a queue of its own and a cluster with few workers",
    "link": "let the function enqueue what follows",
    "link_error": "use 'on_failure'",
    "acks_late": "leave it out, it is always so",
    "reject_on_worker_lost": "leave it out, it is always so",
    "track_started": "leave it out, it is always so",
    "ignore_result": "leave it out, what a function returns is kept with its Task",
    "serializer": "leave it out, arguments are stored as JSON",
}


def unknown_option(name: str, options: Iterable[str]) -> str:
    """Return the error message for an unknown option: the likely option, and all options."""
    known = list(options)
    hint = f"It is Celery's: {INSTEAD[name]}." if name in INSTEAD else meant(name, known)
    return " ".join(
        filter(None, (f"unknown option {name!r}.", hint, f"Options: {', '.join(known)}"))
    )
