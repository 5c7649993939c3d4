"""The Alert that every sink receives, and its text."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from django.db.models import Q
from django.template import TemplateDoesNotExist
from django.template.backends.django import DjangoTemplates
from django.template.loader import render_to_string
from django.utils.translation import gettext, ngettext, pgettext
from django.utils.translation import gettext_lazy as _

from django_retrytasks.exceptions import Discard
from django_retrytasks.models import Attempt, FailureGroup, Task
from django_retrytasks.tasks import redaction
from django_retrytasks.tasks.stored import imported
from django_retrytasks.values.texts import error_text, span, translated

from . import parts
from .notices import Notice, NoticeKind
from .parts import Fact, change_url, clock, in_brackets, iso


@dataclass(frozen=True, kw_only=True)
class Alert:
    """A message to people about a failure group; every sink receives one.

    Attributes:
        id: the same for each repetition.
        kind: FAILING (the first failure), STILL_FAILING, RECOVERED, or FLOOD: more failing groups
            than ``ALERT_LIMIT`` allows to alert one by one, all of them in the counts and times.
        group: the FailureGroup in its current state; in a flood, the rule group of ``ALERT_LIMIT``.
        task: the latest failed Task of the group; None for a rule, or after pruning.
        attempt: the last attempt of the task; None without a task.
        count: failures in the streak at the time of the decision.
        new_count: the failures that no earlier alert has reported.
        since: start of the streak.
        told_at: time of the previous alert's decision; None: this is the first alert.
        at: time of this alert's decision.
        group_count: number of groups in the alert: 1 unless it is a flood.
        groups: in a flood, the groups with the most new failures, at most five.
    """

    id: str
    kind: NoticeKind
    group: FailureGroup
    task: Task | None
    attempt: Attempt | None
    count: int
    new_count: int
    since: datetime
    told_at: datetime | None
    at: datetime
    group_count: int = 1
    groups: Sequence[FailureGroup] = ()

    @classmethod
    def from_notice(cls, notice: Notice, *, id: str) -> Alert:
        """Return the alert of a notice, with the current rows.

        Raises:
            Discard: the group has been deleted.
        """
        groups = FailureGroup.objects.in_bulk([notice.fingerprint, *notice.groups])
        group = groups.get(notice.fingerprint)
        if group is None:
            raise Discard("the failure group has been deleted")
        attempt = _last_attempt(notice.sample_id, group)
        return cls(
            id=id,
            kind=NoticeKind(notice.kind),
            group=group,
            task=attempt.task if attempt else None,
            attempt=attempt,
            count=notice.count,
            new_count=notice.new_count,
            since=notice.since,
            told_at=notice.told_at,
            at=notice.at,
            group_count=notice.group_count,
            groups=[groups[pk] for pk in notice.groups if pk in groups],
        )

    @property
    def is_recovery(self) -> bool:
        """Whether the failures are over."""
        return self.kind is NoticeKind.RECOVERED

    @property
    def is_regression(self) -> bool:
        """Whether the streak began after the group had been resolved."""
        return self.group.regressed_at is not None and self.group.regressed_at >= self.since

    @property
    def is_rule(self) -> bool:
        """Whether the group belongs to an alert rule, not to failures of one cause."""
        return bool(self.group.kind == FailureGroup.Kind.RULE)

    @property
    def is_flood(self) -> bool:
        """Whether the alert covers all groups beyond ``ALERT_LIMIT``."""
        return self.kind is NoticeKind.FLOOD

    @property
    def subject(self) -> str:
        """Return a summary in one line."""
        if self.is_flood:
            words = _flood_subject(self)
        else:
            words = _rule_subject(self) if self.is_rule else _subject(self)
        return " ".join(words.split())

    @property
    def error(self) -> str:
        """Return the exception's dotted path and message; "" for a rule."""
        if self.is_rule:
            return ""
        path, message = self.group.exception_class_path, self.group.message
        if self.attempt:
            path, message = self.attempt.exception_class_path, self.attempt.exception_message
        return error_text(path, message)

    @property
    def span(self) -> str:
        """Return the duration of the streak, such as "12 min"."""
        return span(parts.seconds_between(self.since, self.at))

    @property
    def rate(self) -> str:
        """Return the failure rate, such as "11 a minute"; "" in the first minute or on recovery."""
        seconds = parts.seconds_between(self.since, self.at)
        if seconds < parts.RATES[0][0] or self.is_recovery:
            return ""
        rates = ((round(self.count * unit / seconds), words) for unit, words in parts.RATES)
        return next((str(words % {"count": count}) for count, words in rates if count), "")

    @property
    def facts(self) -> list[Fact]:
        """Return what, where, when, why and how often, as labels and values."""
        facts = [*_place(self), *_reason(self), *_counts(self)]
        return [(label, value) for label, value in facts if value]

    @property
    def links(self) -> list[Fact]:
        """Return the related pages of the admin, as labels and URLs."""
        group = _("Failure groups") if self.is_flood else _("Failure group")
        links = [(group, self.group_url), (_("Latest task"), self.task_url)]
        return [(label, url) for label, url in links if url]

    @cached_property
    def arguments(self) -> list[Fact]:
        """Return the Task's arguments, secrets hidden: names and at most 1 KB of JSON each."""
        task = self.task
        shown = redaction.shown_arguments(task, imported(task.name)) if task else {}
        return [(name, parts.json_text(value)) for name, value in shown.items()]

    @property
    def group_url(self) -> str | None:
        """Return the URL of the group's page in the admin; None if there is none.

        For a flood it is the list of failing groups.
        """
        return parts.failing_url() if self.is_flood else change_url(self.group)

    @property
    def task_url(self) -> str | None:
        """Return the URL of the Task's page in the admin; None if there is none."""
        return change_url(self.task) if self.task else None

    @property
    def summary(self) -> str:
        """Return the alert as plain text for a chat: no subject, arguments or traceback."""
        return _rendered("summary.txt", self)

    @property
    def text(self) -> str:
        """Return the whole alert as plain text."""
        return _rendered("alert.txt", self)

    @property
    def html(self) -> str:
        """Return the whole alert as an HTML page for mail."""
        return _rendered("alert.html", self)

    def as_dict(self) -> dict[str, Any]:
        """Return the whole alert in JSON's types: times in UTC as ISO 8601, ids as str."""
        return {
            "id": self.id,
            "kind": self.kind.value,
            "subject": self.subject,
            "is_regression": self.is_regression,
            "count": self.count,
            "new_count": self.new_count,
            "since": iso(self.since),
            "told_at": iso(self.told_at),
            "at": iso(self.at),
            "group_count": self.group_count,
            "groups": [parts.group_dict(group, change_url(group)) for group in self.groups],
            "group": parts.group_dict(self.group, self.group_url),
            "task": parts.task_dict(self.task, self.arguments, self.task_url)
            if self.task
            else None,
            "attempt": parts.attempt_dict(self.attempt) if self.attempt else None,
        }


