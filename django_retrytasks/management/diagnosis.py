"""Diagnose a site's set-up: what is wrong, and how to mend it, in the order in which to do so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

from django.core.checks import CheckMessage
from django.core.checks.registry import registry
from django.db import connections
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from django_retrytasks import conf, database
from django_retrytasks.broker import clusters, sweep_schedule
from django_retrytasks.database.seeks import distinct
from django_retrytasks.exceptions import RetryTasksError
from django_retrytasks.lifecycle import workers
from django_retrytasks.lifecycle.lanes import survey
from django_retrytasks.models import Task
from django_retrytasks.tasks.stored import resolve
from django_retrytasks.values.moments import between
from django_retrytasks.values.texts import span

APPS = ("django_q", "retrytasks")
# Where the finding of a system check belongs, by the ends of its id; "settings" has the others.
PLACES = {
    "broker": ("E001", "E002", "E003", "E005", "E016", "W004", "W005", "W006", "W009"),
    "database": ("E004", "E006", "E007", "E008", "E017", "W001", "W002", "W003", "W016"),
    "schedules": ("W007", "W008", "W012"),
    "mail": ("W014",),
    "code": ("E012", "E014", "W010", "W011", "W015"),
}
PLACE_OF = {end: place for place, ends in PLACES.items() for end in ends}
# Seconds for which a due Task, or the sweep, may wait.
LATE = 30.0
SWEEP_LATE = 150.0
GONE = workers.GONE.total_seconds()
# Functions of stored Tasks that are looked at, and the latest Tasks of each that does not import.
FUNCTIONS, LATEST = 500, 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that is wrong; ``id`` is that of the system check that found it, or ""."""

    problem: str
    fix: str
    id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of the set-up; ``findings`` is None if it could not be looked at yet."""

    name: str
    findings: list[Finding] | None

    @property
    def is_well(self) -> bool:
        return self.findings == []


class Diagnosis:
    """Looks at each part of the set-up. What fails while it looks is a finding itself."""

    def parts(self) -> Iterator[Part]:
        """Yield the parts in the order in which to mend them.

        The parts after the migrations need the tables: until these are there, they have None.
        """
        for name, look in (("broker", None), ("database", self._database), ("settings", None)):
            yield self._part(name, look)
        migrations = self._part("migrations", self._migrations)
        yield migrations
        for name, look in (
            ("cluster", self._cluster),
            ("schedules", self._schedules),
            ("mail", None),
            ("code", self._code),
        ):
            yield self._part(name, look) if migrations.is_well else Part(name=name, findings=None)

    def _part(self, name: str, look: Callable[[], Iterator[Finding]] | None) -> Part:
        findings = [finding for finding in self._checked if _place(finding) == name]
        with _failure_in(findings):
            findings += look() if look else ()
        return Part(name=name, findings=findings)

    @cached_property
    def _checked(self) -> list[Finding]:
        """Return what the system checks of this package find."""
        findings: list[Finding] = []
        for check in registry.get_checks():
            if getattr(check, "__module__", "").startswith("django_retrytasks."):
                with _failure_in(findings):
                    found = check(app_configs=None, databases=_databases())
                    findings += [_finding(each) for each in found if not each.is_silenced()]
        return findings

    def _database(self) -> Iterator[Finding]:
        if not _databases():
            return
        try:
            connections[database.alias()].ensure_connection()
        except Exception as error:
            yield Finding(
                problem=f'the database "{database.alias()}" does not answer: {error}',
                fix="Start it, or correct its entry in DATABASES.",
            )

    def _migrations(self) -> Iterator[Finding]:
        alias = database.alias()
        executor = MigrationExecutor(connections[alias])
        ours = [key for key in executor.loader.graph.leaf_nodes() if key[0] in APPS]
        missing = [str(migration) for migration, _ in executor.migration_plan(ours)]
        if missing:
            yield Finding(
                problem=f"not applied: {', '.join(missing)}",
                fix=f"Run manage.py migrate --database {alias}.",
            )

    def _cluster(self) -> Iterator[Finding]:
        if conf.q_cluster().get("sync"):
            return
        alive = set(workers.alive().values_list("cluster", flat=True))
        seen, keys = survey(), clusters.keys()
        for key in keys:
            lag = seen.for_cluster(key).lag
            if key not in alive:
                yield _not_running(key, lag)
            elif lag > LATE:
                yield Finding(
                    problem=f"Tasks of cluster {key} have been due for {span(lag)}: all its "
                    "workers are busy, or it is frozen",
                    fix="Start more workers or machines, by manage.py retrytasks cluster, which "
                    "replaces a frozen cluster.",
                )

    def _schedules(self) -> Iterator[Finding]:
        swept_at = sweep_schedule.swept_at()
        ago = between(swept_at, timezone.now()).total_seconds() if swept_at else 0.0
        if ago > SWEEP_LATE:
            yield Finding(
                problem=f"no cluster has taken the sweep for {span(ago)}",
                fix="Run the default cluster; if it runs, mend the schedules that cannot run.",
            )
        for fault in sweep_schedule.broken_schedules():
            yield Finding(
                problem=f"cannot run, and holds up all schedules while it is due: {fault}",
                fix="Correct or delete it: in the admin it is one of Django Q's scheduled tasks.",
            )

    def _code(self) -> Iterator[Finding]:
        for name in distinct(Task.objects.all(), "name", FUNCTIONS):
            try:
                resolve(name)
            except RetryTasksError as error:
                if _has_unfinished(name):
                    yield Finding(
                        problem=f"Tasks of {name} are unfinished, but {error}",
                        fix="Deploy its code, or discard them: manage.py retrytasks discard "
                        f"--task {name}",
                    )


@contextmanager
def _failure_in(findings: list[Finding]) -> Iterator[None]:
    """Add a failure of the body to the findings: the site's code may raise anything."""
    try:
        yield
    except Exception as error:
        text = f"looking at it failed: {type(error).__name__}: {error}"
        findings.append(Finding(problem=text, fix="Correct what the error names."))


def _databases() -> list[str]:
    """Return the alias of the rows' database in a list; [] if there is no such database."""
    return [database.alias()] if database.alias() in connections else []


def _place(finding: Finding) -> str:
    # A check without an id here failed: it imports the site's code.
    return PLACE_OF.get(finding.id.rpartition(".")[2], "settings" if finding.id else "code")


def _finding(message: CheckMessage) -> Finding:
    return Finding(problem=str(message.msg), fix=str(message.hint or ""), id=str(message.id))


def _not_running(key: str, lag: float) -> Finding:
    name = "" if key == clusters.keys()[0] else f" --name {key}"
    due = f", and its Tasks have been due for {span(lag)}" if lag else ""
    return Finding(
        problem=f"no worker of cluster {key} was seen in the last {span(GONE)}{due}",
        fix=f"Run manage.py retrytasks cluster{name}, under a supervisor that starts it again.",
    )


def _has_unfinished(name: str) -> bool:
    """Whether one of the latest 1,000 Tasks of a function is unfinished."""
    latest = Task.objects.filter(name=name).order_by("-pk").values_list("finished_at", flat=True)
    return None in latest[:LATEST]
