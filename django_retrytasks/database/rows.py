"""Rows of the database that holds them."""

from __future__ import annotations

from typing import TypeVar

from django.db import models

from .connection import alias

M = TypeVar("M", bound=models.Model)


class RowManager(models.Manager[M]):
    """Query the database that holds the rows, whatever a router says.

    A router may send reads to a replica, which lags behind.
    """

    def get_queryset(self) -> models.QuerySet[M]:
        """Return all rows of that database."""
        return super().get_queryset().using(alias())
