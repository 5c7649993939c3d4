"""Alert rules: conditions that alert besides final failures.

Rules read rows by index seeks and capped counts, so the cost of a sweep does not grow with the
number of Tasks. Times are the database's.
"""

from __future__ import annotations

import json
import logging
import uuid
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, ClassVar

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_retrytasks import conf
from django_retrytasks.database import DatabaseNow
from django_retrytasks.lifecycle.lanes import survey
from django_retrytasks.lifecycle.periodic import last_moment_but_one
from django_retrytasks.models import FailureGroup, Status, Task, TaskQuerySet
from django_retrytasks.models.tasks import NAME_LENGTH, QUEUE_NAME_LENGTH
from django_retrytasks.tasks import discovery, periodic
from django_retrytasks.tasks.stored import resolve
from django_retrytasks.values import checked
from django_retrytasks.values.texts import number_text

logger = logging.getLogger("django_retrytasks")
NAMESPACE = uuid.UUID("104f3fdc-8e0c-4fc7-9fd9-81aba1863bf2")
# Counts per status cover only the latest so many Tasks.
COUNT_LIMIT = 10_000

as_name = partial(checked.as_text, least=1, most=NAME_LENGTH)
as_queue_name = partial(checked.as_text, least=1, most=QUEUE_NAME_LENGTH)


def breached() -> Iterator[FailureGroup]:
    """Yield an unsaved group for each breach of a rule in ``ALERT_RULES``.

    A rule whose evaluation fails is logged and skipped.
    """
    for index, entry in enumerate(conf.get().ALERT_RULES):
        try:
            breaches = list(Rule.from_entry(entry).breaches())
        except Exception:
            logger.exception('RETRYTASKS["ALERT_RULES"][%d] could not be evaluated', index)
        else:
            yield from breaches


