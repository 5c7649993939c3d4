"""A PeriodicTask is a declaration in code, as a row: its calendar, its last run, its switch."""

from __future__ import annotations

import uuid

from django.db import models
from django.utils.translation import gettext_lazy as _

from django_retrytasks.database import ReadableRows, RowManager
from django_retrytasks.values.calendars import CRON_LENGTH, Calendar

from .fields import CodecField, MomentField
from .tasks import NAME_LENGTH, Task

PERIODIC_NAME_LENGTH = 100
NAMESPACE = uuid.UUID("b5b64f0f-5e2f-4d8e-9a0c-6f1d3c1f2a77")


class PeriodicTaskQuerySet(models.QuerySet["PeriodicTask"]):
    def declared(self) -> PeriodicTaskQuerySet:
        """Rows that the latest deploy's code declares."""
        return self.filter(retired_at=None)

    def in_force(self) -> PeriodicTaskQuerySet:
        """Rows whose moments enqueue: declared, and not switched off."""
        return self.declared().filter(switched_off_at=None)


class PeriodicTask(models.Model):
    """A function whose Tasks the calendar enqueues, as declared by ``periodic`` in the code."""

    id = models.UUIDField(
        _("id"), primary_key=True, editable=False, help_text=_("Identity, derived from its name.")
    )
    name = models.CharField(
        _("name"), max_length=PERIODIC_NAME_LENGTH, help_text=_("Its name in the code.")
    )
    task_name = models.CharField(
        _("task name"), max_length=NAME_LENGTH, help_text=_("Dotted path of the function.")
    )
    cron = models.CharField(
        _("cron"),
        max_length=CRON_LENGTH,
        blank=True,
        default="",
        help_text=_("Cron line, in the site's time zone. Empty if it has a length of time."),
    )
    every = models.PositiveIntegerField(
        _("every"),
        null=True,
        help_text=_("Seconds from one moment to the next. Empty if it has a cron line."),
    )
    args = CodecField(_("args"), help_text=_("Positional arguments, a list."))
    kwargs = CodecField(_("kwargs"), help_text=_("Keyword arguments, a mapping."))
    digest = models.CharField(
        _("digest"),
        max_length=32,
        blank=True,
        default="",
        editable=False,
        help_text=_("Digest of its declaration. Empty once retired."),
    )
    superseded = models.JSONField(
        _("superseded"),
        default=list,
        editable=False,
        help_text=_("Digests of its earlier declarations; a worker with older code has one."),
    )
    declared_at = MomentField(
        _("declared at"),
        help_text=_("When its calendar was declared or changed, or when it was switched on."),
    )
    retired_at = MomentField(
        _("retired at"),
        null=True,
        help_text=_("When a deploy no longer declared it. Empty while declared."),
    )
    switched_off_at = MomentField(
        _("switched off at"), null=True, help_text=_("When it was switched off. Empty if it is on.")
    )
    switched_off_by = models.CharField(
        _("switched off by"),
        max_length=150,
        blank=True,
        default="",
        help_text=_("Who switched it off."),
    )
    reason = models.TextField(
        _("reason"), blank=True, default="", help_text=_("Why it is off, in words.")
    )
    planned_at = MomentField(
        _("planned at"),
        help_text=_("The latest moment planned; the sweep plans two minutes ahead."),
    )
    last_run_at = MomentField(
        _("last run at"),
        null=True,
        help_text=_("The latest moment that enqueued a Task. Empty: none yet."),
    )
    last_task = models.ForeignKey(
        Task,
        verbose_name=_("last task"),
        # No constraint: finished Tasks are pruned.
        db_constraint=False,
        db_index=False,
        on_delete=models.DO_NOTHING,
        null=True,
        related_name="+",
        help_text=_("The Task enqueued last, by the calendar or by an operator."),
    )

    objects = RowManager.from_queryset(PeriodicTaskQuerySet)()

    class Meta:
        verbose_name = _("periodic task")
        verbose_name_plural = _("periodic tasks")
        constraints = (ReadableRows(name="retrytasks_periodictask_readable"),)
        permissions = (
            ("run_periodictask", _("Can run periodic tasks now")),
            ("switch_periodictask", _("Can switch periodic tasks off and on")),
        )

    def __str__(self) -> str:
        return self.name

    @property
    def calendar(self) -> Calendar:
        """Return when it comes."""
        return Calendar(cron=self.cron, every=self.every)

    @property
    def earlier_digests(self) -> list[str]:
        """Return the digests of its earlier declarations; none if they were written by hand."""
        return self.superseded if isinstance(self.superseded, list) else []

    @property
    def is_in_force(self) -> bool:
        """Whether its moments enqueue: it is declared, and not switched off."""
        return self.retired_at is None and self.switched_off_at is None


def periodic_id(name: str) -> uuid.UUID:
    """Return the id of the row with this name. Some databases compare texts without their case."""
    return uuid.uuid5(NAMESPACE, name)
