"""What ``costs.py`` runs: a sleep, or a failure."""

import time

from django_retrytasks import retry_task


@retry_task
def sleeps(seconds: float) -> None:
    if seconds:
        time.sleep(seconds)


@retry_task(max_retries=3, countdown=0)
def fails() -> None:
    raise ConnectionError("no luck")
