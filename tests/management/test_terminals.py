"""What the command prints is text: no name and no reason moves the cursor or turns a line."""

from __future__ import annotations

import unicodedata
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from hypothesis import given
from hypothesis import strategies as st

from django_retrytasks.lifecycle import pauses
from django_retrytasks.management.terminal import printable
from django_retrytasks.models import FailureGroup, Operation, Pause
from django_retrytasks.operators import operations
from tests.support import tasks
from tests.support.driver import Driver

# It clears the screen, sets the window's title, rings, begins a line anew and turns it round.
EVIL = "\x1b[2J\x1b]0;owned\x07\x9b1m\roverwritten\u202egnp\u2066\u200b\x7f\x08"
SHOWN = r"\x1b[2J\x1b]0;owned\x07\x9b1m\roverwritten\u202egnp\u2066\u200b\x7f\x08"


def run(*words: str) -> list[str]:
    output = StringIO()
    call_command("retrytasks", *words, stdout=output)
    return output.getvalue().splitlines()


class TestPrintable:
    @pytest.mark.parametrize(
        ("line", "expected"),
        [
            ("größe 注文 سلام 😀 naïve C:\\x", "größe 注文 سلام 😀 naïve C:\\x"),
            ("no\u00a0break", "no\u00a0break"),
            (EVIL, SHOWN),
            ("a\nb\tc\0d\u2028e\x85f", r"a\nb\tc\x00d\u2028e\x85f"),
            ("half \ud83d of one", r"half \ud83d of one"),
            ("tag \U000e0041", r"tag \U000e0041"),
        ],
    )
    def test_escapes_what_a_terminal_obeys(self, line: str, expected: str) -> None:
        assert printable(line) == expected

    @given(st.text())
    def test_leaves_nothing_that_is_not_seen(self, line: str) -> None:
        categories = {unicodedata.category(each) for each in printable(line)}

        assert categories.isdisjoint({"Cc", "Cf", "Cs", "Zl", "Zp"})


@pytest.mark.django_db
class TestTheCommand:
    @pytest.fixture(autouse=True)
    def _rows_of_somebody_evil(self, driver: Driver) -> None:
        tasks.fails_once_for_all.enqueue()
        driver.drain()
        FailureGroup.objects.update(name=f"tasks.{EVIL}", exception_class_path=f"errors.{EVIL}")
        operation = operations.start("REDRIVE", {"status": "FAILED"}, by="ada")
        operations.stop(operation.pk, f"by ada: {EVIL}")
        for what in ({"queue_name": f"queue {EVIL}"}, {"name": f"tasks.{EVIL}"}):
            pauses.pause(**what, by=EVIL, reason=f"because {EVIL}")
        tasks.succeeds.using(queue_name=f"queue {EVIL}").enqueue()

    @pytest.mark.parametrize(
        ("words", "told"),
        [
            (["pauses"], [f"queue queue {SHOWN}, ", f"task tasks.{SHOWN}, "]),
            (["pauses"], [f": {SHOWN}, because {SHOWN}"]),
            (["operations"], [f"(by ada: {SHOWN})"]),
            (["failures"], [SHOWN]),
            (["failures", "--all"], [SHOWN]),
            (["health"], [f"queue {SHOWN} ", f"paused: tasks.{SHOWN}"]),
            (
                ["pause", "--force", "--task", f"tasks.{EVIL}"],
                [f"tasks.{SHOWN} was paused already"],
            ),
            (["resume", "--queue", f"queue {EVIL}"], [f"queue {SHOWN} is resumed"]),
        ],
    )
    def test_shows_names_and_reasons_as_text(self, words: list[str], told: list[str]) -> None:
        lines = run(*words)

        assert [each for each in told if not any(each in line for line in lines)] == []
        assert all(line == printable(line) for line in lines)

    def test_prints_json_in_ascii(self) -> None:
        assert all(line.isascii() and line.isprintable() for line in run("health", "--json"))

    @pytest.mark.parametrize(
        "words",
        [
            ["resume", "--queue", f"other {EVIL}"],
            ["pause", "--task", f"other.{EVIL}"],
            ["schedule", f"orders.tasks.{EVIL}"],
            ["redrive", "--task", EVIL, "--status", EVIL],
            ["redrive", "--search", f"no {EVIL}"],
        ],
    )
    def test_shows_errors_as_text(self, words: list[str]) -> None:
        with pytest.raises(CommandError) as caught:
            run(*words)

        assert all(line == printable(line) for line in str(caught.value).split("\n"))

    def test_goes_on_to_store_what_was_given(self) -> None:
        assert Pause.objects.filter(reason=f"because {EVIL}").count() == 2
        assert Operation.objects.get().stopped_because == f"by ada: {EVIL}"
