"""``manage.py retrytasks``: what an operator asks of the Tasks, and of the cluster.

Each subcommand is a function of its options that returns the lines to print.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from getpass import getuser
from typing import Any

from django.core.management.base import (
    BaseCommand,
    CommandError,
    CommandParser,
    DjangoHelpFormatter,
)
from django.db import DatabaseError, Error
from django.utils.translation import override

from django_retrytasks import health, worker
from django_retrytasks.broker import clusters
from django_retrytasks.database.schema import UNMIGRATED, lacks_schema
from django_retrytasks.exceptions import RetryTasksError
from django_retrytasks.lifecycle import groups, lanes, pauses
from django_retrytasks.management import arguments, listings
from django_retrytasks.management.listings import seconds_text
from django_retrytasks.management.supervisor import Supervisor
from django_retrytasks.management.terminals import PrintableLines, printable
from django_retrytasks.models import FailureGroup
from django_retrytasks.operators import known_names, operations
from django_retrytasks.operators.verbs import VERBS, Verb
from django_retrytasks.tasks import discovery
from django_retrytasks.tasks.stored import resolve
from django_retrytasks.values.checked import nearest

Lines = Iterable[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change of failure groups, or operations, by ids; ``skips`` says which are left alone."""

    help: str
    act: Callable[..., int]
    done: str
    skips: str = "no such group"
    ids: str = "Fingerprint of a failure group, as the subcommand failures shows it."


CHANGES = {
    "mute": Change(
        help="Have failure groups alert no more; their failures are counted all the same.",
        act=groups.mute,
        done="muted",
    ),
    "resolve": Change(
        help="Take failure groups for mended; one that fails again is opened, as a regression.",
        act=groups.resolve,
        done="resolved",
    ),
    "reopen": Change(
        help="Have muted or resolved failure groups alert again.", act=groups.reopen, done="opened"
    ),
    "stop": Change(
        help="Stop operations: what is done stays done.",
        act=lambda ids: sum(operations.stop(pk, f"by {getuser()}") for pk in ids),
        done="stopped",
        skips="over already, or no such operation",
        ids="Id of an operation, as the subcommand operations shows it.",
    ),
}

SCHEDULE = "Show when a task is retried: the least and the most seconds before each retry."
SWEEP = "Run the sweep now: ring for due Tasks, delete old finished ones, send alerts."
PAUSE = "Have the due Tasks of a queue or of a function wait, uncharged, until it is resumed."
RESUME = "Have a paused queue or function go on."
PAUSES = "List what is paused, since when, by whom and why."
OPERATIONS = "List the operations: what was done to many Tasks, and how far it is."
FAILURES = "List the failure groups: those that fail still, or all, the latest failure first."
HEALTH = "Tell how the work goes; exit with 1 if a Task has been due for too long."
CLUSTER = "Run qcluster; run it again when it ends, or freezes while Tasks are due."


