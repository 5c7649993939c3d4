"""An Attempt is one run of a Task."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from django_retrytasks.database import QuickRow, ReadableRows, RowManager

from .fields import MomentField
from .tasks import Task


class Attempt(QuickRow, models.Model):
    """One run of a Task, written once, at its settle or cancel, and never changed.

    One exception: the end of a cancelled run is added when its function has ended.
    """

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
        # An operator cancelled its Task while it ran. Written then; its end is added later.
        CANCELLED = "CANCELLED", _("Cancelled")

    task = models.ForeignKey(
        Task,
        verbose_name=_("task"),
        # The unique constraint's index begins with this column.
        db_index=False,
        on_delete=models.CASCADE,
        related_name="attempts",
        help_text=_("The Task that ran."),
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
    queued_at = MomentField(_("queued at"), help_text=_("Moment from which it could start."))
    started_at = MomentField(_("started at"), help_text=_("When the function was called."))
    finished_at = MomentField(
        _("finished at"),
        help_text=_(
            "When the function ended; for a lost attempt, when the loss was noticed; for a "
            "cancelled one, until it has ended, when it was cancelled."
        ),
    )
    worker = models.CharField(
        _("worker"), max_length=255, help_text=_("Host, process id, process name.")
    )
    exception_class_path = models.CharField(
        _("exception class path"),
        max_length=255,
        blank=True,
        default="",
        db_default="",
        help_text=_("Dotted path. Empty on success."),
    )
    exception_message = models.TextField(
        _("exception message"),
        blank=True,
        default="",
        db_default="",
        help_text=_("At most 4 KB."),
    )
    traceback = models.TextField(
        _("traceback"),
        blank=True,
        default="",
        db_default="",
        help_text=_("With chained exceptions; at most 64 KB, head and tail."),
    )
    decision = models.CharField(
        _("decision"), max_length=255, help_text=_("What follows and why, in words.")
    )
    next_run_after = MomentField(
        _("next run after"),
        null=True,
        help_text=_("Earliest moment of the next attempt. Empty if none follows."),
    )

    objects = RowManager["Attempt"]()

    class Meta:
        verbose_name = _("attempt")
        verbose_name_plural = _("attempts")
        ordering = ("number",)
        constraints = (
            models.UniqueConstraint(fields=("task", "number"), name="retrytasks_attempt_number"),
            ReadableRows(name="retrytasks_attempt_readable"),
        )

    def __str__(self) -> str:
        return f"{self.task_id} #{self.number}"
