"""The database that holds the rows: its alias, its clock, a transaction, and what it refuses."""

from .clock import DatabaseNow
from .connection import alias, writing
from .rows import RowManager

__all__ = [
    "DatabaseNow",
    "RowManager",
    "alias",
    "writing",
]
