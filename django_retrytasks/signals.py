"""Signals a site can connect to.

A worker sends the first three after it has committed the outcome, best effort: it logs a receiver's
error and goes on, and it sends nothing if it is killed in between. ``task_failed`` is durable: it
is delivered at least once per final failure.
"""

from django.dispatch import Signal

attempt_failed = Signal()
"""Arguments: ``task`` (the Task row), ``attempt`` (the Attempt row), ``exception`` (live, or
``WorkerLost`` if the worker died). Sent for every failed attempt, the last one included."""

task_retrying = Signal()
"""Arguments: ``task``, ``attempt``, ``run_after`` (aware datetime of the coming retry)."""

task_succeeded = Signal()
"""Arguments: ``task``, ``attempt``."""

breaker_opened = Signal()
"""Arguments: ``name`` (the function's dotted path), ``key`` (the value of the breaker's ``by``, ""
without one), ``at`` (aware datetime), ``reason`` (in words), ``by`` (who opened it, "" for a
worker). Sent at least once for each opening, by a Task of its own after the commit; a receiver's
error is logged."""

breaker_closed = Signal()
"""Arguments: as for ``breaker_opened``. Sent after a probe's success, or an operator's close."""

task_failed = Signal()
"""Arguments: ``task``, ``attempt`` (the last one). Each receiver is called by its own Task, so one
that raises is retried alone."""
