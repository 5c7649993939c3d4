"""A FailureGroup holds the failures of one cause."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _

from django_retrytasks.database import DatabaseNow, RowManager

from .tasks import Task


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

    objects = RowManager.from_queryset(FailureGroupQuerySet)()

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
    def was_reported_in_flood(self) -> bool:
        """Whether only alerts about a flood have told of its streak."""
        if self.alerted_at is None or self.streak_started_at is None:
            return bool(self.alerted_count)
        return bool(self.alerted_count) and self.alerted_at < self.streak_started_at
