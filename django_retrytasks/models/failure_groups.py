"""A FailureGroup counts the failures of one cause."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _

from django_retrytasks.database import DatabaseNow, ReadableRows, RowManager

from .tasks import Task


class FailureGroupQuerySet(models.QuerySet["FailureGroup"]):
    def failing(self) -> FailureGroupQuerySet:
        """Groups with a streak: no recovery and no resolve since the last failure."""
        return self.filter(streak_count__gt=0)

    def audible(self) -> FailureGroupQuerySet:
        """Groups that may alert: open, or with a mute that has expired."""
        statuses = FailureGroup.Status
        is_unmuted = Q(status=statuses.MUTED, muted_until__lte=DatabaseNow())
        return self.filter(Q(status=statuses.OPEN) | is_unmuted)


class FailureGroup(models.Model):
    """Failures of one cause, or breaches of an alert rule, counted once by each sweep.

    A streak is the series of final failures since the last recovery or resolve.
    """

    class Kind(models.TextChoices):
        # Final failures of a task and, counted separately, its failed attempts.
        FAILURE = "FAILURE", _("Failure")
        # Breaches of an alert rule.
        RULE = "RULE", _("Rule")

    class Status(models.TextChoices):
        # Set by the first failure, by reopen, and by a failure after resolve.
        OPEN = "OPEN", pgettext_lazy("status of a failure group", "Open")
        # Set by mute: failures are counted without alerts until muted_until.
        MUTED = "MUTED", _("Muted")
        # Set by resolve: the next failure reopens it, as a regression.
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
        help_text=_("What it counts."),
    )
    name = models.CharField(
        _("name"),
        max_length=255,
        blank=True,
        default="",
        help_text=_("Dotted path of the function. Empty for a rule that names none."),
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
        help_text=_("When the mute ends. Empty: only when reopened."),
    )
    resolved_at = models.DateTimeField(
        _("resolved at"), null=True, help_text=_("When it was last resolved.")
    )
    regressed_at = models.DateTimeField(
        _("regressed at"), null=True, help_text=_("When it last failed after being resolved.")
    )

    failure_count = models.PositiveBigIntegerField(
        _("failure count"),
        default=0,
        help_text=_("Final failures so far; for a rule, sweeps that found a breach."),
    )
    failed_attempt_count = models.PositiveBigIntegerField(
        _("failed attempt count"),
        default=0,
        help_text=_("Failed attempts so far, retried ones included."),
    )
    first_seen_at = models.DateTimeField(
        _("first seen at"), help_text=_("When the first attempt failed.")
    )
    last_seen_at = models.DateTimeField(
        _("last seen at"), help_text=_("When the last attempt failed.")
    )
    last_failed_at = models.DateTimeField(
        _("last failed at"),
        null=True,
        help_text=_("When the last Task failed for good. Empty: none yet."),
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
        _("streak started at"),
        null=True,
        help_text=_("When the first failure of the streak was recorded."),
    )
    alerted_count = models.PositiveBigIntegerField(
        _("alerted count"),
        default=0,
        help_text=_("Streak count at the last alert; 0: no alert yet."),
    )
    alerted_at = models.DateTimeField(
        _("alerted at"),
        null=True,
        help_text=_("When the last alert was decided. Empty: none since it was resolved."),
    )
    recovered_at = models.DateTimeField(
        _("recovered at"), null=True, help_text=_("When it last recovered.")
    )

    objects = RowManager.from_queryset(FailureGroupQuerySet)()

    FLOOD: ClassVar = uuid.UUID("6f7d3a0e-52b7-4a2b-8f50-2a8c1d7f9e44")
    """Fingerprint of the flood's group: ``ALERT_LIMIT`` as a rule, breached while more fail."""

    class Meta:
        verbose_name = _("failure group")
        verbose_name_plural = _("failure groups")
        constraints = (ReadableRows(name="retrytasks_failuregroup_readable"),)

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
        """Whether its alerts report other groups: the groups beyond ``ALERT_LIMIT``."""
        return bool(self.pk == self.FLOOD)

    @property
    def is_regressed(self) -> bool:
        """Whether a failure after a resolve began its streak."""
        return self.regressed_at is not None and self.regressed_at == self.streak_started_at

    def is_silent(self, now: datetime) -> bool:
        """Whether it sends no alert: it is resolved, or its mute has not expired."""
        if self.status == self.Status.MUTED:
            return self.muted_until is None or now < self.muted_until
        return self.status == self.Status.RESOLVED

    def alert_is_due(self, now: datetime, cooldown: timedelta) -> bool:
        """Whether an alert is due for failures that none has reported yet.

        It is due once the cooldown since the last alert, of any streak, is over. Before that, it is
        due when the streak reaches 10, 100, 1,000 and so on, except for a flood.
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
    def was_reported_in_flood(self) -> bool:
        """Whether its streak was reported, but only by alerts about a flood."""
        if self.alerted_at is None or self.streak_started_at is None:
            return bool(self.alerted_count)
        return bool(self.alerted_count) and self.alerted_at < self.streak_started_at
