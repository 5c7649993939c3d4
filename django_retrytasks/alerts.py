"""Alerts: what is told of failures, and the sinks that tell a human."""

from __future__ import annotations

import inspect
import json
import logging
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from django.apps import apps
from django.conf import settings
from django.core import mail as django_mail
from django.core.exceptions import ImproperlyConfigured
from django.db.models import Q
from django.template import TemplateDoesNotExist
from django.template.backends.django import DjangoTemplates
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.module_loading import import_string
from django.utils.translation import gettext, ngettext, override, pgettext
from django.utils.translation import gettext_lazy as _

from . import chats, codec, conf, letters, redaction, wakeups
from .backend import imported
from .exceptions import Discard, Duration
from .failures import groups
from .models import Attempt, FailureGroup, Task
from .notices import Notice, NoticeKind
from .phrases import told
from .reports import storable
from .spans import span
from .webhooks import NotDelivered, Webhook

logger = logging.getLogger("django_retrytasks")

# How much of an argument is shown, in bytes.
ARGUMENT_LIMIT = 1024
# The seconds over which a rate is told, the shortest first, and the words.
RATES = (
    (60, _("%(count)d a minute")),
    (3_600, _("%(count)d an hour")),
    (86_400, _("%(count)d a day")),
)
FORMS = ("json", "text")

Fact = tuple[Any, Any]
"""A label and a value, for a reader."""


@dataclass(frozen=True, slots=True, kw_only=True)
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
    def of(cls, notice: Notice, *, id: str) -> Alert:
        """Return the alert of a notice, its rows as they are now.

        Raises:
            Discard: the group has been deleted.
        """
        found = groups().in_bulk([notice.fingerprint, *notice.groups])
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
        return path.removeprefix("builtins.") + (f": {message}" if message else "")

    @property
    def span(self) -> str:
        """Return how long the failures have gone on, such as "12 min"."""
        return span(_seconds_between(self.since, self.at))

    @property
    def rate(self) -> str:
        """Return how fast it fails, such as "11 a minute"; "" in the first minute and once over."""
        seconds = _seconds_between(self.since, self.at)
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

    @property
    def arguments(self) -> list[Fact]:
        """Return the Task's arguments, secrets hidden, as names and at most 1 KB of JSON text."""
        task = self.task
        shown = redaction.shown_arguments(task, imported(task.name)) if task else {}
        return [(name, _json_text(value)) for name, value in shown.items()]

    @property
    def group_url(self) -> str | None:
        """Return the URL of the group's page in the admin; None where there is none.

        Of a flood that is the list of the groups that fail.
        """
        return _failing_url() if self.is_flood else _change_url(self.group)

    @property
    def task_url(self) -> str | None:
        """Return the URL of the Task's page in the admin; None where there is none."""
        return _change_url(self.task) if self.task else None

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
            "since": _iso(self.since),
            "told_at": _iso(self.told_at),
            "at": _iso(self.at),
            "group_count": self.group_count,
            "groups": [_group_dict(group, _change_url(group)) for group in self.groups],
            "group": _group_dict(self.group, self.group_url),
            "task": _task_dict(self, self.task) if self.task else None,
            "attempt": _attempt_dict(self.attempt) if self.attempt else None,
        }


@contextmanager
def in_the_sites_words() -> Iterator[None]:
    """Use the site's language and time zone, whatever is active in this process."""
    with override(settings.LANGUAGE_CODE), timezone.override(timezone.get_default_timezone()):
        yield


def _last_attempt(task_id: uuid.UUID | None, group: FailureGroup) -> Attempt | None:
    """Return the last attempt of a Task that failed as the group does: re-driven it may differ."""
    if group.kind == FailureGroup.Kind.RULE:
        return None
    attempts = Attempt.objects.using(wakeups.alias()).select_related("task")
    # The classes of one group are not all the same where they are made at run time.
    ended_so = Q(task__failure_group=group.pk, next_run_after=None) & ~Q(exception_class_path="")
    alike = attempts.filter(ended_so | Q(exception_class_path=group.exception_class_path))
    return alike.filter(task=task_id).last()


# ---- words


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
        return words % details + _in_brackets(alert.rate)
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
    return words % details + _in_brackets(_attempt_words(alert))


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
        yield _("Failed at"), _clock(alert.attempt.finished_at)
        stopped = (alert.task.stop_reason, told(alert.attempt.decision))
        yield (
            pgettext("why no retry follows", "Stopped"),
            ": ".join(text for text in stopped if text),
        )


