"""``manage.py retrytasks``: what an operator asks of the Tasks, and of the cluster."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from getpass import getuser
from typing import Any

from django.core.management.base import (
    BaseCommand,
    CommandError,
    CommandParser,
    DjangoHelpFormatter,
)
from django.core.serializers.json import DjangoJSONEncoder
from django.db import DatabaseError, Error
from django.utils import timezone

from django_retrytasks import health, lifecycle, worker
from django_retrytasks.broker import clusters
from django_retrytasks.database.schema import UNMIGRATED, lacks_schema
from django_retrytasks.errors.reports import class_path
from django_retrytasks.exceptions import RetryTasksError
from django_retrytasks.lifecycle import groups, lanes, pauses
from django_retrytasks.management import arguments
from django_retrytasks.management.arguments import shown_seconds as _seconds
from django_retrytasks.management.supervisor import Supervisor
from django_retrytasks.management.terminals import PrintableLines, printable
from django_retrytasks.models import FailureGroup, Operation, Pause
from django_retrytasks.operators import known_names, operations
from django_retrytasks.policy import RetryPolicy
from django_retrytasks.tasks import discovery
from django_retrytasks.tasks.stored import resolve
from django_retrytasks.values.checked import nearest


@dataclass(frozen=True, slots=True, kw_only=True)
class Verb:
    """A change of state that is asked for by ids; ``skips`` says whom it passes over."""

    help: str
    act: Callable[..., int]
    done: str
    skips: str
    ids: str = "Id of a Task, as logs show it."
    of_many: str = ""
    """The same verb of operations, where there is one."""


GROUPS = "Fingerprint of a failure group, as the subcommand failures shows it."

VERBS = {
    "redrive": Verb(
        help="Run failed Tasks again: ids and attempts are kept, the retries count anew.",
        act=lifecycle.redrive,
        done="re-driven",
        of_many=Operation.Verb.REDRIVE,
        skips="not failed, or no such Task",
    ),
    "discard": Verb(
        help="Drop Tasks that wait or have failed; those that run are left alone.",
        act=lifecycle.discard,
        done="discarded",
        of_many=Operation.Verb.DISCARD,
        skips="running, succeeded or discarded already, or no such Task",
    ),
    "run-now": Verb(
        help="Have waiting Tasks run at once, not when their countdown is over.",
        act=lifecycle.run_now,
        done="made due",
        of_many=Operation.Verb.RUN_NOW,
        skips="not waiting, or no such Task",
    ),
    "snooze": Verb(
        help="Have waiting Tasks wait longer; no retry is spent.",
        act=lifecycle.snooze,
        done="snoozed",
        of_many=Operation.Verb.SNOOZE,
        skips="not waiting, or no such Task",
    ),
    "cancel": Verb(
        help="Drop Tasks that wait or run; what runs goes on, and its outcome is refused.",
        act=lifecycle.cancel,
        done="cancelled",
        of_many=Operation.Verb.CANCEL,
        skips="finished already, or no such Task",
    ),
    "mute": Verb(
        help="Have failure groups alert no more; their failures are counted all the same.",
        act=groups.mute,
        done="muted",
        skips="no such group",
        ids=GROUPS,
    ),
    "resolve": Verb(
        help="Take failure groups for mended; one that fails again is opened, as a regression.",
        act=groups.resolve,
        done="resolved",
        skips="no such group",
        ids=GROUPS,
    ),
    "reopen": Verb(
        help="Have muted or resolved failure groups alert again.",
        act=groups.reopen,
        done="opened",
        skips="no such group",
        ids=GROUPS,
    ),
    "stop": Verb(
        help="Stop operations: what is done stays done.",
        act=lambda ids: sum(operations.stop(pk, f"by {getuser()}") for pk in ids),
        done="stopped",
        skips="over already, or no such operation",
        ids="Id of an operation, as the subcommand operations shows it.",
    ),
}

PAUSING = {
    "pause": "Have the due Tasks of a queue or of a function wait, uncharged, until it is resumed.",
    "resume": "Have a paused queue or function go on.",
}

SCHEDULE = "Show when a task is retried: the least and the most seconds before each retry."
SWEEP = "Run the sweep now: ring for due Tasks, delete old finished ones, send alerts."
FAILURES = "List the failure groups: those that fail still, or all, the latest failure first."
HEALTH = "Tell how the work goes; exit with 1 if a Task has been due for too long."
CLUSTER = "Run qcluster; run it again when it ends, or freezes while Tasks are due."
LISTS = {
    "operations": "List the operations: what was done to many Tasks, and how far it is.",
    "pauses": "List what is paused, since when, by whom and why.",
}


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

        def add(name: str, text: str) -> CommandParser:
            return subcommands.add_parser(name, help=text, description=text, **shared)

        schedule = add("schedule", SCHEDULE)
        schedule.add_argument("path", help="Dotted path of the task, such as orders.tasks.send.")
        add("sweep", SWEEP)
        for name, verb in VERBS.items():
            command = add(name, verb.help)
            selects = bool(verb.of_many)
            arguments.add_verb_arguments(command, name, ids=verb.ids, selects=selects)
        for name, text in PAUSING.items():
            arguments.add_pausing_arguments(add(name, text), name)
        for name, text in LISTS.items():
            add(name, text)
        listing = add("failures", FAILURES)
        listing.add_argument("--all", action="store_true", help="Those that are over as well.")
        arguments.add_health_arguments(add("health", HEALTH))
        arguments.add_cluster_arguments(add("cluster", CLUSTER))

    def handle(self, *args: Any, subcommand: str, **options: Any) -> None:
        self.stdout = PrintableLines(self.stdout)  # type: ignore[arg-type]  # it wraps any writer
        try:
            self._run(subcommand, options)
        except CommandError as error:
            lines = map(printable, str(error).split("\n"))
            raise CommandError("\n".join(lines), returncode=error.returncode) from error

    def _run(self, subcommand: str, options: dict[str, Any]) -> None:
        try:
            self._do(subcommand, options)
        except DatabaseError as error:
            if lacks_schema(error):
                raise CommandError(UNMIGRATED) from error
            raise

    def _do(self, subcommand: str, options: dict[str, Any]) -> None:
        match subcommand:
            case "schedule":
                self._schedule(options["path"])
            case "sweep":
                worker.sweep()
                self.stdout.write("Swept.")
            case "failures":
                self._failures(every=options["all"])
            case "mute":
                wait = options["seconds"]
                until = None if wait is None else timezone.now() + timedelta(seconds=wait)
                self._change(VERBS["mute"], set(options["ids"]), until=until)
            case "operations":
                for line in _operated():
                    self.stdout.write(line)
            case "pause" | "resume":
                self._pause(subcommand, options)
            case "pauses":
                for line in _paused():
                    self.stdout.write(line)
            case "health":
                self._health(options["max_lag"], as_json=options["json"])
            case "cluster":
                self._cluster(options["name"], options["max_stall"], options["grace"])
            case "resolve" | "reopen" | "stop":
                self._change(VERBS[subcommand], set(options["ids"]))
            case _:
                self._change_tasks(VERBS[subcommand], options)

    def _schedule(self, path: str) -> None:
        try:
            policy = resolve(path).policy
        except RetryTasksError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{path}: {_summary(policy)}")
        for line in [*_table(policy), *_notes(policy)]:
            self.stdout.write(line)

    def _health(self, max_lag: float, *, as_json: bool) -> None:
        try:
            found = health.check()
        except Error as error:
            if lacks_schema(error):
                raise
            raise CommandError(f"the database does not answer: {error}") from error
        late = found.lag > max_lag
        for line in _as_json(found, late).splitlines() if as_json else _as_text(found):
            self.stdout.write(line)
        if late:
            raise CommandError(
                f"a Task has been due for {_seconds(found.lag)} s, more than {_seconds(max_lag)} s"
            )

    def _cluster(self, name: str | None, max_stall: float, grace: float) -> None:
        if not hasattr(os, "killpg"):
            raise CommandError("needs POSIX sessions, which this platform lacks: run qcluster")
        Supervisor(key=name or clusters.own_key(), max_stall=max_stall, grace=grace).run()

    def _failures(self, *, every: bool) -> None:
        groups = FailureGroup.objects.order_by("-last_seen_at")
        shown = groups if every else groups.failing()
        for line in _listed(shown):
            self.stdout.write(line)

    def _pause(self, verb: str, options: dict[str, Any]) -> None:
        what = {"queue_name": options["queue"], "name": options["task"]}
        shown = options["queue"] or options["task"]
        if verb == "pause":
            if not options["force"]:
                _refuse_unknown(**what)
            done = pauses.pause(**what, by=getuser(), reason=options["reason"])
            self.stdout.write(f"{shown} is paused" if done else f"{shown} was paused already")
        elif pauses.resume(**what):
            self.stdout.write(f"{shown} goes on")
        else:
            raise CommandError(f"{shown} was not paused{_nearest_paused(**what)}")

    def _change_tasks(self, verb: Verb, options: dict[str, Any]) -> None:
        selection = {key: options[key] for key in arguments.SELECTED if options[key] is not None}
        if bool(selection) == bool(options["ids"]):
            raise CommandError("give ids, or what selects Tasks, such as --group; one of the two")
        wait = {} if options.get("seconds") is None else {"countdown": options["seconds"]}
        try:
            if not selection:
                self._change(verb, set(options["ids"]), **wait)
            elif options["dry_run"]:
                count = operations.count(verb.of_many, selection)
                self.stdout.write(f"{count} would be {verb.done}")
            else:
                chosen = {key: options[key] for key in ("per_minute", "canary", "reason")}
                self._start(verb, selection, **wait, **chosen)
        except (TypeError, ValueError) as error:
            raise CommandError(str(error)) from error

    def _start(self, verb: Verb, selection: dict[str, str], **options: Any) -> None:
        found = operations.start(verb.of_many, selection, by=getuser(), **options)
        self.stdout.write(f"operation {found.pk} began: {found.matched_count} to be {verb.done}")

    def _change(self, verb: Verb, ids: set[uuid.UUID], **options: Any) -> None:
        done = verb.act(ids, **options)
        skipped = len(ids) - done
        report = f"{done} {verb.done}, {skipped} skipped"
        if skipped:
            report += f" ({verb.skips})"
        if not done:
            raise CommandError(report)
        self.stdout.write(report)


def _refuse_unknown(queue_name: str, name: str) -> None:
    if queue_name and not known_names.has_queue(queue_name):
        kind, known = "queue", known_names.known_queues()
    elif name and not known_names.has_function(name):
        kind, known = "function", discovery.own_names()
    else:
        return
    near = nearest(queue_name or name, known)
    raise CommandError(
        f"there is no {kind} {queue_name or name}. {near} Give --force for one that is to come."
    )


def _nearest_paused(queue_name: str, name: str) -> str:
    paused = lanes.paused_now()
    known = paused.queue_names if queue_name else paused.names
    return f". {nearest(queue_name or name, sorted(known))}" if known else ""


def _as_json(found: health.Health, late: bool) -> str:
    values = {"ok": not late, "lag": found.lag, **asdict(found)}
    return json.dumps(values, cls=DjangoJSONEncoder, indent=2)


def _as_text(found: health.Health) -> Iterable[str]:
    yield f"{'queue':<20}  {'due':>6}  {'oldest due for':>14}"
    for queue in found.queues:
        paused = "  paused" if queue.is_paused else ""
        yield f"{queue.queue_name:<20}  {queue.due_count:>6}  {queue.lag:>12.1f} s{paused}"
    for name in found.paused_names:
        yield f"paused: {name}"
    yield f"running: {found.running_count}"
    yield f"last claim: {_moment(found.last_claim_at)}"
    yield f"last sweep: {_moment(found.swept_at)}"
    for fault in found.broken_schedules:
        yield f"cannot run, and holds up all schedules: {fault}"


def _operated() -> Iterable[str]:
    for row in Operation.objects.order_by("-started_at"):
        done = f"{row.done_count} of {row.matched_count} done, {row.skipped_count} skipped"
        because = f" ({row.stopped_because})" if row.stopped_because else ""
        yield f"{row.pk}  {row.verb:<7}  {row.status:<7}  {done}{because}"


def _paused() -> Iterable[str]:
    for row in Pause.objects.order_by("paused_at"):
        kind = "queue" if row.queue_name else "task"
        about = ", ".join(text for text in (row.paused_by, row.reason) if text)
        yield f"{kind} {row}, since {_moment(row.paused_at)}" + (f": {about}" if about else "")


def _listed(groups: Iterable[FailureGroup]) -> Iterable[str]:
    yield f"{'fingerprint':<36}  {'status':<8}  {'failures':>8}  {'last seen':<19}  what"
    for group in groups:
        last = f"{group.last_seen_at:%Y-%m-%d %H:%M:%S}"
        count = group.failure_count
        yield f"{group.pk}  {group.status:<8}  {count:>8}  {last}  {group}"


def _moment(at: datetime | None) -> str:
    return at.isoformat(sep=" ", timespec="seconds") if at else "never"


def _summary(policy: RetryPolicy) -> str:
    match policy.max_retries:
        case None:
            return "retried for ever"
        case 0:
            return "never retried"
        case 1:
            return "1 retry at most"
    return f"{policy.max_retries} retries at most"


def _table(policy: RetryPolicy) -> Iterable[str]:
    schedule = policy.schedule()
    total = 0.0
    if schedule:
        yield f"{'retry':>5}  {'least':>10}  {'most':>10}  {'cumulative':>12}"
    for number, least, most in schedule:
        total += most
        yield f"{number:>5}  {_seconds(least):>10}  {_seconds(most):>10}  {_seconds(total):>12}"


def _notes(policy: RetryPolicy) -> Iterable[str]:
    shown = len(policy.schedule())
    if shown:
        yield "In seconds; cumulative is the most waited so far, run times left out."
    if shown and policy.max_retries != shown:
        yield f"The first {shown} retries are shown."
    if callable(policy.backoff) and policy.max_retries != 0:
        yield f"Each wait is decided by {_path(policy.backoff)} when the attempt has failed."
    if policy.retry_for is not None:
        yield f"No retry begins later than {_seconds(policy.retry_for)} s after the first start."


def _path(function: Any) -> str:
    return f"{function.__module__}.{getattr(function, '__qualname__', class_path(type(function)))}"
