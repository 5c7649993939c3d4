"""The Alert: what every sink is called with, and how it reads."""

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

from .data import attempt_dict, group_dict, json_text, task_dict
from .links import change_url, failing_url
from .notices import Notice, NoticeKind
from .words import RATES, Fact, clock, in_brackets, iso, seconds_between


@dataclass(frozen=True, kw_only=True)
class Alert:
    """What every sink is called with.

    Attributes:
        id: the same however often it is sent again.
        kind: FAILING (the first failure), STILL_FAILING, RECOVERED, or FLOOD: other groups fail,
            more than ``ALERT_LIMIT`` lets alert one by one. Counts and times are then about these.
        group: the FailureGroup, as it is now; of a flood that of ``ALERT_LIMIT``, a rule's.
        task: the latest failed Task of the group; None for a rule, or once it is pruned.
        attempt: its last attempt; None where there is no task.
        count: failures since they began, when the alert was decided on.
        new_count: those of them that no alert has told of before.
        since: when they began.
        told_at: when the alert before this one was decided on; None: there was none.
        at: when this one was.
        group_count: how many groups it tells of: one, unless it is about a flood.
        groups: of a flood, those of its groups with the most new failures, five at most.
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
        """Return the alert of a notice, its rows as they are now.

        Raises:
            Discard: the group has been deleted.
        """
        found = FailureGroup.objects.in_bulk([notice.fingerprint, *notice.groups])
        group = found.get(notice.fingerprint)
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
            groups=[found[pk] for pk in notice.groups if pk in found],
        )

    @property
    def is_recovery(self) -> bool:
        """Whether it tells that the failures are over."""
        return self.kind is NoticeKind.RECOVERED

    @property
    def is_regression(self) -> bool:
        """Whether these failures began after the group had been resolved."""
        return self.group.regressed_at is not None and self.group.regressed_at >= self.since

    @property
    def is_rule(self) -> bool:
        """Whether it is about an alert rule, not about failures of one cause."""
        return bool(self.group.kind == FailureGroup.Kind.RULE)

    @property
    def is_flood(self) -> bool:
        """Whether it tells of other groups, more than ``ALERT_LIMIT`` lets alert one by one."""
        return self.kind is NoticeKind.FLOOD

    @property
    def subject(self) -> str:
        """Return what there is to tell, in one line."""
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
        """Return how long the failures have gone on, such as "12 min"."""
        return span(seconds_between(self.since, self.at))

    @property
    def rate(self) -> str:
        """Return how fast it fails, such as "11 a minute"; "" in the first minute and once over."""
        seconds = seconds_between(self.since, self.at)
        if seconds < RATES[0][0] or self.is_recovery:
            return ""
        rates = ((round(self.count * unit / seconds), words) for unit, words in RATES)
        return next((str(words % {"count": count}) for count, words in rates if count), "")

    @property
    def facts(self) -> list[Fact]:
        """Return what, where, when, why and how often, as labels and values for a reader."""
        found = [*_place(self), *_reason(self), *_counts(self)]
        return [(label, value) for label, value in found if value]

    @property
    def links(self) -> list[Fact]:
        """Return the pages of the admin that it is about, as labels and URLs."""
        group = _("Failure groups") if self.is_flood else _("Failure group")
        found = [(group, self.group_url), (_("Latest task"), self.task_url)]
        return [(label, url) for label, url in found if url]

    @cached_property
    def arguments(self) -> list[Fact]:
        """Return the Task's arguments, secrets hidden, as names and at most 1 KB of JSON text."""
        task = self.task
        shown = redaction.shown_arguments(task, imported(task.name)) if task else {}
        return [(name, json_text(value)) for name, value in shown.items()]

    @property
    def group_url(self) -> str | None:
        """Return the URL of the group's page in the admin; None where there is none.

        Of a flood that is the list of the groups that fail.
        """
        return failing_url() if self.is_flood else change_url(self.group)

    @property
    def task_url(self) -> str | None:
        """Return the URL of the Task's page in the admin; None where there is none."""
        return change_url(self.task) if self.task else None

    @property
    def summary(self) -> str:
        """Return it as plain text without subject, arguments and traceback, as for a chat."""
        return _rendered("summary.txt", self)

    @property
    def text(self) -> str:
        """Return all of it as plain text."""
        return _rendered("alert.txt", self)

    @property
    def html(self) -> str:
        """Return all of it as an HTML page for mail."""
        return _rendered("alert.html", self)

    def as_dict(self) -> dict[str, Any]:
        """Return all of it in JSON's types: times in UTC as ISO 8601, ids as str."""
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
            "groups": [group_dict(group, change_url(group)) for group in self.groups],
            "group": group_dict(self.group, self.group_url),
            "task": task_dict(self.task, self.arguments, self.task_url) if self.task else None,
            "attempt": attempt_dict(self.attempt) if self.attempt else None,
        }


def _last_attempt(task_id: uuid.UUID | None, group: FailureGroup) -> Attempt | None:
    """Return the last attempt of a Task that failed as the group does: re-driven it may differ."""
    if group.kind == FailureGroup.Kind.RULE:
        return None
    attempts = Attempt.objects.select_related("task")
    # The classes of one group are not all the same where they are made at run time.
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
        stopped = (alert.task.stop_reason, translated(alert.attempt.decision))
        yield (
            pgettext("why no retry follows", "Stopped"),
            ": ".join(text for text in stopped if text),
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
        # A site without Django's templates is told of its failures all the same.
        ours = {"NAME": "retrytasks", "DIRS": [], "APP_DIRS": True, "OPTIONS": {}}
        return str(DjangoTemplates(ours).get_template(path).render(context)).strip()
