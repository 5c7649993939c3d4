"""System checks: settings of a site that lose, delay or slow Tasks.

Each id has a section in docs/reference/checks.md.
"""

from . import cluster, databases, periodic, settings, tasks

__all__ = ["cluster", "databases", "periodic", "settings", "tasks"]
