"""The work of a woken worker: claim, call, decide, settle, send signals."""

from .serving import run, run_inline
from .sweeping import sweep

__all__ = [
    "run",
    "run_inline",
    "sweep",
]
