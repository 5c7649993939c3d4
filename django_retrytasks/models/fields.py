"""The fields of our rows: moments, and values that the codec encodes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import models
from django.db.models.expressions import Combinable
from django.utils import timezone

from django_retrytasks.database.clock import keeps_instants
from django_retrytasks.values import codec, moments


class _Moments:
    """Stores a moment as the instant that it is, as far as the database can.

    With ``USE_TZ`` off Django itself hands PostgreSQL local times, which name two instants in the
    hour in which the clock is put back, and refuses aware datetimes on the others.
    """

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        if isinstance(value, datetime) and not settings.USE_TZ:
            if keeps_instants(connection):
                value = moments.as_instant(value)
            else:
                value = moments.without_fold(moments.as_moment(value), timezone.now())
        return super().get_db_prep_value(value, connection, prepared)  # type: ignore[misc]

    def deconstruct(self) -> tuple[str, str, list[Any], dict[str, Any]]:
        name, _, args, kwargs = super().deconstruct()  # type: ignore[misc]
        return name, "django.db.models.DateTimeField", args, kwargs


if TYPE_CHECKING:
    MomentField = models.DateTimeField
else:

    class MomentField(_Moments, models.DateTimeField):
        pass


class Encoded:
    """A value already encoded, so that it is not encoded twice; ``text`` is the codec's text."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    @property
    def value(self) -> Any:
        """Return the value as the database gives it back."""
        return codec.loads(self.text)


class Unreadable:
    """Stored text that is no value of the codec's; calling a function with it raises."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __iter__(self) -> Iterator[Any]:
        # Not quoted: it may hold a secret.
        raise ValueError(f"the stored value of {len(self.text)} characters is not readable")

    keys = __iter__


if TYPE_CHECKING:
    AnyTextField = models.TextField[Any, Any]
else:
    AnyTextField = models.TextField


class CodecField(AnyTextField):
    """A value kept as ASCII JSON text: see :mod:`django_retrytasks.codec` for the types."""

    if TYPE_CHECKING:  # what django-stubs reads the types of a field's values from
        _pyi_private_set_type: Any
        _pyi_private_get_type: Any
        _pyi_lookup_exact_type: Any

    def from_db_value(self, value: str | None, expression: Any, connection: Any) -> Any:
        if value is None:
            return None
        try:
            return codec.loads(value)
        except Exception:
            # One unreadable row must not fail the claim of its neighbours: it fails when called.
            return Unreadable(value)

    def get_prep_value(self, value: Any) -> Any:
        if value is None or isinstance(value, Combinable):
            return value
        return value.text if isinstance(value, Encoded) else codec.dumps(value)
