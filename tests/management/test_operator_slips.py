"""What an operator gets who slips: a name that is none, an id that is none, a site not migrated."""

from __future__ import annotations

import os
import shlex
import uuid
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.db.utils import DatabaseError
from pytest_django import Settings

from django_retrytasks import lifecycle
from django_retrytasks.database import writing
from django_retrytasks.lifecycle import groups
from django_retrytasks.management.commands.retrytasks import Command
from django_retrytasks.management.subcommands import SUBCOMMANDS
from django_retrytasks.models import OpenBreaker, Operation, Pause, Status, Task
from django_retrytasks.operators import operations
from tests.checks.sites import bare_site
from tests.support import tasks
from tests.support.driver import Driver

UNMIGRATED = (
    "The tables of django-retrytasks or django-q2 are missing or out of date. Run manage.py "
    "migrate."
)
ECHOES = "tests.support.tasks.echoes"
ROUTER = """
class Tasks:
    def db_for_read(self, model, **hints):
        return "tasks" if model._meta.app_label in ("retrytasks", "django_q") else None

    db_for_write = db_for_read
"""
EXAMPLES = [shlex.split(subcommand.examples[0]) for subcommand in SUBCOMMANDS]


def run(*words: str) -> str:
    output = StringIO()
    call_command("retrytasks", *words, stdout=output)
    return output.getvalue()


@pytest.mark.django_db
class TestNames:
    def test_queue_that_is_none_is_refused_with_the_nearest(self) -> None:
        tasks.echoes.using(queue_name="letters").enqueue(1)

        with pytest.raises(CommandError) as refused:
            run("pause", "--queue", "leters")

        assert str(refused.value) == (
            'there is no queue leters. Did you mean "letters"? Give --force for a queue that will '
            "exist later."
        )
        assert not Pause.objects.exists()

    def test_queue_like_no_other_is_refused_with_all(self) -> None:
        with pytest.raises(CommandError, match=r"no queue nope\. Choose from: .*default.*slow"):
            run("pause", "--queue", "nope")

    def test_function_that_is_none_is_refused_with_the_nearest(self) -> None:
        with pytest.raises(
            CommandError, match=r'no function tests.support.tasks.ecoes\. Did you mean "t'
        ):
            run("pause", "--task", "tests.support.tasks.ecoes")

    @pytest.mark.parametrize(
        "words", [("--queue", "nope"), ("--task", "orders.tasks.to_come")], ids=["queue", "task"]
    )
    def test_force_pauses_a_name_that_will_exist_later(self, words: tuple[str, ...]) -> None:
        assert run("pause", *words, "--force") == f"{words[1]} is paused\n"
        assert run("resume", *words) == f"{words[1]} is resumed\n"

    @pytest.mark.parametrize(
        ("option", "most"), [("--queue", 100), ("--task", 255)], ids=["queue", "task"]
    )
    def test_force_refuses_a_name_that_no_task_can_have(self, option: str, most: int) -> None:
        with pytest.raises(CommandError, match=f"name must have from 0 to {most} characters"):
            run("pause", option, "x" * (most + 1), "--force")

        run("pause", option, "x" * most, "--force")
        assert str(Pause.objects.get()) == "x" * most

    @pytest.mark.parametrize(
        "words",
        [
            ("--queue", "default"),
            ("--queue", "slow"),
            ("--queue", "of a backend"),
            ("--queue", "in use"),
            ("--queue", "finished"),
            ("--task", ECHOES),
            ("--task", "gone.tasks.send"),
        ],
        ids=" ".join,
    )
    def test_known_one_is_paused(
        self, words: tuple[str, ...], settings: Settings, driver: Driver
    ) -> None:
        tasks.echoes.using(queue_name="in use").enqueue(1)
        done = driver.task_in(Status.SUCCEEDED)
        Task.objects.filter(pk=done.pk).update(queue_name="finished", name="gone.tasks.send")
        other = {"BACKEND": settings.TASKS["default"]["BACKEND"], "QUEUES": ["of a backend"]}
        settings.TASKS = {"default": {**other, "QUEUES": ["default"]}, "other": other}

        assert run("pause", *words) == f"{words[1]} is paused\n"

    def test_resume_of_what_is_not_paused_names_what_is(self) -> None:
        run("pause", "--queue", "default")

        with pytest.raises(CommandError, match=r'^defalt was not paused\. Did you mean "default"'):
            run("resume", "--queue", "defalt")
        with pytest.raises(CommandError, match=r"^nope was not paused$"):
            run("resume", "--task", "nope")


