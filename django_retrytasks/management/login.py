"""Who runs the command: a login name, or the number of a user who has none."""

from __future__ import annotations

import os
from getpass import getuser

from django_retrytasks.errors.reports import storable

# What the columns hold.
LONGEST = 150


def login() -> str:
    """Return the login name; of a user without one, as in a container, such as "uid 10001"."""
    try:
        name = getuser()
    except (OSError, KeyError, ImportError):
        # ImportError, and no uid, on Windows.
        name = f"uid {os.getuid()}" if hasattr(os, "getuid") else "unknown"
    return storable(name, LONGEST)
