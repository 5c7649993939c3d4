"""The arguments of a call."""

from __future__ import annotations

from typing import Any

from django_retrytasks.errors.reports import storable
from django_retrytasks.models import SEARCH_KEY_LENGTH


def as_search_key(value: Any) -> str:
    """Return what a Task is found by: a value as text, of at most 100 characters.

    "" for none, and for what holds values of its own: some may be secrets.
    """
    if value is None or isinstance(value, dict | list | tuple):
        return ""
    text = str(value).strip()[:SEARCH_KEY_LENGTH]
    # Characters that a database refuses are escaped, so it may have grown.
    return storable(text, 10 * SEARCH_KEY_LENGTH)[:SEARCH_KEY_LENGTH]
