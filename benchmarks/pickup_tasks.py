"""What the benchmark of pick-up runs."""

import time

from django_retrytasks import retry_task


@retry_task
def started_at() -> float:
    """Return the Unix time at which it was called."""
    return time.time()
