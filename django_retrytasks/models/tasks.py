"""A Task is one durable request to run a function."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from django_retrytasks.database import DatabaseNow, QuickRow, ReadableRows, RowManager
from django_retrytasks.policy import StopReason
from django_retrytasks.values import contract
from django_retrytasks.values.ids import uuid7
from django_retrytasks.values.moments import PARKED, parked_moment

from .fields import CodecField, MomentField
from .statuses import FINAL, UNFINISHED, Status

NAME_LENGTH = 255
QUEUE_NAME_LENGTH = SEARCH_KEY_LENGTH = BREAKER_KEY_LENGTH = 100


class TaskQuerySet(models.QuerySet["Task"]):
    def unfinished(self) -> TaskQuerySet:
        """Tasks without a final status."""
        return self.filter(run_after__isnull=False)

    def due(self) -> TaskQuerySet:
        """Tasks whose run_after has come by the database's clock, lapsed claims included."""
        return self.filter(run_after__lte=DatabaseNow())

    def of_lanes(self, lanes: Iterable[tuple[str, int]]) -> TaskQuerySet:
        """Unfinished Tasks of any of the queues at any of the priorities, by the claim's index."""
        lanes = set(lanes)
        names, priorities = {name for name, _ in lanes}, {priority for _, priority in lanes}
        return self.unfinished().filter(queue_name__in=names, priority__in=priorities)

    def held(self, claim_token: uuid.UUID | None) -> TaskQuerySet:
        """Tasks under this claim whose lease has not ended."""
        return self.filter(
            claim_token=claim_token, status=Status.RUNNING, run_after__gt=DatabaseNow()
        )

    def of_status(self, status: Status, *, internal: bool = False) -> TaskQuerySet:
        """Tasks of this status, the site's own or the internal ones: one range of an index."""
        # Django before 6.1 turns an equality into "NOT internal", and SQLite uses no index for it.
        return self.filter(internal__in=(internal,), status=status)

    def finished_before(
        self, status: Status, ago: timedelta, *, internal: bool = False
    ) -> TaskQuerySet:
        """Tasks that reached this final status more than ``ago`` ago, unless a period goes on."""
        finished = self.of_status(status, internal=internal)
        finished = finished.filter(finished_at__lt=DatabaseNow() - ago)
        return finished.filter(Q(held_key=None) | ~Q(unique_until__gt=DatabaseNow()))


