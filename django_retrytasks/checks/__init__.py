"""System checks: what in a site's settings loses Tasks, delays them or costs speed.

Every id has its section in docs/reference/checks.md.
"""

from . import cluster, databases, settings, tasks

__all__ = ["cluster", "databases", "settings", "tasks"]
