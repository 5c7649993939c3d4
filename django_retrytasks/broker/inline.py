"""Sync mode: no cluster runs, and each Task runs in the process that enqueues it."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from functools import partial

from django.db import transaction
from django.utils.module_loading import import_string
from django_q.conf import Conf

from django_retrytasks.database import alias
from django_retrytasks.values.entries import INLINE_ENTRY


def is_sync() -> bool:
    """Whether ``Q_CLUSTER["sync"]`` is on."""
    return bool(Conf.SYNC)


def run_after_commit(ids: Collection[uuid.UUID]) -> None:
    """Run these Tasks after the caller's transaction commits, by the entry for this mode."""
    run_inline = import_string(INLINE_ENTRY)
    transaction.on_commit(partial(run_inline, ids), using=alias())
