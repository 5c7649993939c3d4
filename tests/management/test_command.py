"""``manage.py retrytasks``."""

from __future__ import annotations

import json
import re
import uuid
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from django_retrytasks import retry_task
from django_retrytasks.lifecycle.periodic import switch_off
from django_retrytasks.management.terminal import moment
from django_retrytasks.models import Operation, Status, Task
from tests.support import tasks
from tests.support.declarations import RARE, come, declared, pass_time, row_of
from tests.support.driver import Driver, wake_ups
from tests.support.unique import ships_once


def wait_a_day(exception: BaseException, task_result: object) -> float:
    return 86_400


@retry_task(max_retries=4, countdown=1.5, backoff=2, max_countdown=5, retry_for=3600)
def jittered() -> None:
    """Nothing: its policy is what counts."""


@retry_task(max_retries=30, countdown=1, backoff=1, jitter=False)
def often() -> None:
    """Nothing: its policy is what counts."""


@retry_task(max_retries=None, retry_for=60)
def for_ever() -> None:
    """Nothing: its policy is what counts."""


@retry_task(backoff=wait_a_day)
def by_callable() -> None:
    """Nothing: its policy is what counts."""


def run(*words: object) -> str:
    output = StringIO()
    call_command("retrytasks", *map(str, words), stdout=output)
    return output.getvalue()


class TestSchedule:
    def test_prints_least_most_and_cumulative_seconds_of_each_retry(self) -> None:
        assert run("schedule", "tests.management.test_command.jittered").splitlines() == [
            "tests.management.test_command.jittered: 4 retries at most",
            "retry       least        most    cumulative",
            "    1        0.75         1.5           1.5",
            "    2         1.5           3           4.5",
            "    3         2.5           5           9.5",
            "    4         2.5           5          14.5",
            "In seconds; cumulative is the most waited so far, run times left out.",
            "No retry begins later than 3600 s after the first start.",
        ]

    def test_says_how_many_of_many_retries_it_shows(self) -> None:
        lines = run("schedule", "tests.management.test_command.often").splitlines()

        assert lines[0] == "tests.management.test_command.often: 30 retries at most"
        assert lines[26] == "   25           1           1            25"
        assert lines[-1] == "The first 25 retries are shown."

    def test_says_that_a_task_is_retried_for_ever(self) -> None:
        lines = run("schedule", "tests.management.test_command.for_ever").splitlines()

        assert lines[0] == "tests.management.test_command.for_ever: retried for ever"
        assert lines[-2] == "The first 25 retries are shown."

    def test_says_that_a_callable_decides_each_wait(self) -> None:
        assert run("schedule", "tests.management.test_command.by_callable").splitlines() == [
            "tests.management.test_command.by_callable: 3 retries at most",
            "Each wait is decided by tests.management.test_command.wait_a_day when the attempt has "
            "failed.",
        ]

    def test_says_that_a_task_is_never_retried(self) -> None:
        path = "tests.support.tasks.fails_once_for_all"

        assert run("schedule", path) == f"{path}: never retried\n"

    @pytest.mark.parametrize(
        ("path", "message"),
        [
            ("gone.tasks.send", "gone.tasks.send cannot be imported"),
            ("tests.support.tasks.note", "tests.support.tasks.note is no task but a function"),
            ("nodots", "nodots cannot be imported"),
        ],
    )
    def test_names_what_is_no_task(self, path: str, message: str) -> None:
        with pytest.raises(CommandError, match=message):
            run("schedule", path)


@pytest.mark.django_db
class TestSweep:
    def test_rings_for_a_task_whose_wake_up_was_lost(self) -> None:
        tasks.succeeds.enqueue()
        for row in wake_ups():
            row.delete()

        output = run("sweep")

        assert output == "Swept.\n"
        assert len(wake_ups()) == 2


