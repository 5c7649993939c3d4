"""``retrytasks list``: the selections of the admin's list, in a terminal."""

from __future__ import annotations

import pytest
from django.core.management import CommandError

from django_retrytasks import retry_task
from django_retrytasks.management.arguments import SELECTED
from django_retrytasks.management.terminal import printable
from django_retrytasks.models import Status, Task
from django_retrytasks.operators.selections import NARROWS
from tests.management.running import run, run_both, values
from tests.support import tasks
from tests.support.driver import Driver

HERE = "tests.management.test_list"
EVIL = "\x1b[2J\x1b]0;owned\x07\rover\u202egnp"


@retry_task(max_retries=0, sensitive=("pin",), search_key="email")
def greets(email: str, pin: str = "", *, token: str = "") -> None:
    raise LookupError(f"nobody at {email}")


def ids(*words: object) -> set[str]:
    return {row["id"] for row in values("list", *words)}


@pytest.mark.django_db
class TestSelections:
    def test_are_those_of_the_admin(self) -> None:
        # --since does what "within" does.
        assert {*SELECTED, "within"} == set(NARROWS)

    @pytest.mark.parametrize(
        ("words", "chosen"),
        [
            ((), "waits fails done"),
            (("--status", "FAILED"), "fails"),
            (("--status", "failed"), "fails"),
            (("--queue", "emails"), "waits"),
            (("--task", f"{HERE}.greets"), "fails"),
            (("--error", "builtins.LookupError"), "fails"),
            (("--search", "ada@shop.example"), "fails"),
            (("--search", "key: ada@shop.example"), "fails"),
            (("--since", "1h"), "waits fails done"),
            (("--since", "2100-01-01"), ""),
            (("--retried", "yes"), ""),
            (("--retried", "no", "--status", "SUCCEEDED"), "done"),
            (("--stuck",), ""),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
    )
    def test_choose_tasks(self, driver: Driver, words: tuple[str, ...], chosen: str) -> None:
        made = {
            "fails": greets.enqueue("ada@shop.example"),
            "done": tasks.succeeds.enqueue(),
        }
        driver.drain()
        made["waits"] = tasks.echoes.using(queue_name="emails").enqueue(1)

        assert ids(*words) == {made[name].id for name in chosen.split()}

    def test_of_internal_tasks(self, driver: Driver) -> None:
        greets.enqueue("ada@shop.example")
        driver.drain()

        assert len(ids()) == 1
        assert len(ids("--internal", "yes")) == Task.objects.filter(internal=True).count() > 0

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (("--status", "FAILD"), "there is no status 'FAILD'. Did you mean \"FAILED\"?"),
            (("--queue", "emals"), 'there is no queue emals. Did you mean "emails"?'),
            (
                ("--task", "tests.support.tasks.ecoes"),
                'there is no function tests.support.tasks.ecoes. Did you mean "tests.support.tas',
            ),
            (("--group", "abc"), "'abc' is no fingerprint of a failure group"),
            (("--search", " "), "the search is empty"),
            (("--since", "soon"), "'soon' is no time: give such as 30m, 24h, 7d, or 2026-01"),
            (("--limit", "0"), "'0' is no count: give a whole number from 1 to 10000"),
        ],
        ids=lambda value: value[0] if isinstance(value, tuple) else "",
    )
    def test_that_are_wrong_are_refused(self, words: tuple[str, ...], message: str) -> None:
        tasks.echoes.using(queue_name="emails").enqueue(1)

        with pytest.raises(CommandError) as refused:
            run("list", *words)

        assert message in str(refused.value)


@pytest.mark.django_db
class TestLines:
    def test_tell_state_attempts_error_and_arguments(self, driver: Driver) -> None:
        failed = greets.enqueue("ada@shop.example")
        driver.drain()

        heading, line = run("list").splitlines()

        assert heading.split() == (
            ["id", "status", "attempts", "when", "queue", "function", "last", "error", "arguments"]
        )
        assert line.startswith(f"{failed.id}  FAILED  1 / 1     failed ")
        assert f"default  {HERE}.greets  builtins.LookupError" in line
        assert line.endswith('email="ada@shop.example"')

    def test_hide_what_the_admin_hides(self, driver: Driver) -> None:
        greets.enqueue("ada@shop.example", "4711", token="s3cret-token")

        printed = run("list") + run("list", "--json")

        assert "4711" not in printed
        assert "s3cret" not in printed
        assert printed.count("pin=") == 2

    def test_are_cut_with_a_note_on_the_standard_error(self) -> None:
        tasks.echoes.enqueue_many([(number,) for number in range(3)])

        output, errors = run_both("list", "--limit", "2")

        assert len(output.splitlines()) == 3
        assert errors == "There are more than these 2: give --limit, or select fewer.\n"
        assert run_both("list", "--limit", "2", "--verbosity", "0")[1] == ""
        assert run_both("list", "--limit", "3")[1] == ""

    def test_say_that_there_is_none(self) -> None:
        assert run("list") == "no Task\n"
        assert values("list") == []

    def test_of_a_row_by_hand_are_text(self, driver: Driver) -> None:
        made = driver.task_in(Status.FAILED)
        Task.objects.filter(pk=made.pk).update(
            name=f"tasks.{EVIL}", queue_name=f"q{EVIL}", worker=EVIL, search_key=EVIL
        )

        lines = run("list").splitlines()

        assert r"tasks.\x1b[2J\x1b]0;owned\x07\rover\u202egnp" in lines[1]
        assert len(lines) == 2
        assert all(line == printable(line) for line in lines)
        assert run("list", "--json").isascii()
