"""The rows: a Task is one durable request to run a function, an Attempt is one run of it."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.expressions import Combinable
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _

from . import codec, moments
from .fingerprints import as_uuid
from .policy import StopReason
from .reports import storable

SEARCH_KEY_LENGTH = 100


def uuid7(milliseconds: int | None = None, seed: bytes | None = None) -> uuid.UUID:
    """Return a UUID of version 7 (RFC 9562): 48 bits of Unix time in milliseconds come first.

    Args:
        milliseconds: since 1970; None: now.
        seed: ten bytes for the rest; None: random ones.
    """
    milliseconds = time.time_ns() // 1_000_000 if milliseconds is None else milliseconds
    return as_uuid(milliseconds << 80 | int.from_bytes(seed or os.urandom(10)), version=7)


def as_search_key(value: Any) -> str:
    """Return what a Task is found by: a value as text, of at most 100 characters.

    "" for none, and for what holds values of its own: some may be secrets.
    """
    if value is None or isinstance(value, dict | list | tuple):
        return ""
    text = str(value).strip()[:SEARCH_KEY_LENGTH]
    # Characters that a database refuses are escaped, so it may have grown.
    return storable(text, 10 * SEARCH_KEY_LENGTH)[:SEARCH_KEY_LENGTH]


class DatabaseNow(Now):
    """The database's clock, in the form in which Django stores datetimes there.

    MariaDB and MySQL answer in the session's time zone and SQLite in UTC, while Django stores UTC,
    or local time where ``USE_TZ`` is off: both are asked for UTC and moved by that difference.
    """

    @classmethod
    def after(cls, wait: timedelta) -> Combinable:
        """Return the moment that comes ``wait`` after the database's time."""
        return cls(ahead=wait) + wait

    def as_mysql(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        template = f"(UTC_TIMESTAMP(6) + INTERVAL {self._offset} SECOND)"
        return self.as_sql(compiler, connection, template=template, **extra)

    def as_sqlite(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        moved = f"{self._offset:+d} seconds"
        template = f"STRFTIME('%%%%Y-%%%%m-%%%%d %%%%H:%%%%M:%%%%f', 'NOW', '{moved}')"
        return self.as_sql(compiler, connection, template=template, **extra)

    def get_db_converters(self, connection: Any) -> list[Any]:
        converters: list[Any] = super().get_db_converters(connection)
        return converters if _keeps_instants(connection) else [*converters, _with_fold]

    @property
    def _offset(self) -> int:
        return _stored_offset(self.extra.get("ahead", moments.ZERO))


def _stored_offset(ahead: timedelta) -> int:
    """Return the seconds from UTC to what is stored of the moment ``ahead`` of now."""
    if settings.USE_TZ:
        return 0
    now = timezone.now()
    stored = moments.without_fold(moments.after(now, ahead), now)
    offset = stored - (moments.as_instant(now) + ahead).replace(tzinfo=None)
    return round(offset.total_seconds())


def _with_fold(value: datetime, expression: Any, connection: Any) -> datetime:
    """Return the database's local time with the fold of this host's, which is about the same."""
    return value.replace(fold=timezone.now().fold)


def _keeps_instants(connection: Any) -> bool:
    return settings.USE_TZ or bool(connection.features.supports_timezones)


class _Moments:
    """Stores a moment as the instant that it is, as far as the database can.

    With ``USE_TZ`` off Django itself hands PostgreSQL local times, which name two instants in the
    hour in which the clock is put back, and refuses aware datetimes on the others.
    """

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        if isinstance(value, datetime) and not settings.USE_TZ:
            if _keeps_instants(connection):
                value = moments.as_instant(value)
            else:
                value = moments.without_fold(moments.as_moment(value), timezone.now())
        return super().get_db_prep_value(value, connection, prepared)  # type: ignore[misc]

    def deconstruct(self) -> tuple[str, str, list[Any], dict[str, Any]]:
        name, _, args, kwargs = super().deconstruct()  # type: ignore[misc]
        return name, "django.db.models.DateTimeField", args, kwargs


if TYPE_CHECKING:
    MomentField = models.DateTimeField
else:

    class MomentField(_Moments, models.DateTimeField):
        pass


class Encoded:
    """A value already encoded, so that it is not encoded twice; ``text`` is the codec's text."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    @property
    def value(self) -> Any:
        """Return the value as the database gives it back."""
        return codec.loads(self.text)


class Unreadable:
    """Stored text that is no value of the codec's; calling a function with it raises."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __iter__(self) -> Iterator[Any]:
        # Not quoted: it may hold a secret.
        raise ValueError(f"the stored value of {len(self.text)} characters is not readable")

    keys = __iter__


if TYPE_CHECKING:
    AnyTextField = models.TextField[Any, Any]
else:
    AnyTextField = models.TextField


class CodecField(AnyTextField):
    """A value kept as ASCII JSON text: see :mod:`django_retrytasks.codec` for the types."""

    if TYPE_CHECKING:  # what django-stubs reads the types of a field's values from
        _pyi_private_set_type: Any
        _pyi_private_get_type: Any
        _pyi_lookup_exact_type: Any

    def from_db_value(self, value: str | None, expression: Any, connection: Any) -> Any:
        if value is None:
            return None
        try:
            return codec.loads(value)
        except Exception:
            # One unreadable row must not fail the claim of its neighbours: it fails when called.
            return Unreadable(value)

    def get_prep_value(self, value: Any) -> Any:
        if value is None or isinstance(value, Combinable):
            return value
        return value.text if isinstance(value, Encoded) else codec.dumps(value)


class Status(models.TextChoices):
    # Set by enqueue: waits for its run_after. A re-drive sets it again.
    PENDING = "PENDING", _("Pending")
    # Set by claim: a worker holds it until its lease (run_after) ends. A crash leaves it so.
    RUNNING = "RUNNING", _("Running")
    # Set by settle after a failed attempt that is to be retried: waits for its run_after.
    RETRYING = "RETRYING", _("Retrying")
    # Set by settle: the function returned. Final.
    SUCCEEDED = "SUCCEEDED", _("Succeeded")
    # Set by settle: no retry follows; stop_reason says why. Final until re-driven.
    FAILED = "FAILED", _("Failed")
    # Set by discard, or by settle when the function raised Discard. Final.
    DISCARDED = "DISCARDED", _("Discarded")


# The run_after of Tasks that wait for their queue or function to be resumed.
PARKED = datetime(9999, 1, 1, tzinfo=UTC)

UNFINISHED = (Status.PENDING, Status.RUNNING, Status.RETRYING)
FINAL = (Status.SUCCEEDED, Status.FAILED, Status.DISCARDED)


class TaskQuerySet(models.QuerySet["Task"]):
    def unfinished(self) -> TaskQuerySet:
        """Tasks that still have something to run."""
        return self.filter(run_after__isnull=False)

    def due(self) -> TaskQuerySet:
        """Tasks whose moment has come by the database's clock, lapsed claims included."""
        return self.filter(run_after__lte=DatabaseNow())

    def of_lane(self, queue_name: str, priority: int) -> TaskQuerySet:
        """Unfinished Tasks of one queue and priority: one range of the claim's index."""
        return self.unfinished().filter(queue_name=queue_name, priority=priority)

    def of_lanes(self, lanes: Iterable[tuple[str, int]]) -> TaskQuerySet:
        """Unfinished Tasks of any of these queues at any of these priorities, by the same index."""
        lanes = set(lanes)
        names, priorities = {name for name, _ in lanes}, {priority for _, priority in lanes}
        return self.unfinished().filter(queue_name__in=names, priority__in=priorities)

    def held(self, claim_token: uuid.UUID | None) -> TaskQuerySet:
        """Tasks under this claim whose lease has not ended."""
        return self.filter(
            claim_token=claim_token, status=Status.RUNNING, run_after__gt=DatabaseNow()
        )

    def finished_before(
        self, status: Status, ago: timedelta, *, internal: bool = False
    ) -> TaskQuerySet:
        """Tasks that reached this final status longer than ``ago``."""
        moment = DatabaseNow() - ago
        # Django before 6.1 makes "NOT internal" of an equality, which SQLite finds in no index.
        return self.filter(internal__in=(internal,), status=status, finished_at__lt=moment)


class Task(models.Model):
    """One durable request to run a function."""

    id = models.UUIDField(
        _("id"),
        primary_key=True,
        default=uuid7,
        editable=False,
        help_text=_("The same for life: retries and re-drives keep it."),
    )
    name = models.CharField(_("name"), max_length=255, help_text=_("Dotted path of the function."))
    args = CodecField(_("args"), help_text=_("Positional arguments, a list."))
    kwargs = CodecField(_("kwargs"), help_text=_("Keyword arguments, a mapping."))
    queue_name = models.CharField(
        _("queue name"), max_length=100, help_text=_("Queue it waits in.")
    )
    priority = models.SmallIntegerField(
        _("priority"),
        default=0,
        help_text=_("-100 to 100; higher runs first within a queue's cluster."),
    )
    backend = models.CharField(
        _("backend"), max_length=100, help_text=_("Alias in TASKS it was enqueued by.")
    )
    search_key = models.CharField(
        _("search key"),
        max_length=SEARCH_KEY_LENGTH,
        blank=True,
        default="",
        # What an older release stores has none.
        db_default="",
        help_text=_("What it is found by: the argument that its function's search_key names."),
    )
    internal = models.BooleanField(
        _("internal"),
        default=False,
        help_text=_("Whether it announces another Task; such Tasks fail quietly."),
    )
    options = models.JSONField(
        _("options"),
        default=dict,
        help_text=_("Policy options given for this call alone, in seconds."),
    )
    timeout = models.FloatField(
        _("timeout"), null=True, help_text=_("Seconds one attempt may take. Empty: no limit.")
    )
    max_retries = models.PositiveIntegerField(
        _("max retries"), null=True, help_text=_("Retries at most in one drive. Empty: for ever.")
    )

    status = models.CharField(
        _("status"),
        max_length=10,
        choices=Status,
        default=Status.PENDING,
        help_text=_("Where it stands; succeeded, failed and discarded are final."),
    )
    retry_count = models.PositiveIntegerField(
        _("retry count"),
        default=0,
        help_text=_("Retries spent so far in this drive, the coming one included."),
    )
    attempt_count = models.PositiveIntegerField(
        _("attempt count"), default=0, help_text=_("Attempts recorded so far, over all drives.")
    )
    crash_count = models.PositiveIntegerField(
        _("crash count"), default=0, help_text=_("Lost attempts so far in this drive.")
    )
    failure_group = models.ForeignKey(
        "FailureGroup",
        verbose_name=_("failure group"),
        # No constraint: its lock on the group's row would have every settle wait for another's.
        db_constraint=False,
        db_index=False,
        on_delete=models.DO_NOTHING,
        null=True,
        related_name="tasks",
        help_text=_("Cause of its latest final failure; kept when it is re-driven."),
    )
    stop_reason = models.CharField(
        _("stop reason"),
        max_length=14,
        choices=StopReason,
        blank=True,
        default="",
        help_text=_("Why no retry follows. Empty unless failed or discarded."),
    )
    return_value = CodecField(
        _("return value"), null=True, help_text=_("What the function returned.")
    )

    run_after = MomentField(
        _("run after"),
        null=True,
        help_text=_(
            "Earliest moment to run; while running, the end of the lease; empty once final."
        ),
    )
    queued_at = MomentField(
        _("queued at"),
        help_text=_("Moment from which its next attempt may start (its last, once claimed)."),
    )
    enqueued_at = MomentField(_("enqueued at"), help_text=_("When it was enqueued."))
    started_at = MomentField(
        _("started at"), null=True, help_text=_("Start of the first attempt of this drive.")
    )
    last_attempted_at = MomentField(
        _("last attempted at"),
        null=True,
        help_text=_("Start of the attempt that runs, once known; otherwise that of the last."),
    )
    finished_at = MomentField(
        _("finished at"), null=True, help_text=_("When it became final. Empty while unfinished.")
    )

    claimed_at = MomentField(_("claimed at"), null=True, help_text=_("When it was last claimed."))
    claim_token = models.UUIDField(
        _("claim token"),
        null=True,
        editable=False,
        help_text=_("The claim that holds it; empty unless running."),
    )
    worker = models.CharField(
        _("worker"),
        max_length=255,
        blank=True,
        default="",
        help_text=_("Worker that claimed it last: host, process id, process name."),
    )
    suspect = models.BooleanField(
        _("suspect"),
        default=False,
        help_text=_("Whether it is claimed alone: a worker died holding it, or it tells others."),
    )
    given_back_count = models.PositiveSmallIntegerField(
        _("given back count"),
        default=0,
        help_text=_("Times a worker without its code gave it back in this drive, uncharged."),
    )
    wakeup_id = models.BigIntegerField(
        _("wakeup id"),
        null=True,
        editable=False,
        help_text=_("The wake-up written for it, if one still waits."),
    )

    objects: ClassVar[Any] = TaskQuerySet.as_manager()

    # Not stored: what a claim found.
    lapsed = False
    """Whether its claim found it RUNNING under another whose lease had ended."""
    unclaimed: Mapping[str, Any] = {}
    """The starts it had before it was claimed, for when it is given back."""

    class Meta:
        verbose_name = _("task")
        verbose_name_plural = _("tasks")
        # One for each verb of an operator: to view, or to change, is not enough.
        permissions = (
            ("redrive_task", _("Can re-drive failed tasks")),
            ("run_now_task", _("Can have waiting tasks run at once")),
            ("snooze_task", _("Can snooze waiting tasks")),
            ("discard_task", _("Can discard tasks")),
            ("cancel_task", _("Can cancel tasks")),
            ("pause_task", _("Can pause and resume queues and functions")),
        )
        indexes = (
            # What claim reads: due Tasks of a lane. Finished Tasks are outside it where the
            # database has partial indexes.
            models.Index(
                fields=("queue_name", "priority", "run_after"),
                name="retrytasks_due",
                condition=Q(run_after__isnull=False),
            ),
            models.Index(fields=("internal", "status", "finished_at"), name="retrytasks_finished"),
            # When a function last succeeded, for what recovers and what falls silent.
            models.Index(
                fields=("name", "finished_at"),
                name="retrytasks_succeeded",
                condition=Q(status=Status.SUCCEEDED),
            ),
            # The Tasks of a function, the latest last; and the functions there are, by seeks.
            models.Index(fields=("name", "id"), name="retrytasks_named"),
            # The Tasks of a queue, the latest last.
            models.Index(fields=("queue_name", "id"), name="retrytasks_queued"),
            # The Tasks of a cause, the latest last.
            models.Index(
                fields=("failure_group", "id"),
                name="retrytasks_failed",
                condition=Q(failure_group__isnull=False),
            ),
            # What failed of late by a cause.
            models.Index(
                fields=("failure_group", "finished_at"),
                name="retrytasks_failed_at",
                condition=Q(status=Status.FAILED),
            ),
            # Not an inequality: SQLite uses the index only where a query says the very same.
            models.Index(
                fields=("search_key",), name="retrytasks_searched", condition=Q(search_key__gt="")
            ),
        )
        constraints = (
            models.CheckConstraint(
                condition=Q(status__in=UNFINISHED, run_after__isnull=False, finished_at=None)
                | Q(status__in=FINAL, run_after__isnull=True, finished_at__isnull=False),
                name="retrytasks_unfinished_has_run_after",
            ),
        )

    def __str__(self) -> str:
        return f"{self.name} {self.pk}"

    @property
    def is_finished(self) -> bool:
        """Whether its status is final."""
        return self.status in FINAL

    @property
    def is_parked(self) -> bool:
        """Whether it waits because its queue or its function is paused."""
        return self.run_after is not None and self.run_after.year == PARKED.year

    @property
    def was_started(self) -> bool:
        """Whether the claim that holds it is known to have started it."""
        # No comparison with claimed_at: the clock may have been set back in between.
        return self.status == Status.RUNNING and self.last_attempted_at is not None

    @property
    def waiting_status(self) -> Status:
        """Return the status it has while it waits: RETRYING once a retry is spent, else PENDING."""
        return Status.RETRYING if self.retry_count else Status.PENDING


class Attempt(models.Model):
    """One run of a Task: written once, when it is settled or cancelled, and never changed."""

    class Outcome(models.TextChoices):
        # The function returned.
        SUCCEEDED = "SUCCEEDED", _("Succeeded")
        # It raised, its code could not be imported, or its return value could not be stored.
        FAILED = "FAILED", _("Failed")
        # It took longer than its timeout.
        TIMED_OUT = "TIMED_OUT", _("Timed out")
        # Its worker died, or was frozen until the lease had ended.
        LOST = "LOST", _("Lost")
        # It raised Snooze: it runs later, no retry spent.
        SNOOZED = "SNOOZED", _("Snoozed")
        # It raised Discard.
        DISCARDED = "DISCARDED", _("Discarded")
        # An operator cancelled its Task while it ran: written then, whatever comes of the function.
        CANCELLED = "CANCELLED", _("Cancelled")

    task = models.ForeignKey(
        Task,
        verbose_name=_("task"),
        # The unique constraint below begins with it.
        db_index=False,
        on_delete=models.CASCADE,
        related_name="attempts",
        help_text=_("The Task it is a run of."),
    )
    number = models.PositiveIntegerField(
        _("number"), help_text=_("From 1, without gaps, over all drives.")
    )
    outcome = models.CharField(
        _("outcome"), max_length=9, choices=Outcome, help_text=_("How it ended.")
    )
    retry_count = models.PositiveIntegerField(
        _("retry count"), help_text=_("Retries spent when it ran.")
    )
    queued_at = MomentField(_("queued at"), help_text=_("Moment from which it might have started."))
    started_at = MomentField(_("started at"), help_text=_("When the function was called."))
    finished_at = MomentField(
        _("finished at"),
        help_text=_("When the function ended; of a lost attempt, when the loss was noticed."),
    )
    worker = models.CharField(
        _("worker"), max_length=255, help_text=_("Host, process id, process name.")
    )
    exception_class_path = models.CharField(
        _("exception class path"),
        max_length=255,
        blank=True,
        default="",
        help_text=_("Dotted path. Empty on success."),
    )
    exception_message = models.TextField(
        _("exception message"), blank=True, default="", help_text=_("At most 4 KB.")
    )
    traceback = models.TextField(
        _("traceback"),
        blank=True,
        default="",
        help_text=_("Chain kept; at most 64 KB, head and tail."),
    )
    decision = models.CharField(
        _("decision"), max_length=255, help_text=_("What follows and why, in words.")
    )
    next_run_after = MomentField(
        _("next run after"),
        null=True,
        help_text=_("Earliest moment of the next attempt. Empty if none follows."),
    )

    class Meta:
        verbose_name = _("attempt")
        verbose_name_plural = _("attempts")
        ordering = ("number",)
        constraints = (
            models.UniqueConstraint(fields=("task", "number"), name="retrytasks_attempt_number"),
        )

    def __str__(self) -> str:
        return f"{self.task_id} #{self.number}"


class FailureGroupQuerySet(models.QuerySet["FailureGroup"]):
    def failing(self) -> FailureGroupQuerySet:
        """Groups whose failures go on: none has recovered, nor been resolved, since its last."""
        return self.filter(streak_count__gt=0)

    def audible(self) -> FailureGroupQuerySet:
        """Groups of which there is to be told: those neither resolved nor muted still."""
        statuses = FailureGroup.Status
        is_unmuted = Q(status=statuses.MUTED, muted_until__lte=DatabaseNow())
        return self.filter(Q(status=statuses.OPEN) | is_unmuted)


class FailureGroup(models.Model):
    """Failures of one cause; or breaches of one of ``ALERT_RULES``, one for each sweep.

    Its streak is what has failed since it last recovered or was resolved.
    """

    class Kind(models.TextChoices):
        # Final failures of a task, and its failed attempts, counted apart.
        FAILURE = "FAILURE", _("Failure")
        # Breaches of an alert rule.
        RULE = "RULE", _("Rule")

    class Status(models.TextChoices):
        # Set by its first failure; by reopen; by a failure after it was resolved.
        OPEN = "OPEN", pgettext_lazy("status of a failure group", "Open")
        # Set by mute: counted, not alerted about, until muted_until.
        MUTED = "MUTED", _("Muted")
        # Set by resolve: the next failure opens it again, as a regression.
        RESOLVED = "RESOLVED", _("Resolved")

    fingerprint = models.UUIDField(
        _("fingerprint"),
        primary_key=True,
        editable=False,
        help_text=_("Made from the task's name, the exception's class and where it was raised."),
    )
    kind = models.CharField(
        _("kind"),
        max_length=7,
        choices=Kind,
        default=Kind.FAILURE,
        help_text=_("What is counted in it."),
    )
    name = models.CharField(
        _("name"),
        max_length=255,
        blank=True,
        default="",
        help_text=_("Dotted path of the function. Empty where a rule is about no single one."),
    )
    exception_class_path = models.CharField(
        _("exception class path"),
        max_length=255,
        blank=True,
        default="",
        help_text=_("Dotted path. Empty for a rule."),
    )
    origin = models.CharField(
        _("origin"),
        max_length=255,
        blank=True,
        default="",
        help_text=_("The innermost line of the site's own code: function and text."),
    )
    message = models.TextField(
        _("message"),
        blank=True,
        default="",
        help_text=_("Message of the first failure, or the rule in words."),
    )

    status = models.CharField(
        _("status"),
        max_length=8,
        choices=Status,
        default=Status.OPEN,
        help_text=_("Open groups alert; muted and resolved ones do not."),
    )
    muted_until = models.DateTimeField(
        _("muted until"),
        null=True,
        help_text=_("When a muted group alerts again. Empty: not by itself."),
    )
    resolved_at = models.DateTimeField(
        _("resolved at"), null=True, help_text=_("When it was last resolved.")
    )
    regressed_at = models.DateTimeField(
        _("regressed at"), null=True, help_text=_("When it last failed after it had been resolved.")
    )

    failure_count = models.PositiveBigIntegerField(
        _("failure count"),
        default=0,
        help_text=_("Final failures so far; of a rule, sweeps that found it breached."),
    )
    failed_attempt_count = models.PositiveBigIntegerField(
        _("failed attempt count"),
        default=0,
        help_text=_("Failed attempts so far, those that were retried included."),
    )
    first_seen_at = models.DateTimeField(
        _("first seen at"), help_text=_("When the first attempt failed so.")
    )
    last_seen_at = models.DateTimeField(
        _("last seen at"), help_text=_("When the last attempt failed so.")
    )
    last_failed_at = models.DateTimeField(
        _("last failed at"),
        null=True,
        help_text=_("When the last Task failed so for good. Empty: none yet."),
    )
    sample = models.ForeignKey(
        Task,
        verbose_name=_("sample"),
        db_constraint=False,
        db_index=False,
        on_delete=models.DO_NOTHING,
        null=True,
        related_name="+",
        help_text=_("The latest failed Task, pruned or not. Empty for a rule."),
    )

    streak_count = models.PositiveBigIntegerField(
        _("streak count"),
        default=0,
        help_text=_("Final failures since it last recovered or was resolved."),
    )
    streak_started_at = models.DateTimeField(
        _("streak started at"), null=True, help_text=_("When the first of these failed.")
    )
    alerted_count = models.PositiveBigIntegerField(
        _("alerted count"),
        default=0,
        help_text=_("How many of these the last alert told of; 0: none was sent."),
    )
    alerted_at = models.DateTimeField(
        _("alerted at"),
        null=True,
        help_text=_("When an alert was last decided on. Empty: none since resolved."),
    )
    recovered_at = models.DateTimeField(
        _("recovered at"), null=True, help_text=_("When it last recovered.")
    )

    objects: ClassVar[Any] = FailureGroupQuerySet.as_manager()

    FLOOD: ClassVar = uuid.UUID("6f7d3a0e-52b7-4a2b-8f50-2a8c1d7f9e44")
    """The fingerprint of the rule that ``ALERT_LIMIT`` is: breached while more groups fail."""

    class Meta:
        verbose_name = _("failure group")
        verbose_name_plural = _("failure groups")

    def __str__(self) -> str:
        if self.kind == self.Kind.RULE:
            return self.message
        return gettext("%(error)s in %(name)s") % {"error": self.error_name, "name": self.name}

    @property
    def error_name(self) -> str:
        """Return the exception's class name without its module."""
        return self.exception_class_path.rpartition(".")[2]

    @property
    def is_flood(self) -> bool:
        """Whether it tells of other groups: of those beyond ``ALERT_LIMIT``."""
        return bool(self.pk == self.FLOOD)

    @property
    def is_regressed(self) -> bool:
        """Whether its streak began after it had been resolved."""
        return self.regressed_at is not None and self.regressed_at == self.streak_started_at

    def is_silent(self, now: datetime) -> bool:
        """Whether nothing is to be told of it: it is resolved, or muted still."""
        if self.status == self.Status.MUTED:
            return self.muted_until is None or now < self.muted_until
        return self.status == self.Status.RESOLVED

    def alert_is_due(self, now: datetime, cooldown: timedelta) -> bool:
        """Whether failures not yet told of are to be told of now.

        Whatever has failed is, once ``cooldown`` has passed since the last alert, that of an
        earlier streak included; before that the 10th failure of the streak, the 100th and so on,
        but not of a flood.
        """
        if self.is_silent(now) or self.streak_count == self.alerted_count:
            return False
        if not self.was_alerted(now, cooldown):
            return True
        return not self.is_flood and len(str(self.streak_count)) > len(str(self.alerted_count))

    def was_alerted(self, now: datetime, cooldown: timedelta) -> bool:
        """Whether an alert about it is less than ``cooldown`` old."""
        return self.alerted_at is not None and now - self.alerted_at < cooldown

    @property
    def was_told_together(self) -> bool:
        """Whether only alerts about a flood have told of its streak."""
        if self.alerted_at is None or self.streak_started_at is None:
            return bool(self.alerted_count)
        return bool(self.alerted_count) and self.alerted_at < self.streak_started_at


class Tally(models.Model):
    """What ended in one minute, internal Tasks left out; the chart is drawn from them."""

    minute = models.DateTimeField(
        _("minute"), primary_key=True, help_text=_("When the minute began.")
    )
    succeeded_count = models.PositiveIntegerField(
        _("succeeded count"), help_text=_("Tasks that succeeded at their first attempt.")
    )
    retried_count = models.PositiveIntegerField(
        _("retried count"), help_text=_("Tasks that succeeded at a later attempt.")
    )
    failed_count = models.PositiveIntegerField(
        _("failed count"), help_text=_("Tasks that failed for good.")
    )

    class Meta:
        verbose_name = _("tally")
        verbose_name_plural = _("tallies")

    def __str__(self) -> str:
        return f"{self.minute:%Y-%m-%d %H:%M}"


class Pause(models.Model):
    """A queue, or a function, whose due Tasks wait until it is resumed."""

    queue_name = models.CharField(
        _("queue name"),
        max_length=100,
        blank=True,
        default="",
        help_text=_("The queue. Empty for a function."),
    )
    name = models.CharField(
        _("name"),
        max_length=255,
        blank=True,
        default="",
        help_text=_("The function. Empty for a queue."),
    )
    paused_at = models.DateTimeField(_("paused at"), help_text=_("Since when."))
    paused_by = models.CharField(
        _("paused by"), max_length=150, blank=True, default="", help_text=_("Who paused it.")
    )
    reason = models.TextField(_("reason"), blank=True, default="", help_text=_("Why, in words."))

    class Meta:
        verbose_name = _("pause")
        verbose_name_plural = _("pauses")
        constraints = (
            models.UniqueConstraint(fields=("queue_name", "name"), name="retrytasks_paused_once"),
            models.CheckConstraint(
                condition=Q(queue_name="") ^ Q(name=""), name="retrytasks_pauses_one_thing"
            ),
        )

    def __str__(self) -> str:
        return self.name or self.queue_name


class Operation(models.Model):
    """One of an operator's verbs for many Tasks, done in chunks by an internal Task."""

    class Verb(models.TextChoices):
        REDRIVE = "REDRIVE", _("Re-drive")
        RUN_NOW = "RUN_NOW", _("Run now")
        SNOOZE = "SNOOZE", _("Snooze")
        DISCARD = "DISCARD", _("Discard")
        CANCEL = "CANCEL", _("Cancel")

    class Status(models.TextChoices):
        # Set by start: its internal Task goes through the Tasks selected.
        RUNNING = "RUNNING", _("Running")
        # Set when it has gone through all of them. Final.
        DONE = "DONE", _("Done")
        # Set by stop, or by a canary that failed: what is done stays done. Final.
        STOPPED = "STOPPED", pgettext_lazy("status of an operation", "Stopped")

    id = models.UUIDField(
        _("id"), primary_key=True, default=uuid7, editable=False, help_text=_("Its identity.")
    )
    verb = models.CharField(
        _("verb"), max_length=7, choices=Verb, help_text=_("What is done to each Task.")
    )
    countdown = models.FloatField(
        _("countdown"), null=True, help_text=_("Seconds to snooze for. Empty for other verbs.")
    )
    selection = models.JSONField(
        _("selection"), help_text=_("Which Tasks: what is asked of them, by name.")
    )
    newest = models.UUIDField(
        _("newest"),
        editable=False,
        help_text=_("The last Task that may be one of them, in order of ids."),
    )
    cursor = models.UUIDField(
        _("cursor"),
        null=True,
        editable=False,
        help_text=_("The last Task gone through. Empty: none yet."),
    )
    per_minute = models.PositiveIntegerField(
        _("per minute"), null=True, help_text=_("Tasks a minute at most. Empty: no limit.")
    )
    canary = models.PositiveSmallIntegerField(
        _("canary"),
        default=0,
        help_text=_("Tasks to do first; the others only if all of these succeed."),
    )
    canary_ids = models.JSONField(
        _("canary ids"),
        default=list,
        editable=False,
        help_text=_("The Tasks that were done first."),
    )
    status = models.CharField(
        _("status"),
        max_length=7,
        choices=Status,
        default=Status.RUNNING,
        help_text=_("How far it is."),
    )
    stopped_because = models.CharField(
        _("stopped because"),
        max_length=255,
        blank=True,
        default="",
        help_text=_("Why it was stopped, in words."),
    )
    matched_count = models.PositiveIntegerField(
        _("matched count"),
        help_text=_("Tasks selected when it was started, counted up to 100,000."),
    )
    done_count = models.PositiveIntegerField(
        _("done count"), default=0, help_text=_("Tasks changed so far.")
    )
    skipped_count = models.PositiveIntegerField(
        _("skipped count"),
        default=0,
        help_text=_("Tasks that had another status when their turn came."),
    )
    started_by = models.CharField(
        _("started by"), max_length=150, blank=True, default="", help_text=_("Who started it.")
    )
    reason = models.TextField(_("reason"), blank=True, default="", help_text=_("Why, in words."))
    started_at = models.DateTimeField(_("started at"), help_text=_("When it was started."))
    finished_at = models.DateTimeField(
        _("finished at"),
        null=True,
        help_text=_("When it was done or stopped. Empty while it runs."),
    )

    class Meta:
        verbose_name = _("operation")
        verbose_name_plural = _("operations")

    def __str__(self) -> str:
        return f"{self.get_verb_display()} {self.pk}"