def _counts(alert: Alert) -> Iterator[Fact]:
    since = _clock(alert.since)
    if alert.is_rule and not alert.is_flood:
        yield _("Since"), since
    else:
        many = gettext("%(count)d since %(since)s") % {"count": alert.count, "since": since}
        yield pgettext("how many", "Failures"), many + _in_brackets(alert.rate)
    if alert.is_recovery:
        yield _("Last failed at"), _clock(alert.group.last_failed_at)
        yield _("Recovered at"), _clock(alert.at)
    elif alert.told_at:
        yield _("New since the last alert"), str(alert.new_count)
    if alert.is_regression:
        yield _("Was resolved at"), _clock(alert.group.resolved_at)
    for group in alert.groups:
        times = ngettext("%(count)d time", "%(count)d times", group.streak_count)
        cause = " · ".join(filter(None, (str(group), group.origin)))
        yield times % {"count": group.streak_count}, cause


def _in_brackets(text: str) -> str:
    return f" ({text})" if text else ""


def _rendered(name: str, alert: Alert) -> str:
    path, context = f"retrytasks/alerts/{name}", {"alert": alert}
    try:
        return render_to_string(path, context).strip()
    except TemplateDoesNotExist:
        # A site without Django's templates is told of its failures all the same.
        ours = {"NAME": "retrytasks", "DIRS": [], "APP_DIRS": True, "OPTIONS": {}}
        return str(DjangoTemplates(ours).get_template(path).render(context)).strip()


def _clock(at: datetime | None) -> str:
    """Return a stored moment in the site's time zone, with its name."""
    zone = timezone.get_default_timezone()
    return f"{_aware(at).astimezone(zone):%Y-%m-%d %H:%M:%S %Z}" if at else ""


def _iso(at: datetime | None) -> str | None:
    return _aware(at).astimezone(UTC).isoformat() if at else None


def _aware(at: datetime) -> datetime:
    zone = timezone.get_default_timezone()
    return at if timezone.is_aware(at) else timezone.make_aware(at, zone)


def _seconds_between(start: datetime, end: datetime) -> float:
    # The clock may have been set back in between.
    return max(0.0, (end - start).total_seconds())


def _change_url(row: FailureGroup | Task) -> str | None:
    return _admin_url(f"{row._meta.model_name}_change", row.pk)


def _failing_url() -> str | None:
    url = _admin_url("failuregroup_changelist")
    return f"{url}?failing=yes" if url else None


def _admin_url(page: str, *args: uuid.UUID) -> str | None:
    # An alert without a link is better than none, whatever is wrong with a site's URLs.
    with suppress(Exception):
        if origin := _origin():
            return origin + reverse(f"admin:retrytasks_{page}", args=args)
    return None


def _origin() -> str:
    """Return where the site is reached, without a slash at the end; "" if that is not known."""
    if url := conf.get().SITE_URL:
        return url.rstrip("/")
    if not apps.is_installed("django.contrib.sites"):
        return ""
    from django.contrib.sites.models import Site

    return f"https://{Site.objects.get_current().domain}"


# ---- in JSON's types


def _group_dict(group: FailureGroup, url: str | None) -> dict[str, Any]:
    return {
        "fingerprint": str(group.fingerprint),
        "kind": str(group.kind),
        "status": str(group.status),
        "name": group.name,
        "exception_class_path": group.exception_class_path,
        "origin": group.origin,
        "message": group.message,
        "failure_count": group.failure_count,
        "first_seen_at": _iso(group.first_seen_at),
        "last_failed_at": _iso(group.last_failed_at),
        "url": url,
    }


def _task_dict(alert: Alert, task: Task) -> dict[str, Any]:
    return {
        "id": str(task.pk),
        "name": task.name,
        "queue_name": task.queue_name,
        "arguments": dict(alert.arguments),
        "stop_reason": str(task.stop_reason),
        "url": alert.task_url,
    }


def _attempt_dict(attempt: Attempt) -> dict[str, Any]:
    return {
        "number": attempt.number,
        "outcome": str(attempt.outcome),
        "finished_at": _iso(attempt.finished_at),
        "worker": attempt.worker,
        "exception_class_path": attempt.exception_class_path,
        "exception_message": attempt.exception_message,
        "traceback": attempt.traceback,
        "decision": attempt.decision,
    }


def _json_text(value: Any) -> str:
    """Return an argument as JSON; what the codec would tag, such as a date, is plain text there."""
    plain = json.loads(codec.dumps(value), object_hook=_untagged)
    return storable(json.dumps(plain, ensure_ascii=False), ARGUMENT_LIMIT)


