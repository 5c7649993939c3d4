"""``manage.py retrytasks``: an operator's command for Tasks and the cluster.

Each subcommand is a function of its options and returns the lines to print, or a listing.
"""

from __future__ import annotations

import os
import sys
from argparse import ArgumentError, ArgumentParser, Namespace, _SubParsersAction
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from textwrap import fill
from typing import Any

from django.core.management import BaseCommand, CommandError, CommandParser
from django.core.management.base import no_translations
from django.db import DatabaseError, InterfaceError, OperationalError

from django_retrytasks.database.schema import lacks_schema, unmigrated
from django_retrytasks.management import arguments
from django_retrytasks.management.frame import Lines, Report, Subcommand
from django_retrytasks.management.subcommands import SUBCOMMANDS
from django_retrytasks.management.terminal import Note, json_lines, printable
from django_retrytasks.values.checked import nearest


class Parsers(dict[str, CommandParser]):
    """Parsers by name. An unknown name passes, and so reaches `Subparsers`."""

    def __contains__(self, name: object) -> bool:
        return True


class Subparsers(_SubParsersAction):  # type: ignore[type-arg]  # generic only for mypy
    """The subcommands: an unknown name is refused with the nearest one."""

    def __call__(
        self, parser: ArgumentParser, namespace: Namespace, values: Any, option: Any = None
    ) -> None:
        names = [subcommand.name for subcommand in SUBCOMMANDS]
        if values[0] not in names:
            raise ArgumentError(None, f"no subcommand {values[0]}. {nearest(values[0], names)}")
        super().__call__(parser, namespace, values, option)


class Command(BaseCommand):
    help = "Look at Tasks and change them, watch the queues, look after the site, run a cluster."

    def add_arguments(self, parser: CommandParser) -> None:
        subparsers = parser.add_subparsers(
            action=Subparsers, dest="subcommand", metavar="subcommand", required=True
        )
        for subcommand in SUBCOMMANDS:
            _add(subparsers, subcommand)
        subparsers.choices = Parsers(subparsers.choices)

    def execute(self, *args: Any, **options: Any) -> Any:
        # Round the system checks too: some of them read rows.
        try:
            return super().execute(*args, **options)
        except (DatabaseError, InterfaceError) as error:
            if lacks_schema(error):
                raise CommandError(unmigrated()) from error
            if isinstance(error, OperationalError | InterfaceError):
                told = printable(f"The database cannot be reached: {' '.join(str(error).split())}")
                raise CommandError(told) from error
            raise

    @no_translations
    def handle(self, *args: Any, do: Callable[..., Lines | Report], **options: Any) -> None:
        try:
            self._tell(do(**options), options)
            with self._ending_with_the_reader():
                self.stdout.flush()
        except CommandError as error:
            lines = map(printable, str(error).split("\n"))
            raise CommandError("\n".join(lines), returncode=error.returncode) from error

    def _tell(self, told: Lines | Report, options: Any) -> None:
        if isinstance(told, Report):
            self._tell(json_lines(told.values) if options["json"] else told.lines, options)
            if told.wrong:
                with self._ending_with_the_reader():
                    self.stdout.flush()  # so that the error comes last, in a pipe too
                raise CommandError(told.wrong)
            return
        for line in told:
            if isinstance(line, Report):
                self._tell(line, options)
            elif not isinstance(line, Note):
                self._write(self.stdout, line)
            elif options["verbosity"] > 0:
                self._write(self.stderr, line)

    def _write(self, to: Any, line: str) -> None:
        with self._ending_with_the_reader():
            to.write(printable(line, getattr(to, "encoding", None)))

    @contextmanager
    def _ending_with_the_reader(self) -> Iterator[None]:
        """End with exit code 1, and without a word, where nobody reads the output any more."""
        try:
            yield
        except BrokenPipeError:
            if not self._called_from_command_line:  # type: ignore[attr-defined]  # no stub
                raise
            # Python flushes both streams at its end, and would tell of the pipe once more.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            for stream in (sys.__stdout__, sys.__stderr__):
                if stream is not None:
                    os.dup2(nowhere, stream.fileno())
            raise SystemExit(1) from None


def _add(subparsers: Any, subcommand: Subcommand) -> None:
    parser: CommandParser = subparsers.add_parser(
        subcommand.name,
        help=subcommand.help,
        description=fill(subcommand.help),
        epilog=_examples(subcommand),
        parents=[arguments.django_options()],
        formatter_class=arguments.HelpFormatter,
    )
    subcommand.arguments(parser)
    arguments.check_texts(parser)
    if subcommand.lists:
        parser.add_argument("--json", action="store_true", help="Print JSON.")
    parser.set_defaults(do=subcommand.do)
    if not subcommand.checks:
        parser.set_defaults(skip_checks=True)


def _examples(subcommand: Subcommand) -> str:
    lines = [f"  manage.py retrytasks {example}" for example in subcommand.examples]
    return "\n".join(["examples:", *lines])
