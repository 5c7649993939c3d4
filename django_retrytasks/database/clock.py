"""The database's clock."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.db import connections
from django.db.models.functions import Now
from django.utils import timezone

from django_retrytasks.values import moments

DATABASE_NOW = "database_now"
"""Name of the annotation that reads the database's time along with a row."""


class DatabaseNow(Now):
    """The database's time, in the form in which Django stores datetimes.

    Django stores UTC, or local time if ``USE_TZ`` is off. MariaDB and MySQL would return the
    session's time, SQLite returns UTC. So both return UTC here, plus the offset to local time.

    Args:
        ahead: a wait to add; see :meth:`after`.
    """

    def __init__(self, ahead: timedelta = moments.ZERO) -> None:
        super().__init__()
        self.ahead = ahead

    @classmethod
    def after(cls, wait: timedelta) -> DatabaseNow:
        """Return the database's time plus ``wait``."""
        return cls(wait)

    @classmethod
    def sql(cls, connection: Any) -> str:
        """Return SQL of the database's time, without parameters."""
        return _sql_of(connection.alias, connection.vendor, _stored_offset(), moments.ZERO)

    def sql_on(self, connection: Any) -> str:
        """Return its SQL on a connection, without parameters."""
        offset = _stored_offset(self.ahead)
        return _sql_of(connection.alias, connection.vendor, offset, self.ahead)

    def as_postgresql(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        now = "STATEMENT_TIMESTAMP()"
        seconds = f"{self.ahead.total_seconds():.15g}"
        template = f"({now} + INTERVAL '{seconds} seconds')" if self.ahead else now
        return self.as_sql(compiler, connection, template=template, **extra)

    def as_mysql(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        template = f"(UTC_TIMESTAMP(6) + INTERVAL {self._seconds} SECOND)"
        return self.as_sql(compiler, connection, template=template, **extra)

    def as_sqlite(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        moved = f"{self._seconds} seconds"
        # Six digits, as Django stores moments: texts are compared, and ".1" comes before ".100000".
        template = f"(STRFTIME('%%%%Y-%%%%m-%%%%d %%%%H:%%%%M:%%%%f', 'NOW', '{moved}') || '000')"
        return self.as_sql(compiler, connection, template=template, **extra)

    def get_db_converters(self, connection: Any) -> list[Any]:
        converters: list[Any] = super().get_db_converters(connection)
        return converters if keeps_instants(connection) else [*converters, _with_fold]

    @property
    def _seconds(self) -> str:
        """Return the seconds from the server's time, or UTC, to the stored form, with a sign."""
        return f"{_stored_offset(self.ahead) + self.ahead.total_seconds():+.15g}"


@lru_cache(maxsize=256)
def _sql_of(alias: str, vendor: str, offset: int, ahead: timedelta) -> str:
    connection: Any = connections[alias]
    now: Any = DatabaseNow(ahead)
    as_sql = getattr(now, f"as_{vendor}", now.as_sql)
    sql, _ = as_sql(connection.ops.compiler("SQLCompiler"), connection)
    return str(sql)


def _stored_offset(ahead: timedelta = moments.ZERO) -> int:
    """Return the seconds from UTC to the stored form of the moment ``ahead`` of now."""
    if settings.USE_TZ:
        return 0
    now = timezone.now()
    stored = moments.without_fold(moments.after(now, ahead), now)
    offset = stored - (moments.as_instant(now) + ahead).replace(tzinfo=None)
    return round(offset.total_seconds())


def _with_fold(value: datetime, expression: Any, connection: Any) -> datetime:
    """Give the database's local time the fold of the host's, which is about the same time."""
    return value.replace(fold=timezone.now().fold)


def keeps_instants(connection: Any) -> bool:
    """Whether stored datetimes are instants, not local times that may occur twice."""
    return settings.USE_TZ or bool(connection.features.supports_timezones)
