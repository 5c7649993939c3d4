"""The page of one Task: its next step, attempts, arguments and fields."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from django.utils import timezone
from django.utils.formats import number_format
from django.utils.translation import gettext, pgettext
from django.utils.translation import gettext_lazy as _

from django_retrytasks.broker import wakeups
from django_retrytasks.errors import tracebacks
from django_retrytasks.errors.reports import class_path, storable
from django_retrytasks.models import Attempt, FailureGroup, Status, Task
from django_retrytasks.models.fields import Unreadable
from django_retrytasks.operators import wording
from django_retrytasks.policy import RetryPolicy
from django_retrytasks.tasks import RetryTask, discovery, redaction
from django_retrytasks.tasks.stored import as_stored, policy_of
from django_retrytasks.values import codec
from django_retrytasks.values.progress import Progress
from django_retrytasks.values.texts import error_text, number_text, translated

from . import words
from .base import NOTHING, Fact, fields_of, history_of

ATTEMPTS_SHOWN = 50
VALUE_LIMIT = 64 * 1024

POLICY = (
    "max_retries",
    "retry_count",
    "crash_count",
    "timeout",
    "options",
    "stop_reason",
    "stop_note",
)
TIMES = (
    "enqueued_at",
    "queued_at",
    "started_at",
    "last_attempted_at",
    "claimed_at",
    "run_after",
    "expires_at",
    "finished_at",
)
PLACE = (
    "id",
    "name",
    "search_key",
    "queue_name",
    "priority",
    "backend",
    "worker",
    "suspect",
    "internal",
)


class Retry(NamedTuple):
    """A retry that the policy allows; ``is_spent``: used in this drive."""

    number: int
    wait: str
    total: str
    is_spent: bool


def page_of(task: Task) -> dict[str, Any]:
    """Return what the page of a Task shows, by name: text and escaped HTML.

    One query reads the latest attempts.
    """
    stored = Attempt.objects.filter(task=task)
    attempts = list(stored.order_by("-number")[:ATTEMPTS_SHOWN])[::-1]
    last = attempts[-1] if attempts else None
    succeeded = task.status == Status.SUCCEEDED
    definition = discovery.find(task.name)
    return {
        "pill": words.pill(task.status, task.get_status_display()),
        "headline": wording.headline(task, last),
        "progress": None if succeeded else _progress(task),
        "error": _error(last) if last and not succeeded else "",
        "group": _group(task),
        "entries": [_entry(attempt) for attempt in attempts],
        "left_out": task.attempt_count - len(attempts),
        "arguments": arguments_of(task, definition),
        "return_value": _pretty(task.return_value) if succeeded else "",
        "policy": fields_of(task, POLICY),
        "schedule": _schedule(task, definition),
        "history": history_of(task),
        "sections": [
            (_("Times"), [*fields_of(task, TIMES), _wakeup(task)]),
            (_("Identity and place"), [*fields_of(task, PLACE), *_unique(task, definition)]),
        ],
    }


def _progress(task: Task) -> dict[str, Any] | None:
    """Return how far the running attempt is, or the last one was; None if it reported nothing."""
    progress = Progress.read(task.progress)
    if progress is None:
        return None
    label = gettext("Progress") if task.status == Status.RUNNING else gettext("Last progress")
    shown = words.bar(progress) if progress.share is not None else ""
    return {"label": label, "text": wording.progress_text(progress), "bar": shown}


def _group(task: Task) -> FailureGroup | None:
    if task.failure_group_id is None:
        return None
    # Without a foreign key the group may have been pruned or deleted.
    return FailureGroup.objects.filter(pk=task.failure_group_id).first()


def _entry(attempt: Attempt) -> dict[str, Any]:
    """Return an attempt in the timeline."""
    return {
        "attempt": attempt,
        "pill": words.pill(attempt.outcome, attempt.get_outcome_display()),
        "decision": translated(attempt.decision),
        "error": _error(attempt),
        "facts": list(_facts(attempt)),
        "own_traceback": tracebacks.own_part(attempt.traceback),
    }


def _error(attempt: Attempt) -> str:
    return error_text(attempt.exception_class_path, attempt.exception_message)


def _facts(attempt: Attempt) -> Iterator[Fact]:
    queued_at = attempt.queued_at
    waited = (attempt.started_at - queued_at).total_seconds()
    ran = (attempt.finished_at - attempt.started_at).total_seconds()
    # Negative if the database's clock was set back.
    yield Fact(gettext("Waited"), wording.run_time(max(0.0, waited)))
    yield Fact(gettext("Run time"), wording.run_time(max(0.0, ran)))
    yield Fact(gettext("Worker"), attempt.worker)
    yield Fact(pgettext("moment of an attempt", "Queued"), words.time_tag(queued_at))
    later = (
        (gettext("Started"), attempt.started_at),
        (gettext("Finished"), attempt.finished_at),
        (gettext("Next run after"), attempt.next_run_after),
    )
    for label, at in later:
        if at is not None:
            yield Fact(label, words.time_tag(at, wording.clock(at, queued_at)))


def arguments_of(task: Task, definition: RetryTask[..., Any] | None) -> list[Fact]:
    """Return the arguments of a Task by the names of the parameters, without secrets."""
    stored = {"args": task.args, "kwargs": task.kwargs}
    unreadable = {name: value for name, value in stored.items() if isinstance(value, Unreadable)}
    shown = unreadable or redaction.shown_arguments(task, definition)
    return [Fact(name, _pretty(value)) for name, value in shown.items()]


def indented(value: Any) -> str:
    """Return a value as JSON in lines, with the codec's tags for what JSON lacks."""
    return json.dumps(json.loads(codec.dumps(value, root=())), indent=2, ensure_ascii=False)


