"""Run the command as an operator does, and read what it prints."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

from django.core.management import call_command


def run(*words: object) -> str:
    """Run a subcommand; return its standard output."""
    return run_both(*words)[0]


def run_both(*words: object) -> tuple[str, str]:
    """Run a subcommand; return its standard output and its standard error."""
    output, errors = StringIO(), StringIO()
    call_command("retrytasks", *map(str, words), stdout=output, stderr=errors)
    return output.getvalue(), errors.getvalue()


def values(*words: object) -> Any:
    """Run a listing with ``--json``; return its values."""
    return json.loads(run(*words, "--json"))
