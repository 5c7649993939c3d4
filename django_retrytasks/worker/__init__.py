"""What a woken worker does: claim, call, decide, settle, tell."""

from .serving import run, run_inline
from .sweeping import sweep

__all__ = [
    "run",
    "run_inline",
    "sweep",
]
