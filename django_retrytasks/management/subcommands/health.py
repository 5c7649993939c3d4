"""``health``: the state of queues, claims and sweep."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from django.core.management import CommandParser

from django_retrytasks import health
from django_retrytasks.health.verdicts import MAX_LAG, lateness
from django_retrytasks.management import arguments
from django_retrytasks.management.frame import Report, Subcommand
from django_retrytasks.management.terminal import moment


def _arguments(parser: CommandParser) -> None:
    parser.add_argument(
        "--max-lag",
        type=arguments.seconds,
        default=MAX_LAG,
        metavar="SECONDS",
        help="The longest time for which a Task may have been due. Default: 120.",
    )


def _health(max_lag: float, **options: Any) -> Report:
    state = health.check()
    wrong = lateness(state, max_lag)
    values = {"ok": not wrong, "lag": state.lag, **asdict(state)}
    return Report(lines=_lines(state), values=values, wrong=wrong)


def _lines(state: health.Health) -> Iterable[str]:
    yield f"{'queue':<20}  {'due':>6}  {'oldest due for':>14}"
    for queue in state.queues:
        paused = "  paused" if queue.is_paused else ""
        yield f"{queue.queue_name:<20}  {queue.due_count:>6}  {queue.lag:>12.1f} s{paused}"
    for name in state.paused_names:
        yield f"paused: {name}"
    for breaker in state.breakers:
        yield f"breaker {'open' if breaker.is_open else 'closing'}: {breaker}"
    yield f"running: {state.running_count}"
    yield f"last claim: {moment(state.last_claim_at)}"
    yield f"last sweep: {moment(state.swept_at)}"
    for fault in state.broken_schedules:
        yield f"cannot run, and holds up all schedules: {fault}"


SUBCOMMANDS = (
    Subcommand(
        name="health",
        help="Report the state of queues, claims and sweep; exit with 1 if a Task is due for too "
        "long.",
        do=_health,
        examples=("health", "health --max-lag 10m --json"),
        arguments=_arguments,
        lists=True,
    ),
)
