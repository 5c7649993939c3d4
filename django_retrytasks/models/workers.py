"""A Worker is a process of a cluster, as it last noted itself."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from django_retrytasks.database import ReadableRows, RowManager

from .fields import MomentField


class Worker(models.Model):
    """A process of a cluster that runs Tasks, as it last noted itself."""

    name = models.CharField(
        _("name"),
        max_length=255,
        primary_key=True,
        help_text=_("Host, process id, process name; Tasks and attempts name it so."),
    )
    cluster = models.CharField(
        _("cluster"), max_length=100, help_text=_("Name of the cluster it belongs to.")
    )
    started_at = MomentField(_("started at"), help_text=_("When it started."))
    seen_at = MomentField(
        _("seen at"), help_text=_("When it last noted that it lives: every 15 seconds.")
    )
    served_at = MomentField(
        _("served at"),
        null=True,
        help_text=_("When it last looked for due Tasks. Empty: not yet."),
    )

    objects = RowManager["Worker"]()

    class Meta:
        verbose_name = _("worker")
        verbose_name_plural = _("workers")
        constraints = (ReadableRows(name="retrytasks_worker_readable"),)

    def __str__(self) -> str:
        return self.name
