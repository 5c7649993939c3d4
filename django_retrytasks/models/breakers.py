"""Breakers that are open, or that let the Tasks behind them through."""

from __future__ import annotations

import json
import uuid
from datetime import datetime

from django.db import models
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from django_retrytasks.database import DATABASE_NOW, ReadableRows, RowManager
from django_retrytasks.values.moments import parked_moment
from django_retrytasks.values.texts import translated

from .fields import MomentField
from .tasks import BREAKER_KEY_LENGTH, NAME_LENGTH, Task

NAMESPACE = uuid.UUID("5e0b6a56-6b0f-4f2e-9f5c-3a3c6f0a8d11")
BreakerKey = tuple[str, str]
"""A function's dotted path, and the value of the parameter that the breaker's ``by`` names."""


def fingerprint_of(key: BreakerKey) -> uuid.UUID:
    """Return the identity of a breaker, the same each time it opens."""
    return uuid.uuid5(NAMESPACE, json.dumps(key))


class OpenBreaker(models.Model):
    """A breaker that is open: the due Tasks of a function, or of one key of it, wait.

    Once it is closed the row stays until the last of them is let through.
    """

    class State(models.TextChoices):
        # Set by the settle that completes a row of failures, or by an operator: due Tasks wait.
        OPEN = "OPEN", pgettext_lazy("state of a breaker", "Open")
        # Set by the success of a probe, or by an operator: the waiting Tasks are let through.
        CLOSING = "CLOSING", pgettext_lazy("state of a breaker", "Closing")

    fingerprint = models.UUIDField(
        _("fingerprint"),
        unique=True,
        editable=False,
        help_text=_("Made from the function and the key."),
    )
    name = models.CharField(_("name"), max_length=NAME_LENGTH, help_text=_("The function."))
    key = models.CharField(
        _("key"),
        max_length=BREAKER_KEY_LENGTH,
        blank=True,
        default="",
        help_text=_("The value that it is for. Empty: all Tasks of the function."),
    )
    state = models.CharField(
        _("state"),
        max_length=7,
        choices=State,
        default=State.OPEN,
        help_text=_("Open; or closing, while the Tasks that waited are let through."),
    )
    opened_at = MomentField(_("opened at"), help_text=_("Since when Tasks wait."))
    opened_by = models.CharField(
        _("opened by"),
        max_length=150,
        blank=True,
        default="",
        help_text=_("Who opened it. Empty: a worker."),
    )
    reason = models.TextField(_("reason"), blank=True, default="", help_text=_("Why, in words."))
    exception_class_path = models.CharField(
        _("exception class path"),
        max_length=255,
        blank=True,
        default="",
        help_text=_("Class of the failure that opened it. Empty: an operator opened it."),
    )
    probe_every = models.FloatField(
        _("probe every"), help_text=_("Seconds between two probes, unless Retry-After says more.")
    )
    next_probe_at = MomentField(
        _("next probe at"), help_text=_("Earliest moment of the next probe.")
    )
    probe = models.UUIDField(
        _("probe"),
        null=True,
        editable=False,
        help_text=_("The Task let through as a probe. Empty: none."),
    )
    failed_probe_count = models.PositiveIntegerField(
        _("failed probe count"), default=0, help_text=_("Probes that have failed so far.")
    )

    objects = RowManager["OpenBreaker"]()

    class Meta:
        verbose_name = _("open breaker")
        verbose_name_plural = _("open breakers")
        constraints = (ReadableRows(name="retrytasks_openbreaker_readable"),)
        default_permissions = ("view",)
        permissions = (("work_breaker", _("Can open and close breakers")),)

    def __str__(self) -> str:
        return f"{self.name} ({self.key})" if self.key else self.name

    def get_reason_display(self) -> str:
        """Return the reason: a worker's in the current language, an operator's as given."""
        return translated(self.reason) if self.exception_class_path else self.reason

    @property
    def breaker_key(self) -> BreakerKey:
        """Return the function's dotted path and the key."""
        return self.name, self.key

    @property
    def is_open(self) -> bool:
        """Whether due Tasks wait."""
        return self.state == self.State.OPEN

    @property
    def is_late(self) -> bool:
        """Whether the time of the next probe had come when this row was read."""
        now: datetime = getattr(self, DATABASE_NOW)
        return self.next_probe_at <= now

    @property
    def parked_until(self) -> datetime:
        """Return the run_after of the Tasks behind it, which no other breaker's Tasks have."""
        return parked_moment(self.pk)

    def holds(self, task: Task) -> bool:
        """Whether a Task of its key must wait: all but the probe, while it is open."""
        return self.is_open and task.pk != self.probe
