"""Rows for operators: operations, pauses, and tallies of ended Tasks."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from django_retrytasks.database import ReadableRows, RowManager
from django_retrytasks.values.ids import uuid7


class Tally(models.Model):
    """Tasks that ended in one minute, without internal ones; the admin's chart shows them."""

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
    expired_count = models.PositiveIntegerField(
        _("expired count"),
        db_default=0,
        help_text=_("Tasks that were discarded, since no worker had started them in time."),
    )

    objects = RowManager["Tally"]()

    class Meta:
        verbose_name = _("tally")
        verbose_name_plural = _("tallies")
        constraints = (ReadableRows(name="retrytasks_tally_readable"),)

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

    objects = RowManager["Pause"]()

    class Meta:
        verbose_name = _("pause")
        verbose_name_plural = _("pauses")
        constraints = (
            models.UniqueConstraint(fields=("queue_name", "name"), name="retrytasks_paused_once"),
            ReadableRows(name="retrytasks_pause_readable"),
            models.CheckConstraint(
                condition=Q(queue_name="") ^ Q(name=""), name="retrytasks_pauses_one_thing"
            ),
        )

    def __str__(self) -> str:
        return self.name or self.queue_name


class Operation(models.Model):
    """An operator's verb for many Tasks, done in chunks by an internal Task."""

    class VerbName(models.TextChoices):
        REDRIVE = "REDRIVE", _("Re-drive")
        RUN_NOW = "RUN_NOW", _("Run now")
        SNOOZE = "SNOOZE", _("Snooze")
        DISCARD = "DISCARD", _("Discard")
        CANCEL = "CANCEL", _("Cancel")

    class Status(models.TextChoices):
        # Set by start: its internal Task processes the selected Tasks.
        RUNNING = "RUNNING", _("Running")
        # Set when all of them are processed. Final.
        DONE = "DONE", _("Done")
        # Set by stop, or by a failed canary: changed Tasks stay changed. Final.
        STOPPED = "STOPPED", pgettext_lazy("status of an operation", "Stopped")

    id = models.UUIDField(
        _("id"), primary_key=True, default=uuid7, editable=False, help_text=_("Its identity.")
    )
    verb = models.CharField(
        _("verb"), max_length=7, choices=VerbName, help_text=_("What is done to each Task.")
    )
    countdown = models.FloatField(
        _("countdown"), null=True, help_text=_("Seconds to snooze for. Empty for other verbs.")
    )
    selection = models.JSONField(
        _("selection"), help_text=_("Filters that select the Tasks, by name.")
    )
    newest = models.UUIDField(
        _("newest"),
        editable=False,
        help_text=_("Newest Task it may change, by id."),
    )
    cursor = models.UUIDField(
        _("cursor"),
        null=True,
        editable=False,
        help_text=_("Last Task processed. Empty: none yet."),
    )
    per_minute = models.PositiveIntegerField(
        _("per minute"), null=True, help_text=_("Most Tasks per minute. Empty: no limit.")
    )
    canary = models.PositiveSmallIntegerField(
        _("canary"),
        default=0,
        help_text=_("Tasks to change first; the others follow only if all of these succeed."),
    )
    canary_ids = models.JSONField(
        _("canary ids"),
        default=list,
        editable=False,
        help_text=_("The Tasks changed first."),
    )
    status = models.CharField(
        _("status"),
        max_length=7,
        choices=Status,
        default=Status.RUNNING,
        help_text=_("Running, done or stopped."),
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
        help_text=_("Tasks selected at the start, counted up to 100,000."),
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
        help_text=_("When it ended. Empty while it runs."),
    )

    objects = RowManager["Operation"]()

    class Meta:
        verbose_name = _("operation")
        verbose_name_plural = _("operations")
        constraints = (ReadableRows(name="retrytasks_operation_readable"),)

    def __str__(self) -> str:
        return f"{self.get_verb_display()} {self.pk}"
