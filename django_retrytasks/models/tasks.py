"""A Task is one durable request to run a function."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from django_retrytasks.database import DatabaseNow, RowManager
from django_retrytasks.policy import StopReason
from django_retrytasks.values.ids import uuid7

from .fields import CodecField, MomentField

NAME_LENGTH = 255
QUEUE_NAME_LENGTH = 100
SEARCH_KEY_LENGTH = 100


class Status(models.TextChoices):
    # Set by enqueue and by re-drive: waits for its run_after.
    PENDING = "PENDING", _("Pending")
    # Set by claim: a worker holds it until its lease (run_after) ends. A crash leaves it so.
    RUNNING = "RUNNING", _("Running")
    # Set by settle after a failed attempt if a retry follows: waits for its run_after.
    RETRYING = "RETRYING", _("Retrying")
    # Set by settle: the function returned. Final.
    SUCCEEDED = "SUCCEEDED", _("Succeeded")
    # Set by settle: no retry follows; stop_reason says why. Final until re-driven.
    FAILED = "FAILED", _("Failed")
    # Set by discard, or by settle when the function raised Discard. Final.
    DISCARDED = "DISCARDED", _("Discarded")


# The run_after of due Tasks of a paused function, or of a paused queue.
PARKED = datetime(9999, 1, 1, tzinfo=UTC)

UNFINISHED = (Status.PENDING, Status.RUNNING, Status.RETRYING)
FINAL = (Status.SUCCEEDED, Status.FAILED, Status.DISCARDED)


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
        """Tasks that reached this final status more than ``ago`` ago."""
        finished = self.of_status(status, internal=internal)
        return finished.filter(finished_at__lt=DatabaseNow() - ago)


class Task(models.Model):
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
        _("queue name"), max_length=QUEUE_NAME_LENGTH, help_text=_("Queue it waits in.")
    )
    priority = models.SmallIntegerField(
        _("priority"),
        default=0,
        db_default=0,
        help_text=_("-100 to 100; higher runs first within a queue's cluster."),
    )
    backend = models.CharField(
        _("backend"), max_length=100, help_text=_("Alias in TASKS of the backend that enqueued it.")
    )
    search_key = models.CharField(
        _("search key"),
        max_length=SEARCH_KEY_LENGTH,
        blank=True,
        default="",
        db_default="",
        help_text=_("Value to search by: the argument that the function's search_key names."),
    )
    internal = models.BooleanField(
        _("internal"),
        default=False,
        db_default=False,
        help_text=_(
            "Whether it is an announcement, alert or operation. Its failure alerts nobody."
        ),
    )
    options = models.JSONField(
        _("options"),
        default=dict,
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
        help_text=_(
            "Moment from which the next attempt may start; once claimed, the latest attempt."
        ),
    )
    enqueued_at = MomentField(_("enqueued at"), help_text=_("When it was enqueued."))
    started_at = MomentField(
        _("started at"), null=True, help_text=_("Start of the first attempt of this drive.")
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
        help_text=_("Whether it is claimed alone: a worker died holding it, or it is internal."),
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

    objects = RowManager.from_queryset(TaskQuerySet)()

    # Set by a claim, not stored.
    lapsed = False
    """Whether the claim took over a RUNNING Task after the lease of an earlier claim ended."""
    unclaimed: Mapping[str, Any] = {}
    """The values of its start fields before the claim, to restore if it is given back."""

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
            # The Tasks of a function, the latest last; and all functions, by seeks.
            models.Index(fields=("name", "id"), name="retrytasks_named"),
            # The Tasks of a queue, the latest last.
            models.Index(fields=("queue_name", "id"), name="retrytasks_queued"),
            # The Tasks of a cause, the latest last.
            models.Index(
                fields=("failure_group", "id"),
                name="retrytasks_failed",
                condition=Q(failure_group__isnull=False),
            ),
            # The recent failures of a cause.
            models.Index(
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
        """Whether it waits for its queue or function to be resumed."""
        return self.run_after is not None and self.run_after.year == PARKED.year

    @property
    def was_started(self) -> bool:
        """Whether it is known to have started under its claim."""
        # Not compared with claimed_at: the clock may have been set back in between.
        return self.status == Status.RUNNING and self.last_attempted_at is not None

    @property
    def waiting_status(self) -> Status:
        """Return its status while it waits: RETRYING once a retry is spent, else PENDING."""
        return Status.RETRYING if self.retry_count else Status.PENDING
