"""``retrytasks erase``: nothing of a person is left, and nothing of anybody else is lost."""

from __future__ import annotations

import sys
from io import StringIO
from typing import Any

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command

from django_retrytasks import Breaker, lifecycle, retry_task
from django_retrytasks.management import terminal
from django_retrytasks.models import Attempt, FailureGroup, OpenBreaker, Operation, Status, Task
from django_retrytasks.operators import erasing, operations
from tests.management.running import run, run_both, values
from tests.support.driver import Driver

HERE = "tests.management.test_erase"
ADA, BOB = "ada@shop.example", "bob@shop.example"
FAILING: set[str] = set()


@retry_task(max_retries=1, countdown=5, search_key="email")
def writes_to(email: str, text: str = "") -> str:
    """Write to somebody; it fails for those that a test names."""
    if email in FAILING:
        raise ConnectionError(f"no mailbox {email}")
    return f"written to {email}"


@retry_task(search_key="email", breaker=Breaker(on=ConnectionError, by="email"))
def breaks_for(email: str) -> None:
    """Call the mailbox of somebody."""


@retry_task(max_retries=0)
def files(text: str) -> None:
    raise LookupError(text)


class Answers(StringIO):
    """A terminal at which somebody answers."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _mailboxes() -> Any:
    FAILING.clear()
    yield
    FAILING.clear()


def stored() -> str:
    """Return all that the rows of this package hold, as text."""
    models = apps.get_app_config("retrytasks").get_models()
    return repr([list(model._base_manager.values()) for model in models])


def announce(driver: Driver) -> None:
    """Run internal Tasks until they are finished, and whatever is due beside them."""
    for _ in range(20):
        driver.run_due()
        if not Task.objects.unfinished().filter(internal=True).exists():
            return
    raise AssertionError("internal Tasks do not end")


def erase(*words: str) -> dict[str, int]:
    told: dict[str, int] = values("erase", "--search", *words, "--no-input")
    return told


@pytest.mark.django_db
class TestErase:
    def test_leaves_nothing_of_a_person(self, driver: Driver) -> None:
        FAILING.add(ADA)
        writes_to.enqueue(ADA, "Dear Ada")
        driver.drain()
        FAILING.clear()
        writes_to.enqueue(ADA, "Dear Ada")
        driver.drain()
        writes_to.enqueue(ADA, "Dear Ada")
        begun = operations.start("CANCEL", {"search": f"key: {ADA}"}, reason=f"{ADA} asked")
        operations.stop(begun.pk, f"by eve: {ADA} asked again")
        driver.drain()
        assert stored().count(ADA) > 10

        told = erase(ADA)

        assert told == {
            "tasks": 3,
            "attempts": 4,
            "failure_groups": 1,
            "operations": 1,
            "internal_tasks": told["internal_tasks"],
            "breakers": 0,
        }
        assert told["internal_tasks"] >= 2
        assert ADA not in stored()
        assert "Dear Ada" not in stored()

    @pytest.mark.parametrize("key", [ADA, "7"], ids=["address", "short"])
    @pytest.mark.parametrize("state", ["open", "closed"])
    def test_leaves_nothing_of_a_breaker_for_a_person(
        self, driver: Driver, key: str, state: str
    ) -> None:
        breaks_for.enqueue(key)
        run("breakers", "open", f"{HERE}.breaks_for", "--key", key)
        announce(driver)
        if state == "closed":
            run("breakers", "close", f"{HERE}.breaks_for", "--key", key)
            announce(driver)
        run("breakers", "open", f"{HERE}.breaks_for", "--key", BOB)
        announce(driver)
        assert f"({key})" in stored()
        counted = values("erase", "--search", key, "--dry-run")

        told = erase(key)

        assert told == counted
        assert (told["tasks"], told["breakers"]) == (1, int(state == "open"))
        assert f"({key})" not in stored()
        assert f"'{key}'" not in stored()
        assert OpenBreaker.objects.get().key == BOB
        assert f"({BOB})" in FailureGroup.objects.get(message__contains=BOB).message

    def test_lets_others_go_on_behind_a_breaker_for_a_person(self, driver: Driver) -> None:
        run("breakers", "open", f"{HERE}.breaks_for", "--key", ADA)
        breaks_for.enqueue(ADA)
        other = breaks_for.enqueue(ADA)
        Task.objects.filter(pk=other.id).update(search_key=BOB)
        driver.run_due()
        assert all(task.is_behind_breaker for task in Task.objects.filter(name=other.task.name))

        erase(ADA)
        driver.run_due()

        assert Task.objects.get(pk=other.id).status == Status.SUCCEEDED

    def test_leaves_others_as_they_are(self, driver: Driver) -> None:
        FAILING.update({ADA, BOB})
        kept: list[Any] = [writes_to.enqueue(BOB), files.enqueue("a paper")]
        driver.drain()
        writes_to.enqueue(ADA)
        operations.start("CANCEL", {"search": f"key: {BOB}"}, reason="Bob asked")
        before = list(Task.objects.filter(internal=False).exclude(search_key=ADA).values())

        erase(ADA)

        assert list(Task.objects.filter(internal=False).values()) == before
        assert Attempt.objects.filter(task__in=[one.id for one in kept]).count() == 3
        assert Operation.objects.get().selection == {"search": f"key: {BOB}"}
        group = FailureGroup.objects.get(name=f"{HERE}.writes_to")
        assert (group.message, str(group.sample_id)) == (f"no mailbox {BOB}", kept[0].id)

    @pytest.mark.parametrize("other", ["Ada@shop.example", "àda@shop.example", "AŠA@shop.example"])
    def test_leaves_a_key_that_a_database_may_take_for_this_one(self, other: str) -> None:
        kept = writes_to.enqueue(other)
        writes_to.enqueue(ADA)

        assert erase(ADA)["tasks"] == 1
        with pytest.raises(CommandError, match="nothing has the search key"):
            erase(ADA)

        assert [str(task.pk) for task in Task.objects.all()] == [kept.id]

    def test_takes_a_message_from_a_group_that_others_share(self, driver: Driver) -> None:
        FAILING.update({ADA, BOB})
        writes_to.enqueue(ADA)
        driver.drain()
        last = writes_to.enqueue(BOB)
        driver.drain()

        erase(ADA)

        group = FailureGroup.objects.get()
        assert (group.message, str(group.sample_id)) == ("[erased]", last.id)
        assert group.failure_count == 2

    def test_takes_messages_that_name_the_key_in_other_functions(self, driver: Driver) -> None:
        files.enqueue(f"no paper of {ADA}, and none of ada@shop.example.org")
        files.enqueue("no paper of nada@shop.example")
        writes_to.enqueue(ADA)
        driver.drain()

        erase(ADA)

        assert [group.message for group in FailureGroup.objects.all()] == ["[erased]"]

    def test_takes_traces_of_tasks_that_are_pruned(self, driver: Driver) -> None:
        FAILING.add(ADA)
        writes_to.enqueue(ADA)
        driver.drain()
        Task.objects.all().delete()
        assert ADA in stored()

        assert erase(ADA)["failure_groups"] == 1
        assert ADA not in stored()
        with pytest.raises(CommandError, match="nothing has the search key"):
            erase(ADA)

    def test_short_key_is_looked_for_in_its_own_functions_alone(self, driver: Driver) -> None:
        FAILING.add("7")
        writes_to.enqueue("7")
        files.enqueue("no paper 7")
        driver.drain()
        operations.start("CANCEL", {"search": "key: 7"}, reason="7 asked")

        erase("7")

        messages = {group.name: group.message for group in FailureGroup.objects.all()}
        assert messages == {f"{HERE}.writes_to": "[erased]", f"{HERE}.files": "no paper 7"}
        operation = Operation.objects.get()
        assert (operation.selection, operation.reason) == ({"search": "[erased]"}, "7 asked")
        assert operation.status == Operation.Status.STOPPED

    def test_works_through_many_in_short_transactions(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(erasing, "CHUNK", 2)
        monkeypatch.setattr(terminal, "NOTE_EVERY", 0)
        writes_to.enqueue_many([(ADA,)] * 5)

        output, errors = run_both("erase", "--search", ADA, "--no-input")

        assert output.startswith("erased: Tasks 5, attempts 0, failure groups 0, ")
        noted = [line.split()[0] for line in errors.splitlines() if "Tasks erased so far" in line]
        assert noted == ["0", "2", "4", "5"]
        assert not Task.objects.exists()

    def test_dry_run_counts_the_same_and_changes_nothing(self, driver: Driver) -> None:
        FAILING.add(ADA)
        writes_to.enqueue(ADA)
        driver.drain()
        operations.start("CANCEL", {"search": f"key: {ADA}"})
        before = stored()

        counted = values("erase", "--search", ADA, "--dry-run")

        assert stored() == before
        assert counted == erase(ADA)
        assert counted["tasks"] == 1

    def test_announcement_of_an_erased_task_ends(self, driver: Driver) -> None:
        FAILING.add(ADA)
        writes_to.using(max_retries=0).enqueue(ADA)
        driver.run_due()

        erase(ADA)
        driver.drain()

        assert not Task.objects.unfinished().exists()
        assert ADA not in stored()


@pytest.mark.django_db
class TestRunningTasks:
    def test_are_refused(self, driver: Driver) -> None:
        writes_to.enqueue(ADA)
        driver.claim()

        with pytest.raises(CommandError, match=r"^running Tasks: 1\. Wait"):
            erase(ADA)

        assert Task.objects.get().status == Status.RUNNING

    def test_are_cancelled_first_when_asked(self, driver: Driver) -> None:
        writes_to.enqueue(ADA)
        claim = driver.claim()

        assert erase(ADA, "--cancel")["tasks"] == 1
        lifecycle.settle([driver.ending(claim.tasks[0])])

        assert not Task.objects.exists()
        assert not Attempt.objects.exists()

    def test_are_told_by_a_dry_run(self, driver: Driver) -> None:
        writes_to.enqueue_many([(ADA,), (ADA,)])
        driver.claim(limit=1)
        output = StringIO()

        with pytest.raises(CommandError, match=r"^running Tasks: 1\. Wait") as told:
            call_command("retrytasks", "erase", "--search", ADA, "--dry-run", stdout=output)

        assert told.value.returncode == 1
        assert output.getvalue().startswith("would be erased: Tasks 1, attempts 0, ")

    @pytest.mark.parametrize("is_started", [True, False], ids=["started", "claimed"])
    def test_are_counted_by_a_dry_run_that_would_cancel_them(
        self, driver: Driver, is_started: bool
    ) -> None:
        writes_to.enqueue(ADA)
        driver.claim()
        if not is_started:
            Task.objects.update(last_attempted_at=None)
        before = stored()

        counted = values("erase", "--search", ADA, "--cancel", "--dry-run")

        assert stored() == before
        assert (counted["tasks"], counted["attempts"]) == (1, int(is_started))
        assert counted == erase(ADA, "--cancel")

    def test_one_that_begins_while_the_answer_is_awaited_is_left_and_told(
        self, driver: Driver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        writes_to.enqueue_many([(ADA,), (ADA,)])

        class Slow(Answers):
            def readline(self, *args: Any) -> Any:
                driver.claim(limit=1)
                return super().readline(*args)

        monkeypatch.setattr(sys, "stdin", Slow(f"{ADA}\n"))

        with pytest.raises(CommandError, match="or were enqueued meanwhile: 1"):
            run("erase", "--search", ADA)

        assert [task.status for task in Task.objects.all()] == [Status.RUNNING]


@pytest.mark.django_db
class TestConfirmation:
    @pytest.fixture(autouse=True)
    def _tasks(self) -> None:
        writes_to.enqueue(ADA)

    def test_is_the_key_once_more(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(sys, "stdin", Answers(f"{ADA}\n"))

        assert run("erase", "--search", ADA).startswith("erased: Tasks 1, ")
        asked = capsys.readouterr().out
        assert f"Tasks of {ADA} to erase for good: 1; unfinished, which will not run: 1." in asked

    @pytest.mark.parametrize("answer", ["yes\n", "\n", f"{BOB}\n"])
    def test_another_answer_erases_nothing(
        self, monkeypatch: pytest.MonkeyPatch, answer: str
    ) -> None:
        monkeypatch.setattr(sys, "stdin", Answers(answer))

        with pytest.raises(CommandError, match="nothing was erased: the answer was not the key"):
            run("erase", "--search", ADA)

        assert Task.objects.exists()

    @pytest.mark.parametrize("interrupt", [EOFError, KeyboardInterrupt], ids=["ctrl-d", "ctrl-c"])
    def test_no_answer_erases_nothing(
        self, monkeypatch: pytest.MonkeyPatch, interrupt: type[BaseException]
    ) -> None:
        class Interrupted(Answers):
            def readline(self, *args: Any) -> Any:
                raise interrupt

        monkeypatch.setattr(sys, "stdin", Interrupted())

        with pytest.raises(CommandError, match="nothing was erased: there was no answer") as told:
            run("erase", "--search", ADA)

        assert told.value.returncode == 1
        assert Task.objects.exists()

    def test_needs_somebody_to_answer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "stdin", StringIO(f"{ADA}\n"))

        with pytest.raises(CommandError, match="nobody is there to confirm: give --no-input"):
            run("erase", "--search", ADA)

        assert Task.objects.exists()

    @pytest.mark.parametrize("key", ["ada", "ADA@SHOP.EXAMPLE.ORG", "%", "ada@shop.example x"])
    def test_key_is_whole(self, key: str) -> None:
        with pytest.raises(CommandError, match="nothing has the search key "):
            erase(key)

    def test_empty_key_is_refused(self) -> None:
        with pytest.raises(CommandError, match="the search key is empty"):
            erase(" ")