VERBS: list[Callable[[Any], object]] = [
    lifecycle.redrive,
    lifecycle.run_now,
    lambda ids: lifecycle.snooze(ids, 1),
    lifecycle.discard,
    lifecycle.cancel,
    groups.mute,
    groups.resolve,
    groups.reopen,
    lifecycle.redrive.change,
]
NAMES = ["redrive", "run_now", "snooze", "discard", "cancel", "mute", "resolve", "reopen", "change"]


@pytest.mark.django_db
class TestIds:
    @pytest.mark.parametrize("verb", VERBS, ids=NAMES)
    @pytest.mark.parametrize("one", ["abc", str(uuid.UUID(int=1)), uuid.UUID(int=1), None, b"abc"])
    def test_one_in_place_of_several_is_refused(self, verb: Any, one: Any) -> None:
        with pytest.raises(TypeError) as refused:
            verb(one)

        assert str(refused.value) == (
            f"ids must be several UUIDs, such as a list of them, not {one!r}"
        )

    @pytest.mark.parametrize("verb", VERBS, ids=NAMES)
    def test_what_is_no_id_is_named_and_nothing_is_broken(self, verb: Any) -> None:
        with transaction.atomic():
            with pytest.raises(ValueError, match=r"^an id must be a UUID or its text, not 'abc'$"):
                verb(["abc"])
            with pytest.raises(TypeError, match=r"^an id must be a UUID or its text, not 7$"):
                verb([7])
            assert not Task.objects.exists()

    def test_operation_is_stopped_by_its_id_alone(self) -> None:
        stop: Any = operations.stop

        with pytest.raises(ValueError, match=r"^an id must be a UUID or its text, not 'abc'$"):
            stop("abc", "by ada")

    def test_text_of_an_id_is_taken_for_it(self, driver: Driver) -> None:
        failed = driver.task_in(Status.FAILED)
        ids: Any = [str(failed.pk)]

        assert lifecycle.redrive(ids) == 1
        assert driver.row(failed).status == Status.PENDING


@pytest.mark.django_db(transaction=True)
class TestMissingTables:
    @pytest.fixture
    def unmigrated(self) -> Any:
        """Rename the table of Tasks, or one of its columns, while the test runs."""
        table = Task._meta.db_table
        with connection.schema_editor() as editor:
            editor.alter_db_table(Task, table, f"{table}_gone")
        yield
        with connection.schema_editor() as editor:
            editor.alter_db_table(Task, f"{table}_gone", table)

    @pytest.mark.usefixtures("unmigrated")
    def test_enqueue_and_get_result_advise_to_migrate(self) -> None:
        enqueue: Any = tasks.echoes.enqueue
        for act in (enqueue, tasks.echoes.get_result):
            with pytest.raises(DatabaseError) as failed:
                act(str(uuid.uuid4()))

            assert failed.value.__notes__ == [UNMIGRATED]

    @pytest.mark.usefixtures("unmigrated")
    def test_verbs_advise_to_migrate(self) -> None:
        with pytest.raises(DatabaseError) as failed:
            lifecycle.redrive([uuid.uuid4()])

        assert failed.value.__notes__ == [UNMIGRATED]

    @pytest.mark.usefixtures("unmigrated")
    @pytest.mark.parametrize("words", [("health",), ("discard", str(uuid.UUID(int=1)))])
    def test_command_says_so_in_one_line(self, words: tuple[str, ...]) -> None:
        with pytest.raises(CommandError) as refused:
            run(*words)

        assert str(refused.value) == UNMIGRATED

    def test_advice_names_a_database_that_is_not_the_default(self, tmp_path: Path) -> None:
        apps = ["django.contrib.contenttypes", "django_q", "django_retrytasks"]
        site = bare_site(tmp_path, apps=apps, orm="tasks")
        router = tmp_path / "routers.py"
        router.write_text(ROUTER)
        settings = tmp_path / "bare.py"
        other = 'DATABASES["tasks"] = {**DATABASES["default"], "NAME": "tasks.sqlite3"}'
        routers = 'DATABASE_ROUTERS = ["routers.Tasks"]'
        settings.write_text("\n".join([settings.read_text(), other, routers]))

        told = site("retrytasks", "health")

        assert told == f"CommandError: {UNMIGRATED[:-1]} --database tasks.\n"
        site("migrate", "--database", "tasks")
        assert "running: 0" in site("retrytasks", "health")

    def test_column_that_is_missing_is_one_too(self) -> None:
        with pytest.raises(DatabaseError) as failed, writing():
            Task.objects.extra(where=["no_such_column = 1"]).exists()

        assert failed.value.__notes__ == [UNMIGRATED]

    def test_other_errors_are_left_as_they_are(self) -> None:
        with pytest.raises(DatabaseError) as failed, writing():
            connection.cursor().execute("SELECT FROM WHERE")

        assert not hasattr(failed.value, "__notes__")


