"""The database that holds the rows: its alias, its clock, a transaction, and what it refuses."""

from .clock import DATABASE_NOW, DatabaseNow
from .connection import alias, writing
from .rows import RowManager

__all__ = [
    "DATABASE_NOW",
    "DatabaseNow",
    "RowManager",
    "alias",
    "writing",
]
