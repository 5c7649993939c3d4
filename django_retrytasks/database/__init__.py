"""The database that holds the rows: its alias, clock, transactions and errors."""

from .clock import DATABASE_NOW, DatabaseNow
from .connection import alias, writing
from .exact import exactly, exactly_in
from .readable import ReadableRows
from .rows import QuickRow, RowManager

__all__ = [
    "DATABASE_NOW",
    "DatabaseNow",
    "QuickRow",
    "ReadableRows",
    "RowManager",
    "alias",
    "exactly",
    "exactly_in",
    "writing",
]
