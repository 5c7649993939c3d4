"""The work of a woken worker: claim, call, decide, settle, send signals."""

from .serving import run, run_inline
from .stepping import run_next
from .sweeping import enqueue, sweep

__all__ = [
    "enqueue",
    "run",
    "run_inline",
    "run_next",
    "sweep",
]
