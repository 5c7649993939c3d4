"""What all subcommands have in common: help, examples, JSON, errors, exit codes."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError

from django_retrytasks.management.commands.retrytasks import Command
from django_retrytasks.management.frame import Subcommand
from django_retrytasks.management.subcommands import SUBCOMMANDS
from django_retrytasks.models import Status
from tests.checks.sites import ROOT, bare_site
from tests.management.running import run, values
from tests.support import tasks
from tests.support.driver import Driver

ID = "01a20694-32d3-76d4-881f-2aeadd356400"
NAMES = [subcommand.name for subcommand in SUBCOMMANDS]
APPS = ["django.contrib.contenttypes", "django_q", "django_retrytasks"]


def parse(example: str) -> Any:
    words = shlex.split(example.partition(" | ")[0])
    return Command().create_parser("manage.py", "retrytasks").parse_args(words)


class TestHelp:
    @pytest.mark.parametrize("subcommand", SUBCOMMANDS, ids=NAMES)
    def test_has_examples_that_can_be_run(
        self, subcommand: Subcommand, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit) as done:
            run(subcommand.name, "--help")

        printed = capsys.readouterr().out
        assert done.value.code == 0
        assert printed.isascii()
        assert subcommand.examples
        for example in subcommand.examples:
            # This site has no such cluster.
            known = example.replace("--name emails", "--name slow")
            assert f"  manage.py retrytasks {example}\n" in printed
            assert parse(known).subcommand == subcommand.name

    @pytest.mark.parametrize(
        ("name", "meant"), [("lst", "list"), ("docter", "doctor"), ("stat", "stats")]
    )
    def test_unknown_subcommand_is_refused_with_the_nearest(self, name: str, meant: str) -> None:
        with pytest.raises(CommandError, match=f'no subcommand {name}. Did you mean "{meant}"'):
            run(name)

    def test_unknown_subcommand_like_no_other_is_refused_with_all(self) -> None:
        with pytest.raises(CommandError, match=f"no subcommand x. Choose from: {', '.join(NAMES)}"):
            run("x")


@pytest.mark.django_db
class TestJson:
    LISTINGS = (
        "list", "stats", "health", "failures", "failures --all", "operations", "pauses", "breakers",
        "periodic",
        "schedule tests.support.tasks.echoes", "prune --dry-run",
    )  # fmt: skip

    def test_is_taken_by_each_listing(self, driver: Driver) -> None:
        shown = {line.split()[0] for line in self.LISTINGS} | {"show", "erase", "doctor"}

        assert {each.name for each in SUBCOMMANDS if each.lists} == shown

    @pytest.mark.parametrize("line", LISTINGS)
    def test_holds_what_a_listing_tells(self, driver: Driver, line: str) -> None:
        tasks.fails_once_for_all.enqueue()
        driver.drain()

        assert isinstance(values(*line.split()), list | dict)

    def test_of_operations_and_pauses_and_groups(self, driver: Driver) -> None:
        tasks.fails_once_for_all.enqueue()
        driver.drain()
        run("pause", "--queue", "default", "--reason", "a test")
        run("redrive", "--status", "FAILED", "--reason", "again")

        [pause], [operation] = values("pauses"), values("operations")
        [group] = values("failures")

        assert (pause["queue_name"], pause["reason"]) == ("default", "a test")
        assert (operation["verb"], operation["selection"]) == ("REDRIVE", {"status": "FAILED"})
        assert (operation["matched_count"], operation["reason"]) == (1, "again")
        assert group["exception_class_path"] == "builtins.ValueError"

    def test_of_a_schedule(self) -> None:
        told = values("schedule", "tests.support.tasks.always_fails")

        assert told["max_retries"] == 3
        assert told["retries"][0] == {"number": 1, "least": 5.0, "most": 5.0}


@pytest.mark.django_db
class TestSelectionsOfVerbs:
    @pytest.mark.parametrize("verb", ["redrive", "discard", "cancel"])
    def test_unknown_names_are_refused_with_the_nearest(self, verb: str) -> None:
        with pytest.raises(CommandError, match=r"no queue slwo\. Did you mean \"slow\"\?$"):
            run(verb, "--queue", "slwo", "--dry-run")

    def test_take_all_that_the_list_takes(self, driver: Driver) -> None:
        driver.task_in(Status.FAILED)

        assert run("redrive", "--since", "1h", "--retried", "no", "--dry-run") == (
            "1 would be re-driven\n"
        )


class TestProcess:
    """A process of its own, as an operator's shell runs it."""

    @pytest.fixture
    def site(self, tmp_path: Path) -> Any:
        bare_site(tmp_path, apps=APPS)("migrate")

        def run_in(
            *words: str, encoding: str = "utf-8", stdout: int = subprocess.PIPE
        ) -> subprocess.CompletedProcess[bytes]:
            ours = {"DJANGO_SETTINGS_MODULE": "bare", "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
            return subprocess.run(
                [sys.executable, "-m", "django", *words],
                cwd=tmp_path,
                env={**os.environ, **ours, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"},
                stdout=stdout,
                stderr=subprocess.PIPE,
            )

        return run_in

    def test_exit_codes_are_0_for_success_1_for_failure_and_2_for_a_wrong_call(
        self, site: Any
    ) -> None:
        assert site("retrytasks", "list").returncode == 0
        assert site("retrytasks", "show", ID).returncode == 1
        wrong = site("retrytasks", "show", "x")
        assert wrong.returncode == 2
        assert b"Traceback" not in wrong.stderr

    @pytest.mark.parametrize("words", [("health",), ("doctor", "--json")], ids=" ".join)
    def test_reader_that_has_gone_ends_it_quietly(self, site: Any, words: tuple[str, ...]) -> None:
        reader, writer = os.pipe()
        os.close(reader)

        done = site("retrytasks", *words, stdout=writer)
        os.close(writer)

        assert (done.returncode, done.stderr) == (1, b"")

    @pytest.mark.parametrize(
        "words",
        [("list",), ("stats",), ("prune", "--dry-run"), ("top",), ("health",), ("redrive", ID)],
        ids=lambda words: words[0],
    )
    def test_database_that_is_away_is_told_in_a_line(
        self, site: Any, tmp_path: Path, words: tuple[str, ...]
    ) -> None:
        settings = tmp_path / "bare.py"
        settings.write_text(settings.read_text().replace("db.sqlite3", "gone/db.sqlite3"))

        done = site("retrytasks", *words)

        [line] = done.stderr.decode().splitlines()
        assert line.startswith("CommandError: The database cannot be reached: unable to open")
        assert done.returncode == 1

    def test_terminal_without_utf_8_gets_escapes(self, site: Any) -> None:
        made = site("retrytasks", "pause", "--queue", "größe", "--force", encoding="latin-1")
        assert made.returncode == 0, made.stderr
        listed = site("retrytasks", "pauses", encoding="ascii")

        assert listed.returncode == 0, listed.stderr
        assert rb"queue gr\xf6\xdfe, since " in listed.stdout
        assert "queue größe, since ".encode() in site("retrytasks", "pauses").stdout
