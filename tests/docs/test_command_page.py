"""The command takes each command line of the documentation, and its page names all it takes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from django_retrytasks.management.commands.retrytasks import Command
from django_retrytasks.management.frame import Subcommand
from django_retrytasks.management.subcommands import SUBCOMMANDS
from tests.docs.book import IDS, PAGES, REFERENCE, table_after
from tests.docs.fences import blocks

PAGE = (REFERENCE / "command.md").read_text()
LINE = re.compile(r"^\$ (?:python )?manage\.py retrytasks (?P<words>.+)$", re.MULTILINE)
CODE = re.compile(r"`([a-z-]+)")
# Clusters of the site that a page describes, in place of those of the tests.
CLUSTER = re.compile(r"--name \w+")


def lines_of(page: Path) -> Iterator[str]:
    for block in blocks(page):
        if block.language == "console":
            yield from (found["words"] for found in LINE.finditer(block.code))


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_command_lines_are_taken(page: Path) -> None:
    parser = Command().create_parser("manage.py", "retrytasks")

    for line in lines_of(page):
        words = shlex.split(CLUSTER.sub("--name slow", line), comments=True)
        assert parser.parse_args(words).subcommand == words[0]


def test_pages_have_command_lines() -> None:
    assert sum(len(list(lines_of(page))) for page in PAGES) > 20


def test_table_names_every_subcommand_and_no_other() -> None:
    named = [name for row in table_after(PAGE, "| subcommand |") for name in CODE.findall(row[0])]

    assert sorted(named) == sorted(subcommand.name for subcommand in SUBCOMMANDS)


@pytest.mark.parametrize("subcommand", SUBCOMMANDS, ids=lambda subcommand: subcommand.name)
def test_page_names_every_option(
    subcommand: Subcommand, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        Command().create_parser("manage.py", "retrytasks").parse_args([subcommand.name, "--help"])
    printed = capsys.readouterr().out
    own = printed.partition("\noptions:")[2].partition("options of every Django command")[0]
    options = set(re.findall(r"--[a-z-]+", own)) - {"--help", "--noinput"}

    assert {option for option in options if f"`{option}" not in PAGE} == set()


def test_page_names_every_listing() -> None:
    [listed] = re.findall(r"takes `--json`: (.+)\.\n", PAGE)

    assert sorted(CODE.findall(listed)) == sorted(each.name for each in SUBCOMMANDS if each.lists)
