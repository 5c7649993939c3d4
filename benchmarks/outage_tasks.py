"""What the benchmark of an outage runs: calls of a server that is down while a file is there."""

import os
import time
from pathlib import Path

from django_retrytasks import Breaker, retry_task

DOWN = Path(os.environ.get("OUTAGE_FILE", "/nonexistent"))
# Seconds of a call, and of a refusal.
CALL = 0.002
# All waits are a third of the usual ones: so is the outage, for which ten minutes would be long.
POLICY = {"max_retries": 2, "countdown": 5 / 3, "backoff": 2}
BREAKER = Breaker(on=ConnectionError, failures=10, probe_every=10)


def call() -> None:
    time.sleep(CALL)
    if DOWN.exists():
        raise ConnectionError("the server is down")


@retry_task(**POLICY)  # type: ignore[arg-type]
def without_breaker() -> None:
    call()


@retry_task(**POLICY, breaker=BREAKER)  # type: ignore[arg-type]
def with_breaker() -> None:
    call()
