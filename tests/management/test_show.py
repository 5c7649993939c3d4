"""``retrytasks show``: one Task and its attempts, in a terminal."""

from __future__ import annotations

import uuid

import pytest
from django.core.management import CommandError

from django_retrytasks import retry_task
from django_retrytasks.management.terminal import printable
from django_retrytasks.models import Attempt, Encoded, FailureGroup, Status, Task
from tests.management.running import run, values
from tests.support import tasks
from tests.support.driver import Driver
from tests.support.unique import ships_once

HERE = "tests.management.test_show"
EVIL = "\x1b[2J\x1b]0;owned\x07\rover\u202egnp"


@retry_task(max_retries=1, countdown=5, jitter=False, timeout=30, sensitive=("pin",))
def pays(order: int, pin: str) -> None:
    raise ConnectionError(f"refused {pin}\nby the bank")


def failed(driver: Driver) -> Task:
    result = pays.enqueue(7, "secret-pin-4711")
    driver.drain()
    return driver.row(result)


@pytest.mark.django_db
class TestTimeline:
    def test_tells_each_attempt_and_what_followed(self, driver: Driver) -> None:
        task = failed(driver)

        lines = run("show", task.pk).splitlines()

        assert lines[0] == f"{HERE}.pays  {task.pk}"
        assert lines[1].startswith("FAILED: Attempt 2 of 2: failed ")
        assert lines[1].endswith(": max_retries reached")
        assert lines[2] == "queue default, priority 0, backend default"
        assert "retries: 1 spent, at most 1; timeout 30 s" in lines
        assert f"failure group: {task.failure_group_id}" in lines
        assert "argument order: 7" in lines
        first = lines.index("") + 1
        assert lines[first].startswith("attempt 1  FAILED after ")
        assert " waited " in lines[first + 1]
        assert lines[first + 2].startswith("  ConnectionError: refused ****")
        assert lines[first + 3] == "  by the bank"
        assert lines[first + 4].startswith("  decision: retry 1 of 1 in 5 s, not before 2")
        assert lines[-1] == "  decision: max_retries reached (1 retry)"

    def test_tells_what_comes_next(self, driver: Driver) -> None:
        waiting = driver.task_in(Status.RETRYING)

        second = run("show", waiting.pk).splitlines()[1]

        assert second.startswith("RETRYING: Attempt 1 of 4 failed; next retry in ")

    def test_tells_progress_with_a_bar(self, driver: Driver) -> None:
        task = driver.task_in(Status.FAILED)
        progress = {"current": 37, "total": 100, "text": f"reads {EVIL}"}
        Task.objects.filter(pk=task.pk).update(progress=progress)

        lines = run("show", task.pk).splitlines()

        [line] = [line for line in lines if line.startswith("progress: ")]
        assert line.startswith("progress: [#######.............] 37 of 100: reads \\x1b[2J")
        assert values("show", task.pk)["progress"] == progress
        Task.objects.filter(pk=task.pk).update(progress={"current": 7, "total": None, "text": ""})
        assert "progress: 7\n" in run("show", task.pk)

    def test_tells_what_a_task_returned(self, driver: Driver) -> None:
        result = tasks.echoes.enqueue({"größe": [1, 2]})
        driver.drain()

        assert 'returned: {"größe": [1, 2]}' in run("show", result.id).splitlines()

    def test_has_tracebacks_and_whole_values_when_asked(self, driver: Driver) -> None:
        task = failed(driver)
        long = tasks.echoes.enqueue("x" * 5000)
        driver.drain()

        assert "Traceback" not in run("show", task.pk)
        assert run("show", task.pk, "--full").count("Traceback (most recent call last)") == 2
        assert "x" * 5000 not in run("show", long.id)
        assert "characters left out" in run("show", long.id).replace("\\n", "")
        assert "x" * 5000 in run("show", long.id, "--full")

    def test_leaves_out_the_first_of_many_attempts(self, driver: Driver) -> None:
        task = failed(driver)
        last = Attempt.objects.filter(task=task).order_by("-number")[0]
        for number in range(3, 61):
            last.pk, last.number = None, number
            last.save(force_insert=True)
        Task.objects.filter(pk=task.pk).update(attempt_count=60)

        printed = run("show", task.pk)

        assert "attempts 1 to 10 are left out" in printed
        assert "attempt 11  " in printed
        assert "attempt 10  " not in printed

    def test_hides_what_the_admin_hides(self, driver: Driver) -> None:
        task = failed(driver)

        for words in ((), ("--full",), ("--json",)):
            assert "4711" not in run("show", task.pk, *words)

    def test_tells_whether_a_unique_task_holds_its_key_and_not_which(self, driver: Driver) -> None:
        result = ships_once.enqueue(1)
        key = driver.row(result).held_key

        assert key is not None
        assert "unique, and holds its key\n" in run("show", result.id)
        assert values("show", result.id)["holds_unique_key"] is True
        assert not {str(key), key.hex} & set(run("show", result.id, "--json").split('"'))
        driver.run_due()
        assert "unique, and its key is free\n" in run("show", result.id)

    def test_is_the_same_as_json(self, driver: Driver) -> None:
        task = failed(driver)

        told = values("show", task.pk)

        assert told["id"] == str(task.pk)
        assert (told["status"], told["stop_reason"]) == ("FAILED", "MAX_RETRIES")
        assert told["arguments"]["order"] == 7
        assert [each["number"] for each in told["attempts"]] == [1, 2]
        assert [each["outcome"] for each in told["attempts"]] == ["FAILED", "FAILED"]
        assert told["attempts"][0]["decision"] == "retry 1 of 1 in 5 s"
        assert told["attempts"][0]["next_run_after"] is not None
        assert told["attempts"][0]["run_seconds"] >= 0


