"""Ask a peer for something, in a process with that peer's own settings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class RefusedError(Exception):
    """A peer cannot do what it was asked for; the text says why."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a peer returned, the seconds it took, and the microseconds of CPU that Python used."""

    value: Any
    seconds: float
    python: float


class Host:
    """A process that calls the functions of one peer's module, until it is left."""

    def __init__(self, module: str, environment: Mapping[str, str], log: Path) -> None:
        self._command = [sys.executable, "-m", "benchmarks.peers.host", module]
        self._environment = os.environ | dict(environment)
        self._log = log

    def __enter__(self) -> Host:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)

    def ask(self, function: str, *arguments: object) -> Answer:
        """Call the function there. Raises RefusedError if it cannot do that, or raises."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps([function, arguments]), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise RefusedError(self._log.read_text(errors="replace")[-2000:])
        answer = json.loads(line)
        if "refused" in answer:
            raise RefusedError(answer["refused"])
        return Answer(**answer)
