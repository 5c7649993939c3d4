"""Call a peer's functions as the lines of standard input ask for; answer each by a line of JSON.

``python -m benchmarks.peers.host MODULE``
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from importlib import import_module
from types import ModuleType
from typing import Any

import django

# So many tasks share a transaction of ``enqueue_inside``.
INSIDE = 100


def main() -> None:
    # Standard output is for answers alone, whatever a peer prints.
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        django.setup()
        door = import_module(f"benchmarks.peers.{sys.argv[1]}")
        for line in sys.stdin:
            function, arguments = json.loads(line)
            print(json.dumps(answer(door, function, arguments)), file=answers, flush=True)


def answer(door: ModuleType, function: str, arguments: list[Any]) -> dict[str, Any]:
    try:
        call = getattr(door, function, None) or COMMON[function]
        if function == "enqueue_inside":
            arguments = [door, *arguments]
        seconds, python = time.perf_counter(), time.process_time()
        value = call(*arguments)
    except Exception:
        return {"refused": traceback.format_exc()}
    return {
        "value": value,
        "seconds": time.perf_counter() - seconds,
        "python": (time.process_time() - python) * 1e6,
    }


def enqueue_inside(door: Any, count: int) -> None:
    """Enqueue one by one, a hundred in each of the caller's transactions."""
    from django.db import transaction

    for _ in range(0, count, INSIDE):
        with transaction.atomic():
            door.enqueue_each(INSIDE)


COMMON = {"enqueue_inside": enqueue_inside}

if __name__ == "__main__":
    main()
