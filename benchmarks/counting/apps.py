"""The app's configuration: every connection that is opened counts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from django.apps import AppConfig
from django.db.backends.signals import connection_created

from .counters import FOLDER, SharedCounter


class CountingConfig(AppConfig):
    name = "benchmarks.counting"

    def ready(self) -> None:
        counter = SharedCounter(Path(os.environ[FOLDER]))

        def count(connection: Any, **_: Any) -> None:
            counter.count_on(connection)

        connection_created.connect(count, weak=False)