def _last_attempt(task_id: uuid.UUID | None, group: FailureGroup) -> Attempt | None:
    """Return a Task's last attempt of the group's cause: a re-drive may have added others."""
    if group.kind == FailureGroup.Kind.RULE:
        return None
    attempts = Attempt.objects.select_related("task")
    # Exception classes made at run time may differ within one group.
    ended_so = Q(task__failure_group=group.pk, next_run_after=None) & ~Q(exception_class_path="")
    alike = attempts.filter(ended_so | Q(exception_class_path=group.exception_class_path))
    return alike.filter(task=task_id).last()


def _subject(alert: Alert) -> str:
    details = {
        "name": alert.group.name.rpartition(".")[2],
        "error": alert.group.error_name,
        "count": alert.count,
        "span": alert.span,
    }
    if alert.is_recovery:
        words = ngettext(
            "%(name)s has recovered after %(count)d failure",
            "%(name)s has recovered after %(count)d failures",
            alert.count,
        )
        return words % details
    if alert.kind is NoticeKind.STILL_FAILING:
        words = ngettext(
            "%(count)d failure of %(name)s in %(span)s: %(error)s",
            "%(count)d failures of %(name)s in %(span)s: %(error)s",
            alert.count,
        )
        return words % details + in_brackets(alert.rate)
    if alert.is_regression:
        words = gettext("%(name)s fails again after it was resolved: %(error)s")
    elif alert.count > 1:
        words = ngettext(
            "%(name)s failed %(count)d time: %(error)s",
            "%(name)s failed %(count)d times: %(error)s",
            alert.count,
        )
    else:
        words = gettext("%(name)s failed: %(error)s")
    return words % details + in_brackets(_attempt_words(alert))


def _attempt_words(alert: Alert) -> str:
    if alert.attempt is None:
        return ""
    return gettext("attempt %(number)d") % {"number": alert.attempt.number}


def _flood_subject(alert: Alert) -> str:
    words = ngettext(
        "%(count)d more failure group in %(span)s",
        "%(count)d more failure groups in %(span)s",
        alert.group_count,
    )
    return words % {"count": alert.group_count, "span": alert.span}


def _rule_subject(alert: Alert) -> str:
    words = gettext("Recovered: %(message)s") if alert.is_recovery else "%(message)s"
    return words % {"message": alert.group.message}


def _place(alert: Alert) -> Iterator[Fact]:
    if alert.is_flood:
        yield pgettext("why there is one alert about many groups", "Reason"), alert.group.message
        yield _("Failure groups"), str(alert.group_count)
    yield _("Function"), alert.group.name
    if alert.task:
        yield _("Task"), str(alert.task.pk)
        yield _("Queue"), alert.task.queue_name


def _reason(alert: Alert) -> Iterator[Fact]:
    if alert.task and alert.attempt and not alert.is_recovery:
        yield _("Worker"), alert.attempt.worker
        yield _("Failed at"), clock(alert.attempt.finished_at)
        stop = (alert.task.stop_reason, translated(alert.attempt.decision))
        yield (
            pgettext("why no retry follows", "Stopped"),
            ": ".join(text for text in stop if text),
        )


def _counts(alert: Alert) -> Iterator[Fact]:
    since = clock(alert.since)
    if alert.is_rule and not alert.is_flood:
        yield _("Since"), since
    else:
        many = gettext("%(count)d since %(since)s") % {"count": alert.count, "since": since}
        yield pgettext("how many", "Failures"), many + in_brackets(alert.rate)
    if alert.is_recovery:
        yield _("Last failed at"), clock(alert.group.last_failed_at)
        yield _("Recovered at"), clock(alert.at)
    elif alert.told_at:
        yield _("New since the last alert"), str(alert.new_count)
    if alert.is_regression:
        yield _("Was resolved at"), clock(alert.group.resolved_at)
    for group in alert.groups:
        times = ngettext("%(count)d time", "%(count)d times", group.streak_count)
        cause = " · ".join(filter(None, (str(group), group.origin)))
        yield times % {"count": group.streak_count}, cause


def _rendered(name: str, alert: Alert) -> str:
    path, context = f"retrytasks/alerts/{name}", {"alert": alert}
    try:
        return render_to_string(path, context).strip()
    except TemplateDoesNotExist:
        # A site without Django's templates gets alerts too.
        ours = {"NAME": "retrytasks", "DIRS": [], "APP_DIRS": True, "OPTIONS": {}}
        return str(DjangoTemplates(ours).get_template(path).render(context)).strip()
