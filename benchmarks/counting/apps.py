"""The app's configuration: every connection that is opened counts."""

from __future__ import annotations

import os
from typing import Any

from django.apps import AppConfig
from django.db.backends.signals import connection_created

from .counters import FOLDER, Counter


class CountingConfig(AppConfig):
    name = "benchmarks.counting"

    def ready(self) -> None:
        counter = Counter(os.environ[FOLDER])

        def count(connection: Any, **_: Any) -> None:
            if counter.statement in connection.execute_wrappers:
                return
            connection.execute_wrappers.append(counter.statement)
            commit = connection._commit

            def counted() -> None:
                counter.commit()
                commit()

            connection._commit = counted

        connection_created.connect(count, weak=False)
