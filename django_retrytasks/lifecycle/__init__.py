"""The verbs: every change of a Task's state, each for many Tasks in one transaction.

docs/explanation/lifecycle.md shows the states and transitions. Times are the database's.
"""

from .claiming import (
    Claim,
    ClaimInDoubt,
    claim,
    claim_inline,
    heartbeat,
    postpone,
    release,
    still_held,
    write_progress,
)
from .endings import Ending, Settled
from .enqueueing import enqueue
from .operating import Act, cancel, discard, redrive, run_now, snooze
from .pruning import prune
from .settling import settle
from .sweeping import sweep
from .unique import Held, holders_of
from .waking import running_inline, wake_cluster, wake_for_due

__all__ = [
    "Act",
    "Claim",
    "ClaimInDoubt",
    "Ending",
    "Held",
    "Settled",
    "cancel",
    "claim",
    "claim_inline",
    "discard",
    "enqueue",
    "heartbeat",
    "holders_of",
    "postpone",
    "prune",
    "redrive",
    "release",
    "run_now",
    "running_inline",
    "settle",
    "snooze",
    "still_held",
    "sweep",
    "wake_cluster",
    "wake_for_due",
    "write_progress",
]
