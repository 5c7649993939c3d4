"""Signals a site can connect to.

The first three are sent in the worker's process, after the outcome is committed, best effort:
a receiver that raises is logged and harms nothing, and a worker killed at that moment sends none.
``task_failed`` is durable: it is delivered at least once per final failure.
"""

from django.dispatch import Signal

attempt_failed = Signal()
"""Arguments: ``task`` (the Task row), ``attempt`` (the Attempt row), ``exception`` (live, or
``WorkerLost`` when the worker died). Sent for every failed attempt, the last one included."""

task_retrying = Signal()
"""Arguments: ``task``, ``attempt``, ``run_after`` (aware datetime of the coming retry)."""

task_succeeded = Signal()
"""Arguments: ``task``, ``attempt``."""

task_failed = Signal()
"""Arguments: ``task``, ``attempt`` (the last one). Each receiver is called by a Task of its own,
so it is tried again, alone, when it raises."""