@pytest.mark.django_db
class TestRedriveAndDiscard:
    def test_redrives_failed_tasks_and_reports_whom_it_skipped(self, driver: Driver) -> None:
        failed, done = driver.task_in(Status.FAILED), driver.task_in(Status.SUCCEEDED)

        output = run("redrive", failed.pk, done.pk, uuid.uuid4())

        assert output == "1 re-driven, 2 skipped (not FAILED, or no such Task)\n"
        assert driver.row(failed).status == Status.PENDING
        assert driver.row(done).status == Status.SUCCEEDED

    def test_names_the_task_that_holds_the_unique_key_of_another(self, driver: Driver) -> None:
        failed = [ships_once.enqueue(order, fails=True) for order in (1, 2)]
        driver.run_due()
        holder = ships_once.enqueue(1)
        refused = f"{failed[0].id} is not re-driven: Task {holder.id} holds its unique key"

        done, *lines = run("redrive", *[result.id for result in failed]).splitlines()
        assert done == "1 re-driven, 1 skipped (not FAILED, or no such Task)"
        assert lines == [refused]
        with pytest.raises(CommandError, match=refused):
            run("redrive", failed[0].id)

    def test_discards_tasks_that_wait_or_have_failed(self, driver: Driver) -> None:
        dropped = [driver.task_in(Status.PENDING), driver.task_in(Status.FAILED)]

        output = run("discard", *[task.pk for task in dropped])

        assert output == "2 discarded, 0 skipped\n"
        assert {driver.row(task).status for task in dropped} == {Status.DISCARDED}

    def test_an_id_given_twice_counts_once(self, driver: Driver) -> None:
        failed = driver.task_in(Status.FAILED)

        assert run("redrive", failed.pk, failed.pk.hex) == "1 re-driven, 0 skipped\n"

    @pytest.mark.parametrize(
        ("verb", "message"),
        [
            ("redrive", "0 re-driven, 1 skipped (not FAILED, or no such Task)"),
            (
                "discard",
                "0 discarded, 1 skipped (not PENDING or RETRYING or FAILED, or no such Task)",
            ),
        ],
    )
    def test_fails_with_exit_code_1_when_nothing_matched(
        self, driver: Driver, verb: str, message: str
    ) -> None:
        task = driver.task_in(Status.SUCCEEDED)

        with pytest.raises(CommandError) as caught:
            run(verb, task.pk)

        assert str(caught.value) == message
        assert caught.value.returncode == 1

    @pytest.mark.parametrize("more", [(), ("--dry-run",)], ids=["", "dry-run"])
    def test_fails_and_starts_no_operation_when_no_task_of_a_selection_matched(
        self, driver: Driver, more: tuple[str, ...]
    ) -> None:
        driver.task_in(Status.SUCCEEDED)

        with pytest.raises(CommandError, match=r"^no Task to be re-driven matches$") as caught:
            run("redrive", "--status", "FAILED", *more)

        assert caught.value.returncode == 1
        assert not Operation.objects.exists()

    @pytest.mark.parametrize(
        ("words", "status", "told"),
        [
            (("redrive",), Status.FAILED, "re-driven"),
            (("discard",), Status.FAILED, "discarded"),
            (("run-now",), Status.PENDING, "made due"),
            (("snooze", "--for", "1h"), Status.PENDING, "snoozed"),
            (("cancel", "--reason", "no need"), Status.RUNNING, "cancelled"),
        ],
        ids=lambda value: value[0] if isinstance(value, tuple) else "",
    )
    def test_dry_run_with_ids_only_counts(
        self, driver: Driver, words: tuple[str, ...], status: Status, told: str
    ) -> None:
        task = driver.task_in(status)
        before = Task.objects.values().get(pk=task.pk)

        output = run(*words, task.pk, uuid.uuid4(), "--dry-run")

        assert output.startswith(f"1 would be {told}, 1 would be skipped (not ")
        assert Task.objects.values().get(pk=task.pk) == before

    def test_dry_run_with_ids_leaves_out_tasks_whose_unique_key_is_held(
        self, driver: Driver
    ) -> None:
        failed = [ships_once.enqueue(order, fails=True) for order in (1, 2)]
        driver.run_due()
        failed.append(ships_once.enqueue(2, fails=True))
        driver.run_due()
        ships_once.enqueue(1)
        ids = [result.id for result in failed]

        counted = run("redrive", *ids, "--dry-run")

        assert counted.startswith("1 would be re-driven, 2 would be skipped")
        assert run("redrive", *ids).startswith("1 re-driven, 2 skipped")

    @pytest.mark.parametrize(
        "words",
        [
            ("redrive", "--canary", "1"),
            ("redrive", "--canary", "0"),
            ("discard", "--per-minute", "60"),
            ("discard", "--reason", "asked by support"),
        ],
        ids=" ".join,
    )
    def test_options_of_selections_are_refused_beside_ids(
        self, driver: Driver, words: tuple[str, ...]
    ) -> None:
        task = driver.task_in(Status.FAILED)

        with pytest.raises(CommandError, match=f"^{words[1]} needs a selection") as caught:
            run(*words, task.pk)

        assert caught.value.returncode == 2
        assert driver.row(task).status == Status.FAILED


class TestUsage:
    def test_a_malformed_id_is_named(self) -> None:
        with pytest.raises(CommandError, match="argument id: 'abc' is no id: give a UUID"):
            run("redrive", "abc")

    @pytest.mark.parametrize("words", [("redrive",), ("discard",)])
    def test_an_id_or_a_selection_is_required(self, words: tuple[str, ...]) -> None:
        with pytest.raises(CommandError, match="give either ids or a selection"):
            run(*words)

    @pytest.mark.parametrize("words", [("mute",), ("resolve",), ("stop",)])
    def test_an_id_is_required(self, words: tuple[str, ...]) -> None:
        with pytest.raises(CommandError, match="the following arguments are required: id"):
            run(*words)

    def test_a_subcommand_is_required(self) -> None:
        with pytest.raises(CommandError, match="the following arguments are required: subcommand"):
            run()

    def test_help_lists_every_subcommand(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as caught:
            run("--help")

        assert caught.value.code == 0
        printed = capsys.readouterr().out
        for name in ("schedule", "sweep", "redrive", "discard"):
            assert f"\n    {name} " in printed


@pytest.mark.django_db
@pytest.mark.usefixtures("no_declarations")
class TestPeriodic:
    def test_each_is_listed_with_its_calendar_and_its_runs(self, driver: Driver) -> None:
        declared("report", args=[1])
        pass_time()
        come(driver)
        switch_off(declared("weekdays", cron="0 3 * * 1-5", args=[1]).pk, by="ada")
        latest = row_of().last_run_at
        assert latest is not None

        heading, first, second = run("periodic").splitlines()

        assert " ".join(heading.split()) == "state name calendar next run last run last Task task"
        times = [moment(at) for at in (latest + RARE, latest)]
        shown = ["on", "report", "every 300 d", *times, "SUCCEEDED", "tests.support.tasks.echoes"]
        assert re.split(r" {2,}", first) == shown
        assert re.split(r" {2,}", second)[:6] == ["off", "weekdays", "0 3 * * 1-5", "-", "-", "-"]
        found = json.loads(run("periodic", "--json"))
        assert [(row["name"], row["state"]) for row in found] == [
            ("report", "on"), ("weekdays", "off")
        ]  # fmt: skip
        assert found[1]["switched_off_by"] == "ada"

    def test_without_any_it_says_so(self) -> None:
        assert run("periodic") == "no periodic Task\n"
