"""The thread that keeps a worker's claim while the main thread runs a function."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from django.db import connections

from django_retrytasks.database.persistence import is_transient

logger = logging.getLogger("django_retrytasks")

# Seconds between two beats. After so many, the other Tasks of a running Task's claim are settled or
# given back.
PATIENCE = 1.0


class Beating(Protocol):
    """An object that a heart calls regularly."""

    def beat(self) -> None:
        """Do the work that is due now. The heart's thread calls it about once a second."""


class Heart:
    """The thread that beats for long-running Tasks, one in each worker process.

    Short Tasks cost no query: it beats once a second, and uses the database, on its own connection,
    only for a claim that is a second old.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._batch: Beating | None = None
        self._idle = True
        self._pid: int | None = None

    @contextmanager
    def watching(self, batch: Beating) -> Iterator[None]:
        """Beat for a batch while the body runs."""
        self._start_once()
        with self._changed:
            self._batch = batch
            if self._idle:
                self._changed.notify()
        try:
            yield
        finally:
            self._batch = None

    def _start_once(self) -> None:
        # A forked process has the parent's objects, but not its threads.
        if self._pid != os.getpid():
            self._changed = threading.Condition()
            self._pid = os.getpid()
            name = "retrytasks-heart"
            threading.Thread(target=self._beat_for_ever, name=name, daemon=True).start()

    def _beat_for_ever(self) -> None:
        while True:
            batch = self._wait()
            try:
                batch.beat()
            except Exception as error:
                _log(error)
            finally:
                # Unused for the next quarter of a lease, and perhaps broken.
                connections.close_all()

    def _wait(self) -> Beating:
        with self._changed:
            while True:
                self._idle = self._batch is None
                self._changed.wait(None if self._idle else PATIENCE)
                batch = self._batch
                if batch is not None and not self._idle:
                    return batch


def _log(error: Exception) -> None:
    if is_transient(error):
        logger.warning("Heartbeat is tried again in a second: %s", error)
    else:
        logger.error("Heartbeat failed; it is tried again in a second", exc_info=error)
