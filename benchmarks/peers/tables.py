"""Tables of peers that are Django apps."""

from __future__ import annotations

from django.core.management import call_command
from django.db import connection


def make() -> None:
    call_command("migrate", verbosity=0, run_syncdb=True)


def empty() -> None:
    """Empty every table, and have the apps store again what they store after a migration."""
    call_command("flush", verbosity=0, interactive=False)


def count(sql: str) -> int:
    """Return the first number that the query finds."""
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return int(cursor.fetchone()[0])
