"""The model fields of this package: moments, and values that the codec encodes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import models
from django.db.models.expressions import Combinable
from django.utils import timezone

from django_retrytasks.database.clock import keeps_instants
from django_retrytasks.values import codec, moments


class _Moments:
    """Stores a moment as an instant if the database has a type for it.

    With ``USE_TZ`` off, Django passes local times to PostgreSQL: ambiguous in the hour after the
    clock is put back. For other databases it refuses aware datetimes.
    """

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        if isinstance(value, datetime):
            if value.tzinfo is UTC is connection.timezone:  # so USE_TZ is on
                # Nothing for Django to prepare; a database without time zones gets it bare.
                prepared = True
                if not connection.features.supports_timezones:
                    value = value.replace(tzinfo=None)
            elif settings.USE_TZ:
                pass
            elif keeps_instants(connection):
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
    """A value that is already encoded: ``text`` is the codec's text."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    @property
    def value(self) -> Any:
        """Return the value as it is read from the database."""
        return codec.loads(self.text)


class Unreadable:
    """Stored text that the codec cannot decode; a call with it as arguments raises."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __iter__(self) -> Iterator[Any]:
        # Not quoted: it may hold a secret.
        raise ValueError(f"the stored value of {len(self.text)} characters is not readable")

    keys = __iter__


class CodecField(models.TextField):  # type: ignore[type-arg]  # generic only for mypy
    """A value stored as ASCII JSON text; :mod:`django_retrytasks.values.codec` lists the types."""

    if TYPE_CHECKING:  # django-stubs reads the types of a field's values from these
        _pyi_private_set_type: Any
        _pyi_private_get_type: Any
        _pyi_lookup_exact_type: Any

    def from_db_value(self, value: str | None, expression: Any, connection: Any) -> Any:
        if value is None:
            return None
        try:
            return codec.loads(value)
        except Exception:
            # One unreadable row must not fail the claim of other Tasks: its own attempt fails.
            return Unreadable(value)

    def get_prep_value(self, value: Any) -> Any:
        if value is None or isinstance(value, Combinable):
            return value
        return value.text if isinstance(value, Encoded) else codec.dumps(value)
