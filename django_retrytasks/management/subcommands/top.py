"""``top``: what the clusters do now, drawn anew every few seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from io import StringIO
from typing import Any

from django.core.management import CommandError, CommandParser
from django.db import close_old_connections

from django_retrytasks.management import arguments
from django_retrytasks.management.frame import Lines, Subcommand

# Where there is no terminal.
WIDTH = 120
LEAST_INTERVAL = 0.2


def _arguments(parser: CommandParser) -> None:
    parser.add_argument(
        "--every",
        type=partial(arguments.seconds, least=LEAST_INTERVAL),
        default=2.0,
        metavar="SECONDS",
        help="Seconds between two screens. Default: 2.",
    )
    parser.add_argument(
        "--times",
        type=partial(arguments.count, most=1_000_000),
        metavar="COUNT",
        help="Screens to draw. Default: until Ctrl-C; without a terminal, 1.",
    )


def _top(every: float, times: int | None, **options: Any) -> Lines:
    draw = _drawn()
    is_live = sys.stdout.isatty() and not options.get("stdout")
    screens = _paced(every, times if is_live else times or 1)
    if is_live:
        _live(draw, screens)
        return
    for _ in screens:
        yield from _as_text(draw())


def _drawn() -> Callable[[], Any]:
    try:
        from django_retrytasks.management import screen
    except ImportError as error:
        raise CommandError(
            f"top needs rich: pip install 'django-retrytasks[cli]' ({error})"
        ) from error
    return screen.draw


def _paced(every: float, times: int | None) -> Iterator[int]:
    """Yield numbers from 0, one every so many seconds; ``times`` is None: until Ctrl-C."""
    number = 0
    while times is None or number < times:
        if number:
            time.sleep(every)
        yield number
        number += 1


def _live(draw: Callable[[], Any], screens: Iterator[int]) -> None:
    from rich.live import Live

    with Live(screen=True, auto_refresh=False) as live:
        try:
            for _ in screens:
                close_old_connections()
                live.update(draw(), refresh=True)
        except KeyboardInterrupt:
            return


def _as_text(screen: Any) -> list[str]:
    from rich.console import Console

    output = StringIO()
    Console(file=output, width=WIDTH, color_system=None).print(screen)
    return output.getvalue().splitlines()


SUBCOMMANDS = (
    Subcommand(
        name="top",
        help="Show queues, running Tasks and failing groups, drawn anew every 2 seconds until "
        "Ctrl-C. It needs the extra cli.",
        do=_top,
        examples=("top", "top --every 10s", "top --times 1 | cat"),
        arguments=_arguments,
    ),
)