class Task(QuickRow, models.Model):
    """One durable request to run a function."""

    # A new Task names only what differs from the database's defaults: that is quicker, and an older
    # release stores rows without the columns it does not know.

    id = models.UUIDField(
        _("id"),
        primary_key=True,
        default=uuid7,
        editable=False,
        help_text=_("Identity; retries and re-drives keep it."),
    )
    name = models.CharField(
        _("name"), max_length=NAME_LENGTH, help_text=_("Dotted path of the function.")
    )
    args = CodecField(_("args"), help_text=_("Positional arguments, a list."))
    kwargs = CodecField(_("kwargs"), help_text=_("Keyword arguments, a mapping."))
    queue_name = models.CharField(
        _("queue name"),
        max_length=QUEUE_NAME_LENGTH,
        default=contract.DEFAULT_TASK_QUEUE_NAME,
        db_default=contract.DEFAULT_TASK_QUEUE_NAME,
        help_text=_("Queue it waits in."),
    )
    priority = models.SmallIntegerField(
        _("priority"),
        default=0,
        db_default=0,
        help_text=_("-100 to 100; higher runs first within a queue's cluster."),
    )
    backend = models.CharField(
        _("backend"),
        max_length=100,
        default=contract.DEFAULT_TASK_BACKEND_ALIAS,
        db_default=contract.DEFAULT_TASK_BACKEND_ALIAS,
        help_text=_("Alias in TASKS of the backend that enqueued it."),
    )
    search_key = models.CharField(
        _("search key"),
        max_length=SEARCH_KEY_LENGTH,
        blank=True,
        default="",
        db_default="",
        help_text=_("Value to search by: the argument that the function's search_key names."),
    )
    breaker_key = models.CharField(
        _("breaker key"),
        max_length=BREAKER_KEY_LENGTH,
        blank=True,
        default="",
        db_default="",
        help_text=_("Value of the argument that tells its breaker apart from others."),
    )
    unique_key = models.UUIDField(
        _("unique key"),
        null=True,
        editable=False,
        help_text=_("Digest of the function and of what makes the Task unique. Empty: not unique."),
    )
    held_key = models.UUIDField(
        _("held key"),
        null=True,
        editable=False,
        help_text=_("The unique key while the Task holds it; empty once another may take it."),
    )
    unique_until = MomentField(
        _("unique until"),
        null=True,
        help_text=_("End of the period for which it holds its key even if finished. Empty: none."),
    )
    internal = models.BooleanField(
        _("internal"),
        default=False,
        db_default=False,
        help_text=_(
            "Whether it does the package's own work, such as an alert. Its failure alerts nobody."
        ),
    )
    options = models.JSONField(
        _("options"),
        default=dict,
        db_default={},
        help_text=_("Policy options of this call alone; durations in seconds."),
    )
    timeout = models.FloatField(
        _("timeout"), null=True, help_text=_("Seconds one attempt may take. Empty: no limit.")
    )
    max_retries = models.PositiveIntegerField(
        _("max retries"), null=True, help_text=_("Most retries in one drive. Empty: no limit.")
    )

    status = models.CharField(
        _("status"),
        max_length=10,
        choices=Status,
        default=Status.PENDING,
        db_default=Status.PENDING,
        help_text=_("Current state; succeeded, failed and discarded are final."),
    )
    retry_count = models.PositiveIntegerField(
        _("retry count"),
        default=0,
        db_default=0,
        help_text=_("Retries spent so far in this drive, the coming one included."),
    )
    attempt_count = models.PositiveIntegerField(
        _("attempt count"),
        default=0,
        db_default=0,
        help_text=_("Attempts recorded so far, over all drives."),
    )
    crash_count = models.PositiveIntegerField(
        _("crash count"),
        default=0,
        db_default=0,
        help_text=_("Lost attempts so far in this drive."),
    )
    failure_group = models.ForeignKey(
        "FailureGroup",
        verbose_name=_("failure group"),
        # No constraint: its lock on the group's row would make settles wait for each other.
        db_constraint=False,
        db_index=False,
        on_delete=models.DO_NOTHING,
        null=True,
        related_name="tasks",
        help_text=_("Group of its latest final failure; a re-drive keeps it."),
    )
    stop_reason = models.CharField(
        _("stop reason"),
        max_length=14,
        choices=StopReason,
        blank=True,
        default="",
        db_default="",
        help_text=_("Why no retry follows. Empty unless failed or discarded."),
    )
    stop_note = models.CharField(
        _("stop note"),
        max_length=255,
        blank=True,
        default="",
        db_default="",
        help_text=_("Who cancelled it and why, in words. Empty unless cancelled."),
    )
    progress = models.JSONField(
        _("progress"),
        null=True,
        help_text=_("How far the running or last attempt was, if its function reports that."),
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
    expires_at = MomentField(
        _("expires at"),
        null=True,
        help_text=_("If no attempt has started by then, it is discarded. Empty: never."),
    )
    queued_at = MomentField(
        _("queued at"),
        help_text=_(
            "Moment from which the next attempt may start; once claimed, the latest attempt."
        ),
    )
    enqueued_at = MomentField(_("enqueued at"), help_text=_("When it was enqueued."))
    started_at = MomentField(
        _("started at"),
        null=True,
        help_text=_("Start of the first attempt of this drive, plus time behind breakers."),
    )
    last_attempted_at = MomentField(
        _("last attempted at"),
        null=True,
        help_text=_("Start of the running attempt, once known; otherwise of the last attempt."),
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
        db_default="",
        help_text=_("Worker that claimed it last: host, process id, process name."),
    )
    suspect = models.BooleanField(
        _("suspect"),
        default=False,
        db_default=False,
        help_text=_("Whether it is claimed alone: a probe, internal, or its worker died."),
    )
    given_back_count = models.PositiveSmallIntegerField(
        _("given back count"),
        default=0,
        db_default=0,
        help_text=_(
            "Times that workers without its code gave it back in this drive; no attempt is charged."
        ),
    )
    wakeup_id = models.BigIntegerField(
        _("wakeup id"),
        null=True,
        editable=False,
        help_text=_("The wake-up written for it, while one waits."),
    )
    trace = models.JSONField(
        _("trace"),
        null=True,
        editable=False,
        help_text=_("Headers of the trace it was enqueued in. Empty: it was not traced."),
    )

    objects = RowManager.from_queryset(TaskQuerySet)()

    # Set by a claim, not stored.
    lapsed = False
    """Whether the claim took over a RUNNING Task after the lease of an earlier claim ended."""
    unclaimed: Mapping[str, Any] = {}
    """The values of its start fields before the claim, to restore if it is given back."""
    # Set by the function while it runs, not stored.
    reported: Callable[[], Mapping[str, Any]] | None = None
    """Returns the latest progress, for storage; None: none was reported."""

    class Meta:
        verbose_name = _("task")
        verbose_name_plural = _("tasks")
        # One for each verb of an operator: view and change permissions do not allow a verb.
        permissions = (
            ("redrive_task", _("Can re-drive failed tasks")),
            ("run_now_task", _("Can have waiting tasks run at once")),
            ("snooze_task", _("Can snooze waiting tasks")),
            ("discard_task", _("Can discard tasks")),
            ("cancel_task", _("Can cancel tasks")),
            ("pause_task", _("Can pause and resume queues and functions")),
        )
        indexes = (
            # Claim reads the due Tasks of a lane here. If the database has partial indexes,
            # finished Tasks are not in it.
            models.Index(
                fields=("queue_name", "priority", "run_after"),
                name="retrytasks_due",
                condition=Q(run_after__isnull=False),
            ),
            models.Index(fields=("internal", "status", "finished_at"), name="retrytasks_finished"),
            # The last success of a function, for recoveries and the rule of silence.
            models.Index(
                fields=("name", "finished_at"),
                name="retrytasks_succeeded",
                condition=Q(status=Status.SUCCEEDED),
            ),
            # The Tasks of a function, or of a queue, the latest last; and all functions, by seeks.
            models.Index(fields=("name", "id"), name="retrytasks_named"),
            models.Index(fields=("queue_name", "id"), name="retrytasks_queued"),
            # The Tasks of a cause, the latest last.
            models.Index(
                fields=("failure_group", "id"),
                name="retrytasks_failed",
                condition=Q(failure_group__isnull=False),
            ),
            models.Index(  # the recent failures of a cause
                fields=("failure_group", "finished_at"),
                name="retrytasks_failed_at",
                condition=Q(status=Status.FAILED),
            ),
            # Not an inequality: SQLite uses the index only for a query with the same condition.
            models.Index(
                fields=("search_key",), name="retrytasks_searched", condition=Q(search_key__gt="")
            ),
        )
        constraints = (
            # Without a condition, which MariaDB lacks: any number of rows may have no held key.
            models.UniqueConstraint(fields=("held_key",), name="retrytasks_held_key"),
            ReadableRows(name="retrytasks_task_readable"),
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
    def is_cancelled(self) -> bool:
        """Whether an operator has cancelled it; for a running one, as far as its worker knows."""
        return self.stop_reason == StopReason.CANCELLED

    @property
    def is_parked(self) -> bool:
        """Whether it waits for a resume of its queue or function, or behind a breaker."""
        return self.run_after is not None and self.run_after.year == PARKED.year

    def is_expired(self, now: datetime) -> bool:
        """Whether its ``expires_at`` has come, and no attempt can have started before."""
        if self.expires_at is None or self.expires_at > now:
            return False
        if self.suspect and self.claimed_at:  # a worker that died holding it may have started it
            return False
        return self.status == Status.PENDING and not self.attempt_count

    @property
    def is_behind_breaker(self) -> bool:
        """Whether it waits until a breaker lets it through."""
        return self.is_parked and self.run_after != parked_moment()

    @property
    def was_started(self) -> bool:
        """Whether it is known to have started under its claim."""
        # Not compared with claimed_at: the clock may have been set back in between.
        return self.status == Status.RUNNING and self.last_attempted_at is not None

    @property
    def waiting_status(self) -> Status:
        """Return its status while it waits: RETRYING once a retry is spent, else PENDING."""
        return Status.RETRYING if self.retry_count else Status.PENDING
