"""``manage.py retrytasks``: an operator's command for Tasks and the cluster.

Each subcommand is a function of its options and returns the lines to print.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from getpass import getuser
from typing import Any

from django.core.management import BaseCommand, CommandError, CommandParser
from django.core.management.base import DjangoHelpFormatter
from django.db import DatabaseError, Error
from django.utils.translation import override

from django_retrytasks import health, worker
from django_retrytasks.broker import clusters
from django_retrytasks.database.schema import UNMIGRATED, lacks_schema
from django_retrytasks.exceptions import RetryTasksError
from django_retrytasks.lifecycle import groups, lanes, pauses
from django_retrytasks.management import arguments, listings
from django_retrytasks.management.supervisor import Supervisor
from django_retrytasks.models import FailureGroup
from django_retrytasks.operators import known_names, operations
from django_retrytasks.operators.verbs import VERBS, Verb
from django_retrytasks.tasks import discovery
from django_retrytasks.tasks.stored import resolve
from django_retrytasks.values.checked import nearest
from django_retrytasks.values.texts import number_text

Lines = Iterable[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change of failure groups or operations by ids; ``skips`` says which ids are skipped."""

    help: str
    act: Callable[..., int]
    done: str
    skips: str = "no such group"
    ids: str = "Fingerprint of a failure group, as listed by failures."


CHANGES = {
    "mute": Change(
        help="Stop the alerts of failure groups; their failures are still counted.",
        act=groups.mute,
        done="muted",
    ),
    "resolve": Change(
        help="Mark failure groups as fixed; the next failure opens a group again, as a regression.",
        act=groups.resolve,
        done="resolved",
    ),
    "reopen": Change(
        help="Let muted or resolved failure groups alert again.", act=groups.reopen, done="opened"
    ),
    "stop": Change(
        help="Stop operations; finished changes stay.",
        act=lambda ids: sum(operations.stop(pk, f"by {getuser()}") for pk in ids),
        done="stopped",
        skips="over already, or no such operation",
        ids="Id of an operation, as listed by operations.",
    ),
}

SCHEDULE = "Show the retries of a task: the shortest and the longest wait before each, in seconds."
PATH = "Dotted path of the task, such as orders.tasks.send."
SWEEP = "Run the sweep now: write missing wake-ups, delete old finished Tasks, send alerts."
PAUSE = "Make the due Tasks of a queue or a function wait, without spending retries, until resume."
RESUME = "End the pause of a queue or a function."
PAUSES = "List the pauses: since when, by whom and why."
OPERATIONS = "List the operations and their progress, the latest first."
FAILURES = "List the failing failure groups, the latest failure first."
ALL = "Add groups that have recovered, were resolved, or have only been retried so far."
HEALTH = "Report the state of queues, claims and sweep; exit with 1 if a Task is due for too long."
CLUSTER = "Run qcluster; start it again when it ends, or freezes while Tasks are due."


class Command(BaseCommand):
    help = (
        "Show a task's retries; run the sweep; re-drive, run, snooze, discard or cancel Tasks, one "
        "or many; pause queues and functions; list, mute or resolve failure groups; report the "
        "state of the queues; run a cluster."
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

        add("schedule", SCHEDULE, _schedule).add_argument("path", help=PATH)
        add("sweep", SWEEP, _sweep)
        with override(None):  # in English, as the rest of the command
            for verb in VERBS.values():
                name, do = verb.slug.replace("_", "-"), partial(_change_tasks, verb)
                arguments.add_verb_arguments(add(name, str(verb.meaning), do), verb.asks)
        for name, change in CHANGES.items():
            command = add(name, change.help, partial(_change, change))
            arguments.add_ids(command, change.ids, takes_until=name == "mute")
        arguments.add_pause_arguments(add("pause", PAUSE, _pause))
        arguments.add_paused(add("resume", RESUME, _resume))
        add("failures", FAILURES, _failures).add_argument("--all", action="store_true", help=ALL)
        add("operations", OPERATIONS, listings.operation_lines)
        add("pauses", PAUSES, listings.pause_lines)
        arguments.add_health_arguments(add("health", HEALTH, _health))
        arguments.add_cluster_arguments(add("cluster", CLUSTER, _cluster))

    def handle(self, *args: Any, do: Callable[..., Lines], **options: Any) -> None:
        try:
            for line in do(**options):
                self.stdout.write(listings.printable(line))
        except CommandError as error:
            lines = map(listings.printable, str(error).split("\n"))
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
        state = health.check()
    except Error as error:
        if lacks_schema(error):
            raise
        raise CommandError(f"the database does not answer: {error}") from error
    is_late = state.lag > max_lag
    yield from listings.health_lines(state, is_late=is_late, as_json=options["json"])
    if is_late:
        lag, most = number_text(state.lag), number_text(max_lag)
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
    return [f"{queue or task} is resumed"]


def _change_tasks(verb: Verb, ids: Iterable[uuid.UUID], **options: Any) -> Lines:
    selection = {key: options[key] for key in arguments.SELECTED if options[key] is not None}
    if bool(selection) == bool(ids):
        raise CommandError("give either ids or a selection, such as --group")
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
    distinct = set(ids)
    done = act(distinct, **options)
    skipped = len(distinct) - done
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
        f"there is no {kind} {queue or task}. {near} "
        f"Give --force for a {kind} that will exist later."
    )


def _nearest_paused(queue: str, task: str) -> str:
    paused = lanes.paused_now()
    known = paused.queue_names if queue else paused.names
    return f". {nearest(queue or task, sorted(known))}" if known else ""