def check(entry: Any) -> None:
    """Check an entry of ``ALERT_RULES``, and the task it names, if any.

    Raises:
        TypeError, ValueError: as :meth:`Rule.from_entry`; also if a rule of silence needs
            ``within``, since its task is not periodic.
        RetryTasksError: the name leads to no task.
    """
    rule = Rule.from_entry(entry)
    if name := asdict(rule).get("name"):
        resolve(name)
    if isinstance(rule, Silence) and rule.within is None:
        _refuse_irregular(rule.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule(ABC):
    """One entry of ``ALERT_RULES``, checked on creation; durations in seconds."""

    rule: ClassVar[str]
    """The rule's name in an entry."""

    @classmethod
    def from_entry(cls, entry: Any) -> Rule:
        """Return the rule that an entry describes.

        Raises:
            TypeError: the entry is no dict, a key is unknown or missing, or a value has a wrong
                type.
            ValueError: the rule is unknown, or a value is out of range.
        """
        options = dict(checked.as_mapping("a rule", entry))
        kind = _kind_of(options.pop("rule", None))
        known = {f.name: f.default for f in fields(kind)}
        if unknown := [str(key) for key in options if key not in known]:
            hint = checked.nearest(unknown[0], known)
            raise TypeError(f'{kind.rule} has no "{unknown[0]}". {hint}')
        required = [name for name, default in known.items() if default is MISSING]
        if missing := [name for name in required if name not in options]:
            raise TypeError(f'{kind.rule} needs "{missing[0]}"')
        return kind(**options)

    def __post_init__(self) -> None:
        checked.check_options(self)

    @abstractmethod
    def breaches(self) -> Iterator[FailureGroup]:
        """Yield an unsaved group for each current breach of this rule."""

    def looks_back(self) -> Mapping[Status, float]:
        """Return, by status, the seconds for which this rule needs finished Tasks."""
        return {}

    def _breach(self, message: str, *, name: str = "", culprit: str = "") -> FailureGroup:
        """Return the group of a breach; ``culprit`` tells apart several breaches of one rule.

        The limits are part of the group's identity, so its message stays true when they change.
        """
        identity = json.dumps([self.rule, asdict(self), culprit])
        return FailureGroup(
            fingerprint=uuid.uuid5(NAMESPACE, identity),
            kind=FailureGroup.Kind.RULE,
            name=name,
            message=message,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OldestDue(Rule):
    """A queue's oldest due Task has been due for longer than ``over``."""

    rule = "oldest_due"
    over: float = checked.option(checked.as_positive_seconds)
    queue_name: str | None = checked.option(checked.or_none(as_queue_name), None)

    def breaches(self) -> Iterator[FailureGroup]:
        """Yield a group for each late queue."""
        late = {name for (name, _), lag in survey().lags.items() if lag > self.over}
        for queue_name in sorted(late & {self.queue_name} if self.queue_name else late):
            text = _('The oldest due Task of queue "%(queue)s" has waited for more than %(over)s s')
            values = {"queue": queue_name, "over": number_text(self.over)}
            yield self._breach(text % values, culprit=queue_name)


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureRate(Rule):
    """More than a share ``over`` of the Tasks finished in the last ``within`` seconds failed.

    The period is shorter if 10,000 Tasks failed in it, or 10,000 of ``name`` succeeded: it then
    begins with the latest 10,000. No breach while fewer than ``least`` finished.
    """

    rule = "failure_rate"
    over: float = checked.option(checked.as_share)
    within: float = checked.option(checked.as_positive_seconds, 600.0)
    least: int = checked.option(partial(checked.as_count, least=1, most=COUNT_LIMIT), 20)
    name: str | None = checked.option(checked.or_none(as_name), None)
    queue_name: str | None = checked.option(checked.or_none(as_queue_name), None)

    def breaches(self) -> Iterator[FailureGroup]:
        """Yield a group if it is so."""
        failed, succeeded = self._counts()
        finished = failed + succeeded
        if finished >= self.least and failed / finished > self.over:
            text = _("More than %(share)s %% of the Tasks that finished within %(within)s s failed")
            values = {"share": number_text(self.over * 100), "within": number_text(self.within)}
            yield self._breach(text % values + self._scope(), name=self.name or "")

    def looks_back(self) -> Mapping[Status, float]:
        """Return ``within`` for failed and succeeded Tasks."""
        return dict.fromkeys((Status.FAILED, Status.SUCCEEDED), self.within)

    def _counts(self) -> tuple[int, int]:
        """Return the counts of failed and succeeded Tasks in the same period."""
        # No index of failed Tasks has their names.
        failed = _finished(Status.FAILED, self.within)
        succeeded = _finished(Status.SUCCEEDED, self.within, **_given(name=self.name))
        starts = filter(None, map(_start_of_latest, (failed, succeeded)))
        chosen = _given(
            name=self.name, queue_name=self.queue_name, finished_at__gte=max(starts, default=None)
        )
        return failed.filter(**chosen).count(), succeeded.filter(**chosen).count()

    def _scope(self) -> str:
        queue = self.queue_name and _('queue "%s"') % self.queue_name
        scope = ", ".join(filter(None, (self.name, queue)))
        return f": {scope}" if scope else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupGrowth(Rule):
    """More than ``over`` Tasks of one failure group failed in the last ``within`` seconds.

    Counts the latest 10,000 failed Tasks. Ignores muted and resolved groups.
    """

    rule = "group_growth"
    over: int = checked.option(partial(checked.as_count, most=COUNT_LIMIT - 1))
    within: float = checked.option(checked.as_positive_seconds, 60.0)

    def breaches(self) -> Iterator[FailureGroup]:
        """Yield a group for each failure group above the limit."""
        latest = _finished(Status.FAILED, self.within).order_by("-finished_at")[:COUNT_LIMIT]
        counts = Counter(latest.values_list("failure_group", flat=True))
        grown = [pk for pk, count in counts.items() if count > self.over]
        for group in FailureGroup.objects.audible().filter(pk__in=grown).order_by("pk"):
            text = ngettext(
                "More than %(over)s Task failed within %(within)s s: %(group)s",
                "More than %(over)s Tasks failed within %(within)s s: %(group)s",
                self.over,
            )
            values = {"over": self.over, "within": number_text(self.within), "group": group}
            yield self._breach(text % values, name=group.name, culprit=str(group.pk))

    def looks_back(self) -> Mapping[Status, float]:
        """Return ``within`` for failed Tasks."""
        return {Status.FAILED: self.within}


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence(Rule):
    """No Task of the function ``name`` has succeeded in the last ``within`` seconds.

    None: since the last moment but one of its periodic Tasks.
    """

    rule = "silence"
    name: str = checked.option(as_name)
    within: float | None = checked.option(checked.or_none(checked.as_positive_seconds), None)

    def breaches(self) -> Iterator[FailureGroup]:
        """Yield a group if it is so."""
        if self.within is None:
            yield from self._missed_moments()
        elif not _finished(Status.SUCCEEDED, self.within, name=self.name).exists():
            text = _("No Task of %(name)s has succeeded within %(within)s s")
            values = {"name": self.name, "within": number_text(self.within)}
            yield self._breach(text % values, name=self.name)

    def looks_back(self) -> Mapping[Status, float]:
        """Return ``within`` for succeeded Tasks, or the longest time between three moments."""
        if self.within is not None:
            return {Status.SUCCEEDED: self.within}
        calendars = (each.calendar for each in periodic.declarations_of(self.name))
        reaches = [each.reach(datetime.now(UTC)) for each in calendars if each.is_readable]
        return {Status.SUCCEEDED: max(reaches)} if reaches else {}

    def _missed_moments(self) -> Iterator[FailureGroup]:
        since = last_moment_but_one(self.name)
        succeeded = Task.objects.of_status(Status.SUCCEEDED).filter(name=self.name)
        if since and not succeeded.filter(finished_at__gt=since).exists():
            text = _("No Task of %(name)s has succeeded since its last moment but one")
            yield self._breach(text % {"name": self.name}, name=self.name)


RULES: dict[str, type[Rule]] = {
    kind.rule: kind for kind in (OldestDue, FailureRate, GroupGrowth, Silence)
}


def _kind_of(rule: object) -> type[Rule]:
    kind = RULES.get(rule) if isinstance(rule, str) else None
    if kind is None:
        hint = checked.nearest(str(rule or ""), RULES)
        raise ValueError(f'"rule" names no rule: {rule!r}. {hint}')
    return kind


def _refuse_irregular(name: str) -> None:
    discovery.discover()
    if not periodic.declarations_of(name):
        raise ValueError(f'silence needs "within", since no periodic() declares {name}')


def _finished(status: Status, within: float, **values: str) -> TaskQuerySet:
    """Return the site's Tasks that reached this status in the last ``within`` seconds."""
    start = DatabaseNow() - timedelta(seconds=within)
    return Task.objects.of_status(status).filter(finished_at__gt=start, **values)


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _start_of_latest(finished: TaskQuerySet) -> datetime | None:
    """Return the end of the 10,000th latest Task; None if there are fewer."""
    moments = finished.order_by("-finished_at").values_list("finished_at", flat=True)
    return moments[COUNT_LIMIT - 1 : COUNT_LIMIT].first()