@pytest.mark.django_db
class TestHostileRows:
    def test_are_shown_as_text(self, driver: Driver) -> None:
        task = failed(driver)
        Task.objects.filter(pk=task.pk).update(name=f"tasks.{EVIL}", queue_name=EVIL, backend=EVIL)
        Attempt.objects.filter(task=task).update(
            exception_class_path=EVIL, exception_message=EVIL, decision=EVIL, worker=EVIL,
            traceback=f"{EVIL}\n{EVIL}",
        )  # fmt: skip

        for words in ((), ("--full",)):
            assert all(line == printable(line) for line in run("show", task.pk, *words).split("\n"))
        assert run("show", task.pk, "--json").isascii()

    def test_that_cannot_be_read_are_told(self, driver: Driver) -> None:
        task = driver.task_in(Status.SUCCEEDED)
        Task.objects.filter(pk=task.pk).update(args=broken(), return_value=broken())

        assert 'returned: "unreadable, 9 characters"' in run("show", task.pk)
        assert values("show", task.pk)["arguments"] == {}

    def test_of_an_outcome_of_another_version_are_told(self, driver: Driver) -> None:
        task = driver.task_in(Status.RETRYING)
        Attempt.objects.filter(task=task).update(outcome="VANISHED")

        printed = run("show", task.pk)

        assert "RETRYING: Next retry in " in printed
        assert "attempt 1  VANISHED after " in printed


@pytest.mark.django_db
class TestWrongIds:
    def test_one_that_is_not_there(self) -> None:
        pk = uuid.uuid4()

        with pytest.raises(CommandError) as refused:
            run("show", pk)

        assert str(refused.value) == (
            f"there is no Task {pk}. Finished Tasks are deleted after their RETENTION."
        )

    def test_one_of_a_failure_group(self, driver: Driver) -> None:
        failed(driver)
        pk = FailureGroup.objects.get().pk

        with pytest.raises(CommandError, match=f"fingerprint of a failure group: .*{pk}"):
            run("show", pk)

    def test_one_that_is_none(self) -> None:
        with pytest.raises(CommandError, match="argument id: 'abc' is no id: give a UUID"):
            run("show", "abc")


def broken() -> Encoded:
    return Encoded("[not json")