def _pretty(value: Any) -> str:
    if isinstance(value, Unreadable):
        return gettext("Unreadable, %(count)d characters.") % {"count": len(value.text)}
    return storable(indented(value), VALUE_LIMIT)


def _schedule(task: Task, definition: RetryTask[..., Any] | None) -> dict[str, Any]:
    """Return the retries of the policy in force, and notes about them."""
    warnings = (
        [] if definition else [gettext("Its code is not loaded here: this is the site's policy.")]
    )
    try:
        policy = policy_of(task, definition and as_stored(definition, task))
    except Exception:  # wrong settings, or options of an older version
        policy = RetryPolicy(max_retries=task.max_retries)
        warnings = [gettext("Its policy is no longer valid: this is the default policy.")]
    return {"retries": list(_retries(task, policy)), "notes": [*warnings, *_notes(policy)]}


def _retries(task: Task, policy: RetryPolicy) -> Iterator[Retry]:
    total = 0.0
    for number, least, most in policy.schedule():
        total += most
        yield Retry(
            number=number,
            wait=_between(least, most),
            total=_seconds(total),
            is_spent=number <= task.retry_count,
        )


def _notes(policy: RetryPolicy) -> Iterator[str]:
    shown = len(policy.schedule())
    if policy.max_retries == 0:
        yield gettext("No retry follows a failure.")
    elif callable(policy.backoff):
        yield gettext("Its backoff is a function: it decides each wait when an attempt has failed.")
    elif policy.max_retries is None:
        yield gettext("Retried for ever; the first %(count)d retries are shown.") % {"count": shown}
    elif policy.max_retries > shown:
        yield gettext("The first %(count)d retries are shown.") % {"count": shown}
    if policy.retry_for is not None:
        details = {"span": _seconds(policy.retry_for)}
        yield gettext("No retry begins later than %(span)s after the first start.") % details


def _between(least: float, most: float) -> str:
    if least == most:
        return _seconds(most)
    details = {"least": _number(least), "most": _seconds(most)}
    return gettext("%(least)s to %(most)s") % details


def _seconds(value: float) -> str:
    return gettext("%(seconds)s s") % {"seconds": _number(value)}


def _number(value: float) -> str:
    return number_format(number_text(value))


def _unique(task: Task, definition: RetryTask[..., Any] | None) -> Iterator[Fact]:
    """Yield what makes a unique Task so, and whether it is; the key itself may tell a secret."""
    if task.unique_key is None:
        return
    purpose = _("While it holds its unique key, no other Task of this key is enqueued.")
    yield Fact(gettext("Unique by"), _unique_by(definition))
    held = gettext("held") if task.held_key else gettext("free")
    yield Fact(gettext("Unique key"), held, purpose)
    if task.unique_until:
        yield from fields_of(task, ("unique_until",))


def _unique_by(definition: RetryTask[..., Any] | None) -> str:
    match definition and definition.unique:
        case None | False:
            return NOTHING
        case True:
            return gettext("all arguments")
        case str(name):
            return name
        case make:
            return str(getattr(make, "__qualname__", class_path(type(make))))


def _wakeup(task: Task) -> Fact:
    purpose = _("The row that makes a cluster look for the Task when it is due.")
    return Fact(gettext("Wake-up"), _wakeup_words(task), purpose)


def _wakeup_words(task: Task) -> str:
    if task.is_finished or task.status == Status.RUNNING:
        return NOTHING
    until, now = wakeups.waits_until(task.wakeup_id), timezone.now()
    if until is None:
        return gettext("none yet: the sweep writes one in time")
    if until <= now:
        return gettext("waits for a cluster to look")
    return gettext("waits until %(clock)s") % {"clock": wording.clock(until, now)}
