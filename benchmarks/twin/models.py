"""Two rows: as little as retries with a kept history need."""

from __future__ import annotations

from django.db import connection, models

# The index holds what is not over, where the database can leave out the rest.
UNFINISHED = (
    models.Q(due_at__isnull=False) if connection.features.supports_partial_indexes else None
)


class Job(models.Model):
    """One request to run a function."""

    function = models.CharField(max_length=200)
    arguments = models.JSONField(default=list)
    queue = models.CharField(max_length=50, default="default")
    priority = models.SmallIntegerField(default=0)
    state = models.CharField(max_length=10, default="waiting")
    # Null once the job is over.
    due_at = models.DateTimeField(null=True)
    worker = models.CharField(max_length=100, default="")
    retry_count = models.PositiveIntegerField(default=0)
    max_retries = models.PositiveIntegerField(default=3)
    enqueued_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        indexes = (
            models.Index(
                models.F("queue"),
                models.F("priority").desc(),
                models.F("due_at"),
                name="twin_due",
                condition=UNFINISHED,
            ),
        )

    def __str__(self) -> str:
        return f"{self.function} {self.state}"


class Run(models.Model):
    """One run of a job, and how it ended."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE)
    number = models.PositiveIntegerField()
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField()
    worker = models.CharField(max_length=100)
    error = models.CharField(max_length=200, default="")
    traceback = models.TextField(default="")

    def __str__(self) -> str:
        return f"{self.job_id}:{self.number}"
