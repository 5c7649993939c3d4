"""``doctor``: what is wrong with the site's set-up, and how to mend it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from django_retrytasks.management.diagnosis import Diagnosis, Part
from django_retrytasks.management.frame import Report, Subcommand


def _doctor(**options: Any) -> Report:
    parts = list(Diagnosis().parts())
    count = sum(len(part.findings or ()) for part in parts)
    wrong = "" if not count else f"{count} wrong: mend the first, and run doctor again"
    lines = [line for part in parts for line in _lines(part)]
    return Report(lines=lines, values=list(map(_values, parts)), wrong=wrong)


def _lines(part: Part) -> Iterable[str]:
    if part.findings is None:
        yield f"skipped  {part.name}: it needs the tables"
    elif part.is_well:
        yield f"ok       {part.name}"
    for finding in part.findings or ():
        named = f" ({finding.id})" if finding.id else ""
        yield f"wrong    {part.name}: {finding.problem}{named}"
        yield f"         do: {finding.fix}"


def _values(part: Part) -> dict[str, Any]:
    findings = None if part.findings is None else list(map(asdict, part.findings))
    return {"part": part.name, "ok": part.is_well, "findings": findings}


SUBCOMMANDS = (
    Subcommand(
        name="doctor",
        help="Say what is wrong with this site's set-up and how to mend it, in order: broker, "
        "database, settings, migrations, cluster, schedules, mail, code. Exit with 1 if anything "
        "is.",
        do=_doctor,
        examples=("doctor", "doctor --json"),
        lists=True,
        checks=False,
    ),
)