class TestBytesThatAreNoText:
    @pytest.mark.parametrize(
        "words",
        [
            ("pause", "--force", "--queue"),
            ("pause", "--force", "--task"),
            ("pause", "--queue", "default", "--reason"),
            ("list", "--error"),
            ("list", "--search"),
            ("redrive", "--task"),
            ("breakers", "open", "tests.support.service.calls_host", "--key"),
            ("erase", "--no-input", "--search"),
        ],
        ids=" ".join,
    )
    def test_are_refused_and_the_option_is_named(self, words: tuple[str, ...]) -> None:
        with pytest.raises(CommandError) as refused:
            run(*words, "a\udcff")

        problem = f"argument {words[-1]}: 'a\\udcff' is no text: give UTF-8"
        assert str(refused.value) == f"Error: {problem}"

    @pytest.mark.parametrize(
        ("words", "name"), [(("schedule",), "path"), (("breakers", "open"), "path")]
    )
    def test_are_refused_in_a_path_too(self, words: tuple[str, ...], name: str) -> None:
        with pytest.raises(CommandError, match=f"argument {name}: .* is no text"):
            run(*words, "a\udcff")


@pytest.mark.django_db
class TestNoLoginName:
    @pytest.fixture(autouse=True)
    def _number(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr(os, "getuid", lambda: 10001)

    def test_number_stands_for_who_changes(self, driver: Driver) -> None:
        run("pause", "--queue", "slow")
        run("breakers", "open", "tests.support.service.calls")
        tasks.echoes.enqueue(1)
        run("discard", "--task", ECHOES)
        task = driver.task_in(Status.PENDING)
        run("cancel", str(task.pk))
        operation = Operation.objects.get()
        run("stop", str(operation.pk))

        operation.refresh_from_db()
        assert Pause.objects.get().paused_by == "uid 10001"
        assert OpenBreaker.objects.get().opened_by == "uid 10001"
        assert operation.started_by == "uid 10001"
        assert operation.stopped_because == "by uid 10001"
        assert "uid 10001" in driver.row(task).stop_note


class TestDjangosOptions:
    @pytest.mark.parametrize("words", EXAMPLES, ids=lambda words: words[0])
    def test_are_taken_after_every_subcommand(self, words: list[str]) -> None:
        parser = Command().create_parser("manage.py", "retrytasks")

        options = parser.parse_args([*words, "--settings", "bare", "--traceback", "-v", "0"])

        assert (options.subcommand, options.settings) == (words[0], "bare")
        assert (options.traceback, options.verbosity) == (True, 0)

    def test_name_the_site_from_behind(self, tmp_path: Path) -> None:
        apps = ["django.contrib.contenttypes", "django_q", "django_retrytasks"]
        site = bare_site(tmp_path, apps=apps)
        site("migrate")

        assert "running: 0" in site("retrytasks", "health", "--settings", "bare")

    @pytest.mark.django_db
    @pytest.mark.parametrize("place", ["before", "after"])
    def test_hold_in_either_place(self, place: str, capsys: pytest.CaptureFixture[str]) -> None:
        words = ["--traceback", "redrive"] if place == "before" else ["redrive", "--traceback"]

        with pytest.raises(CommandError, match="0 re-driven"):
            run_as_manage(*words, str(uuid.UUID(int=1)))

    def test_help_of_a_subcommand_names_its_own_first(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit):
            run("health", "--help")

        printed = capsys.readouterr().out
        assert printed.index("--max-lag") < printed.index("--settings")


def run_as_manage(*words: str) -> None:
    """Run the command as manage.py does, which shows an error in one line, or raises it."""
    Command().run_from_argv(["manage.py", "retrytasks", "--skip-checks", *words])
