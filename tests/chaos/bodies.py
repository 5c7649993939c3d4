"""The bodies of a chaos run: each does what its script says, and keeps a diary of it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from django_retrytasks import Discard, RetryTaskContext, Snooze, retry_task

TIMEOUT = 3.0


@retry_task(bind=True, max_retries=3, countdown=0.3, max_countdown=2, timeout=TIMEOUT)
def acts(self: RetryTaskContext, directory: str, script: list[str]) -> int:
    """Do what the script has for this attempt; its last word holds for all that follow."""
    word = script[min(self.attempt, len(script)) - 1]
    with diary(directory, self.request.id, self.attempt):
        if word == "retry":
            raise self.retry(exc=ConnectionError("as told"))
        act(word)
    return self.attempt


def act(word: str) -> None:
    match word.split():
        case ["sleep", seconds]:
            time.sleep(float(seconds))
        case ["raise"]:
            raise ConnectionError("as told")
        case ["quit"]:
            raise SystemExit(1)
        case ["overrun"]:
            time.sleep(60)
        case ["snooze"]:
            raise Snooze(0.5)
        case ["discard"]:
            raise Discard("as told")
        case ["kill"]:
            os.kill(os.getpid(), signal.SIGKILL)
        case ["exit"]:
            os._exit(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One run of a body, in seconds of the monotonic clock; ``end`` is None if it died."""

    task: str
    attempt: int
    pid: int
    start: float
    end: float | None


@contextmanager
def diary(directory: str, task: str, attempt: int) -> Iterator[None]:
    """Note the start and the end of the body in the process's own file."""
    with (Path(directory) / str(os.getpid())).open("a", buffering=1) as lines:
        start = time.monotonic()
        lines.write(f"{task} {attempt} {start}\n")
        try:
            yield
        finally:
            lines.write(f"{task} {attempt} {start} {time.monotonic()}\n")


def entries(directory: Path) -> list[Entry]:
    """Read all diaries."""
    found: dict[tuple[str, ...], Entry] = {}
    for path in directory.iterdir():
        for line in path.read_text().splitlines():
            task, attempt, start, *end = line.split()
            found[path.name, task, attempt, start] = Entry(
                task=task,
                attempt=int(attempt),
                pid=int(path.name),
                start=float(start),
                end=float(end[0]) if end else None,
            )
    return list(found.values())