class Command(BaseCommand):
    help = (
        "Preview a task's retries, run the sweep, re-drive, hurry, put off or drop Tasks, one or "
        "many, pause queues and functions, list, mute or resolve failure groups, tell how the work "
        "goes, run a cluster."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        subcommands = parser.add_subparsers(dest="subcommand", metavar="subcommand", required=True)
        shared: dict[str, Any] = {
            "parents": [arguments.django_options()],
            "formatter_class": DjangoHelpFormatter,
        }

        def add(name: str, text: str, do: Callable[..., Lines]) -> CommandParser:
            command = subcommands.add_parser(name, help=text, description=text, **shared)
            command.set_defaults(do=do)
            return command

        arguments.add_path(add("schedule", SCHEDULE, _schedule))
        add("sweep", SWEEP, _sweep)
        with override(None):  # in English, whatever the site's language
            for verb in VERBS.values():
                name, do = verb.slug.replace("_", "-"), partial(_change_tasks, verb)
                arguments.add_verb_arguments(add(name, str(verb.meaning), do), verb.asks)
        for name, change in CHANGES.items():
            command = add(name, change.help, partial(_change, change))
            arguments.add_ids(command, change.ids, takes_until=name == "mute")
        arguments.add_pause_arguments(add("pause", PAUSE, _pause))
        arguments.add_paused(add("resume", RESUME, _resume))
        arguments.add_all(add("failures", FAILURES, _failures))
        add("operations", OPERATIONS, listings.operation_lines)
        add("pauses", PAUSES, listings.pause_lines)
        arguments.add_health_arguments(add("health", HEALTH, _health))
        arguments.add_cluster_arguments(add("cluster", CLUSTER, _cluster))

    def handle(self, *args: Any, do: Callable[..., Lines], **options: Any) -> None:
        output = PrintableLines(self.stdout)  # type: ignore[arg-type]  # it wraps any writer
        try:
            for line in do(**options):
                output.write(line)
        except CommandError as error:
            lines = map(printable, str(error).split("\n"))
            raise CommandError("\n".join(lines), returncode=error.returncode) from error
        except DatabaseError as error:
            if lacks_schema(error):
                raise CommandError(UNMIGRATED) from error
            raise


def _schedule(path: str, **options: Any) -> Lines:
    try:
        policy = resolve(path).policy
    except RetryTasksError as error:
        raise CommandError(str(error)) from error
    return listings.retry_lines(path, policy)


def _sweep(**options: Any) -> Lines:
    worker.sweep()
    return ["Swept."]


def _failures(**options: Any) -> Lines:
    groups = FailureGroup.objects.order_by("-last_seen_at")
    return listings.group_lines(groups if options["all"] else groups.failing())


def _health(max_lag: float, **options: Any) -> Lines:
    try:
        found = health.check()
    except Error as error:
        if lacks_schema(error):
            raise
        raise CommandError(f"the database does not answer: {error}") from error
    is_late = found.lag > max_lag
    yield from listings.health_lines(found, is_late=is_late, as_json=options["json"])
    if is_late:
        lag, most = seconds_text(found.lag), seconds_text(max_lag)
        raise CommandError(f"a Task has been due for {lag} s, more than {most} s")


def _cluster(name: str | None, max_stall: float, grace: float, **options: Any) -> Lines:
    if not hasattr(os, "killpg"):
        raise CommandError("needs POSIX sessions, which this platform lacks: run qcluster")
    Supervisor(key=name or clusters.own_key(), max_stall=max_stall, grace=grace).run()
    return []


def _pause(queue: str, task: str, force: bool, reason: str, **options: Any) -> Lines:
    if not force:
        _refuse_unknown(queue, task)
    done = pauses.pause(queue_name=queue, name=task, by=getuser(), reason=reason)
    return [f"{queue or task} is paused" if done else f"{queue or task} was paused already"]


def _resume(queue: str, task: str, **options: Any) -> Lines:
    if not pauses.resume(queue_name=queue, name=task):
        raise CommandError(f"{queue or task} was not paused{_nearest_paused(queue, task)}")
    return [f"{queue or task} goes on"]


def _change_tasks(verb: Verb, ids: Iterable[uuid.UUID], **options: Any) -> Lines:
    selection = {key: options[key] for key in arguments.SELECTED if options[key] is not None}
    if bool(selection) == bool(ids):
        raise CommandError("give ids, or what selects Tasks, such as --group; one of the two")
    wait = {"countdown": options["countdown"]} if "countdown" in verb.asks else {}
    try:
        if ids:
            skips = f"not {' or '.join(verb.act.changes)}, or no such Task"
            return _changed(verb.act, ids, verb.act.done, skips, **wait)
        if options["dry_run"]:
            return [f"{operations.count(verb.name, selection)} would be {verb.act.done}"]
        shared = {key: options[key] for key in ("per_minute", "canary", "reason") if key in options}
        begun = operations.start(verb.name, selection, by=getuser(), **wait, **shared)
    except (TypeError, ValueError) as error:
        raise CommandError(str(error)) from error
    return [f"operation {begun.pk} began: {begun.matched_count} to be {verb.act.done}"]


def _change(change: Change, ids: Iterable[uuid.UUID], **options: Any) -> Lines:
    until = {"until": options["until"]} if "until" in options else {}
    return _changed(change.act, ids, change.done, change.skips, **until)


def _changed(
    act: Callable[..., int], ids: Iterable[uuid.UUID], word: str, skips: str, **options: Any
) -> Lines:
    asked = set(ids)
    done = act(asked, **options)
    skipped = len(asked) - done
    report = f"{done} {word}, {skipped} skipped" + (f" ({skips})" if skipped else "")
    if not done:
        raise CommandError(report)
    return [report]


def _refuse_unknown(queue: str, task: str) -> None:
    if queue and not known_names.has_queue(queue):
        kind, known = "queue", known_names.known_queues()
    elif task and not known_names.has_function(task):
        kind, known = "function", discovery.own_names()
    else:
        return
    near = nearest(queue or task, known)
    raise CommandError(
        f"there is no {kind} {queue or task}. {near} Give --force for one that is to come."
    )


def _nearest_paused(queue: str, task: str) -> str:
    paused = lanes.paused_now()
    known = paused.queue_names if queue else paused.names
    return f". {nearest(queue or task, sorted(known))}" if known else ""
