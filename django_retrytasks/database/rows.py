"""The manager of every model of this package."""

from __future__ import annotations

from typing import TypeVar

from django.db import models

from .connection import alias

M = TypeVar("M", bound=models.Model)


class RowManager(models.Manager[M]):
    """Query the database that holds the rows, whatever a router says: a replica lags behind."""

    def get_queryset(self) -> models.QuerySet[M]:
        return super().get_queryset().using(alias())
