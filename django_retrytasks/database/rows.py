"""The manager of every model of this package, and the making of its rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple, Self, TypeVar

from django.db import models
from django.db.models.base import ModelState
from django.db.models.signals import post_init, pre_init

from .connection import alias

M = TypeVar("M", bound=models.Model)
R = TypeVar("R")


class RowManager(models.Manager[M]):
    """Query the database that holds the rows, whatever a router says: a replica lags behind."""

    def get_queryset(self) -> models.QuerySet[M]:
        return super().get_queryset().using(alias())


class QuickRow:
    """A row that gets all its fields at once. Django sets them one by one, which is slow."""

    @classmethod
    def from_db(cls, db: Any, field_names: Any, values: Any, **details: Any) -> Self:
        """Return a row that was read, as Django does."""
        if _is_watched(cls):
            parent: Any = super()
            row: Self = parent.from_db(db, field_names, values, **details)
            return row
        known = {name: value for name, value in details.items() if value is not None}
        return _with(cls, zip(field_names, values, strict=True), db=db, adding=False, **known)

    @classmethod
    def new(cls, **values: Any) -> Self:
        """Return an unsaved row, as the constructor does, given some fields by their attnames."""
        if _is_watched(cls):
            return cls(**values)
        model: Any = cls
        defaults = _defaults_of(model)
        made = {name: make() for name, make in defaults.made.items() if name not in values}
        return _with(cls, {**defaults.constant, **made, **values})


class Defaults(NamedTuple):
    """The values of a new row: equal ones, and ones that are made for each row."""

    constant: Mapping[str, Any]
    made: Mapping[str, Callable[[], Any]]


@cache
def _defaults_of(model: Any) -> Defaults:
    fields = model._meta.concrete_fields
    made = {f.attname: f.default for f in fields if f.has_default() and callable(f.default)}
    constant = {f.attname: f.get_default() for f in fields if f.attname not in made}
    return Defaults(constant, made)


def _is_watched(model: Any) -> bool:
    """Whether other code hears of each row that is made."""
    return any(each.receivers and each.has_listeners(model) for each in (pre_init, post_init))


def _with(model: type[R], values: Any, **state: Any) -> R:
    row, own = object.__new__(model), ModelState()
    vars(own).update(state)
    vars(row).update(values, _state=own)
    return row
