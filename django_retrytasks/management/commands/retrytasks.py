"""``manage.py retrytasks``: what an operator asks of the Tasks, and of the cluster."""

from __future__ import annotations

import json
import math
import os
import uuid
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.serializers.json import DjangoJSONEncoder
from django.db import Error
from django.utils import timezone

from django_retrytasks import failures, health, lifecycle, wakeups, worker
from django_retrytasks.backend import resolve
from django_retrytasks.exceptions import RetryTasksError
from django_retrytasks.models import FailureGroup
from django_retrytasks.policy import RetryPolicy
from django_retrytasks.reports import class_path
from django_retrytasks.supervisor import Supervisor


@dataclass(frozen=True, slots=True, kw_only=True)
class Verb:
    """A change of state that is asked for by ids; ``skips`` says whom it passes over."""

    help: str
    act: Callable[..., int]
    done: str
    skips: str
    ids: str = "Id of a Task, as logs show it."


GROUPS = "Fingerprint of a failure group, as the subcommand failures shows it."


VERBS = {
    "redrive": Verb(
        help="Run failed Tasks again: ids and attempts are kept, the retries count anew.",
        act=lifecycle.redrive,
        done="re-driven",
        skips="not failed, or no such Task",
    ),
    "discard": Verb(
        help="Drop Tasks that wait or have failed; those that run are left alone.",
        act=lifecycle.discard,
        done="discarded",
        skips="running, succeeded or discarded already, or no such Task",
    ),
    "mute": Verb(
        help="Have failure groups alert no more; their failures are counted all the same.",
        act=failures.mute,
        done="muted",
        skips="no such group",
        ids=GROUPS,
    ),
    "resolve": Verb(
        help="Take failure groups for mended; one that fails again is opened, as a regression.",
        act=failures.resolve,
        done="resolved",
        skips="no such group",
        ids=GROUPS,
    ),
    "reopen": Verb(
        help="Have muted or resolved failure groups alert again.",
        act=failures.reopen,
        done="opened",
        skips="no such group",
        ids=GROUPS,
    ),
}


# A cluster takes some seconds to start, and must not be taken for frozen meanwhile.
LEAST_STALL = 5


class Command(BaseCommand):
    help = (
        "Preview a task's retries, run the sweep, re-drive or discard Tasks, list, mute or "
        "resolve failure groups, tell how the work goes, run a cluster."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        subcommands = parser.add_subparsers(dest="subcommand", metavar="subcommand", required=True)
        text = "Show when a task is retried: the least and the most seconds before each retry."
        schedule = subcommands.add_parser("schedule", help=text, description=text)
        schedule.add_argument("path", help="Dotted path of the task, such as orders.tasks.send.")
        text = "Run the sweep now: ring for due Tasks and delete old finished ones."
        subcommands.add_parser("sweep", help=text, description=text)
        for name, verb in VERBS.items():
            command = subcommands.add_parser(name, help=verb.help, description=verb.help)
            command.add_argument("ids", nargs="+", type=uuid_of, metavar="id", help=verb.ids)
            if name == "mute":
                text = "Until so many seconds from now. Default: until reopened."
                command.add_argument("--for", dest="seconds", type=seconds, help=text)
        text = "List the failure groups: those that fail still, or all, the latest failure first."
        listing = subcommands.add_parser("failures", help=text, description=text)
        listing.add_argument("--all", action="store_true", help="Those that are over as well.")
        text = "Tell how the work goes; exit with 1 if a Task has been due for too long."
        _add_health_arguments(subcommands.add_parser("health", help=text, description=text))
        text = "Run qcluster; run it again when it ends, or freezes while Tasks are due."
        _add_cluster_arguments(subcommands.add_parser("cluster", help=text, description=text))

    def handle(self, *args: Any, subcommand: str, **options: Any) -> None:
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
            case "health":
                self._health(options["max_lag"], as_json=options["json"])
            case "cluster":
                self._cluster(options["name"], options["max_stall"], options["grace"])
            case _:
                self._change(VERBS[subcommand], set(options["ids"]))

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
            raise CommandError(f"the database does not answer: {error}") from error
        late = found.lag > max_lag
        self.stdout.write(_as_json(found, late) if as_json else "\n".join(_as_text(found)))
        if late:
            raise CommandError(
                f"a Task has been due for {_seconds(found.lag)} s, more than {_seconds(max_lag)} s"
            )

    def _cluster(self, name: str | None, max_stall: float, grace: float) -> None:
        if not hasattr(os, "killpg"):
            raise CommandError("needs POSIX sessions, which this platform lacks: run qcluster")
        Supervisor(key=name or wakeups.own_key(), max_stall=max_stall, grace=grace).run()

    def _failures(self, *, every: bool) -> None:
        groups = FailureGroup.objects.using(wakeups.alias()).order_by("-last_seen_at")
        shown = groups if every else groups.failing()
        for line in _listed(shown):
            self.stdout.write(line)

    def _change(self, verb: Verb, ids: set[uuid.UUID], **options: Any) -> None:
        done = verb.act(ids, **options)
        skipped = len(ids) - done
        report = f"{done} {verb.done}, {skipped} skipped"
        if skipped:
            report += f" ({verb.skips})"
        if not done:
            raise CommandError(report)
        self.stdout.write(report)


def uuid_of(text: str) -> uuid.UUID:
    """Return the id that a text spells."""
    try:
        return uuid.UUID(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is no id: give a UUID, as it was shown") from None


def seconds(text: str, *, least: float = 0) -> float:
    """Return the seconds that a text spells, ``least`` or more."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not least <= value < math.inf:
        raise ArgumentTypeError(f"{text!r} is no duration: give seconds, {_seconds(least)} or more")
    return value


def _add_health_arguments(parser: CommandParser) -> None:
    parser.add_argument(
        "--max-lag",
        type=seconds,
        default=120.0,
        metavar="SECONDS",
        help="Seconds for which a Task may have been due. Default: 120.",
    )
    parser.add_argument("--json", action="store_true", help="Print JSON.")


def _add_cluster_arguments(parser: CommandParser) -> None:
    keys = wakeups.keys()
    parser.add_argument(
        "--name",
        choices=keys,
        metavar="NAME",
        help=f"Cluster to run: {', '.join(keys)}. Default: what qcluster itself would run.",
    )
    parser.add_argument(
        "--max-stall",
        type=partial(seconds, least=LEAST_STALL),
        default=60.0,
        metavar="SECONDS",
        help="Seconds for which Tasks may be due, and workers idle, before the cluster is "
        f"replaced; at least {LEAST_STALL}. Default: 60.",
    )
    parser.add_argument(
        "--grace",
        type=seconds,
        default=60.0,
        metavar="SECONDS",
        help="Seconds that running Tasks are given to end when it stops. Default: 60.",
    )


def _as_json(found: health.Health, late: bool) -> str:
    values = {"ok": not late, "lag": found.lag, **asdict(found)}
    return json.dumps(values, cls=DjangoJSONEncoder, indent=2)


def _as_text(found: health.Health) -> Iterable[str]:
    yield f"{'queue':<20}  {'due':>6}  {'oldest due for':>14}"
    for queue in found.queues:
        yield f"{queue.queue_name:<20}  {queue.due_count:>6}  {queue.lag:>12.1f} s"
    yield f"running: {found.running_count}"
    yield f"last claim: {_moment(found.last_claim_at)}"
    yield f"last sweep: {_moment(found.swept_at)}"


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


def _seconds(value: float) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".")


def _path(function: Any) -> str:
    return f"{function.__module__}.{getattr(function, '__qualname__', class_path(type(function)))}"
