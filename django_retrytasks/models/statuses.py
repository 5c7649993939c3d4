"""The statuses of a Task."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


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
    # Set by discard and cancel, by settle when the function raised Discard, or by a claim that
    # finds the Task expired. Final.
    DISCARDED = "DISCARDED", _("Discarded")


UNFINISHED = (Status.PENDING, Status.RUNNING, Status.RETRYING)
FINAL = (Status.SUCCEEDED, Status.FAILED, Status.DISCARDED)