def _untagged(found: dict[str, Any]) -> Any:
    return found["value"] if codec.TAG in found else found


# ---- sinks


def check(sink: conf.Sink) -> None:
    """Check an entry of ALERTS, as far as that can be done without sending.

    Raises:
        ImproperlyConfigured: it leads to no callable, or to one that does not take its options.
            The message shows neither a URL nor a secret.
    """
    try:
        call = import_string(sink.path)
        bound = inspect.signature(call).bind(None, **sink.options)
    except (ImportError, TypeError, ValueError) as error:
        raise ImproperlyConfigured(str(error)) from None
    bound.apply_defaults()
    if call in _READERS:
        _READERS[call](**bound.kwargs)


def log(alert: Alert) -> None:
    """Log an alert in English: at ERROR, or INFO when it tells of a recovery."""
    level = logging.INFO if alert.is_recovery else logging.ERROR
    with override(None):
        logger.log(level, "Alert: %s", alert.subject)


def mail_admins(alert: Alert) -> None:
    """Mail an alert to ``ADMINS``."""
    letters.warn_of_nobody()
    django_mail.mail_admins(alert.subject, alert.text, html_message=alert.html)


def mail(alert: Alert, *, to: Sequence[str]) -> None:
    """Mail an alert from ``DEFAULT_FROM_EMAIL`` to these addresses."""
    recipients = _recipients(to=to)
    django_mail.send_mail(alert.subject, alert.text, None, recipients, html_message=alert.html)


def webhook(
    alert: Alert,
    *,
    url: str,
    secret: str | None = None,
    form: Literal["json", "text"] = "json",
    timeout: Duration = 10,
) -> None:
    """Post an alert.

    Args:
        url: http or https. It is never shown, for it may hold a secret.
        secret: signs it after the Standard Webhooks specification: "whsec_" and a key in base64;
            None: it is not signed.
        form: "json" posts ``alert.as_dict()``, "text" ``{"text": ...}``, as Slack takes it.
        timeout: for all of it, seconds or timedelta.

    Raises:
        NotDelivered: the receiver was not reached in time, or answered with no 2xx status.
    """
    receiver = _receiver(url=url, secret=secret, form=form, timeout=timeout)
    chat_text = chats.for_slack(f"{alert.subject}\n{alert.summary}")
    receiver.post(alert.id, alert.as_dict() if form == "json" else {"text": chat_text})


def apprise(alert: Alert, *, urls: Sequence[str]) -> None:
    """Send an alert by the library apprise, which knows over a hundred services.

    Args:
        urls: of apprise's own kind. Where one fails, all are sent to again.

    Raises:
        NotDelivered: one of them failed. The logger ``apprise`` says why.
    """
    sent = _services(urls=urls).notify(
        title=chats.quiet(alert.subject),
        body=chats.quiet(alert.summary),
        notify_type="success" if alert.is_recovery else "failure",
        body_format="text",
    )
    if not sent:
        raise NotDelivered("apprise did not deliver to all urls: see the logger apprise for why")


def _recipients(*, to: Sequence[str]) -> list[str]:
    if isinstance(to, str) or not (to and all(isinstance(one, str) for one in to)):
        raise ImproperlyConfigured('"to" must be a list of addresses, with one at least')
    return list(to)


def _receiver(*, form: str, **options: Any) -> Webhook:
    if form not in FORMS:
        raise ImproperlyConfigured(f'"form" must be one of {FORMS}')
    return Webhook(**options)


def _services(*, urls: Sequence[str]) -> Any:
    try:
        from apprise import Apprise
    except ImportError:
        fix = "pip install 'django-retrytasks[apprise]'"
        raise ImproperlyConfigured(f"apprise is not installed: {fix}") from None
    if isinstance(urls, str) or not urls:
        raise ImproperlyConfigured('"urls" must be a list of URLs, with one at least')
    services = Apprise()
    with _silenced("apprise"):
        refused = [index for index, url in enumerate(urls) if not services.add(url)]
    if refused:
        raise ImproperlyConfigured(f"apprise cannot read urls[{refused[0]}]")
    return services


@contextmanager
def _silenced(name: str) -> Iterator[None]:
    """Silence a logger while the body runs: apprise logs a URL that it cannot read as it is."""
    silenced = logging.getLogger(name)
    was = silenced.disabled
    silenced.disabled = True
    try:
        yield
    finally:
        silenced.disabled = was


# What reads a sink's options, and raises ImproperlyConfigured where they are wrong.
_READERS: Mapping[Any, Callable[..., Any]] = {
    mail: _recipients,
    webhook: _receiver,
    apprise: _services,
}
