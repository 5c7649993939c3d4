"""The verbs and assertions of the kit in one class: a mixin for unittest, and pytest's fixture."""

from __future__ import annotations

from .advancing import advance
from .assertions import assert_alerted, assert_attempts, assert_enqueued
from .clusters import running_cluster
from .draining import drain, step, sweep
from .failures import failing
from .timelines import timeline


class RetryTasksKit:
    """The functions of :mod:`django_retrytasks.testing` as methods.

    ``class ChargeTests(RetryTasksKit, TestCase)`` has them as ``self.drain()`` and so on; pytest's
    fixture ``retrytasks`` is one.
    """

    advance = staticmethod(advance)
    assert_alerted = staticmethod(assert_alerted)
    assert_attempts = staticmethod(assert_attempts)
    assert_enqueued = staticmethod(assert_enqueued)
    drain = staticmethod(drain)
    failing = staticmethod(failing)
    running_cluster = staticmethod(running_cluster)
    step = staticmethod(step)
    sweep = staticmethod(sweep)
    timeline = staticmethod(timeline)
