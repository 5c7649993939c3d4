"""Convert parts of an alert to JSON's types."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from django_retrytasks.errors.reports import storable
from django_retrytasks.models import Attempt, FailureGroup, Task
from django_retrytasks.values import codec

from .words import Fact, iso

# Bytes shown of an argument.
ARGUMENT_LIMIT = 1024


def group_dict(group: FailureGroup, url: str | None) -> dict[str, Any]:
    return {
        "fingerprint": str(group.fingerprint),
        "kind": str(group.kind),
        "status": str(group.status),
        "name": group.name,
        "exception_class_path": group.exception_class_path,
        "origin": group.origin,
        "message": group.message,
        "failure_count": group.failure_count,
        "first_seen_at": iso(group.first_seen_at),
        "last_failed_at": iso(group.last_failed_at),
        "url": url,
    }


def task_dict(task: Task, arguments: Sequence[Fact], url: str | None) -> dict[str, Any]:
    return {
        "id": str(task.pk),
        "name": task.name,
        "queue_name": task.queue_name,
        "arguments": dict(arguments),
        "stop_reason": str(task.stop_reason),
        "url": url,
    }


def attempt_dict(attempt: Attempt) -> dict[str, Any]:
    return {
        "number": attempt.number,
        "outcome": str(attempt.outcome),
        "finished_at": iso(attempt.finished_at),
        "worker": attempt.worker,
        "exception_class_path": attempt.exception_class_path,
        "exception_message": attempt.exception_message,
        "traceback": attempt.traceback,
        "decision": attempt.decision,
    }


def json_text(value: Any) -> str:
    """Return an argument as JSON; types that the codec tags, such as dates, become plain text."""
    plain = json.loads(codec.dumps(value), object_hook=_untagged)
    return storable(json.dumps(plain, ensure_ascii=False), ARGUMENT_LIMIT)


def _untagged(item: dict[str, Any]) -> Any:
    return item["value"] if codec.TAG in item else item
