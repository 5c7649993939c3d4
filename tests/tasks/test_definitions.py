"""What a function must be to become a task, and what must stand at its dotted path at enqueue."""

from __future__ import annotations

import importlib
import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from django_retrytasks.models import Status, Task
from django_retrytasks.values.contract import InvalidTask, TaskResultStatus
from tests.support import tasks
from tests.support.driver import Driver

pytestmark = pytest.mark.django_db

BACKENDS = (
    "django_retrytasks.backend.RetryTasksBackend",
    "django_retrytasks.testing.ImmediateBackend",
    "django_retrytasks.testing.DummyBackend",
)
HEAD = """
import functools, html
from django_retrytasks import retry_task

def passing_on(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)
    return wrapper
"""

Site = Callable[[str], ModuleType]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A function that imports source text as the module ``misfits``, or reloads that."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def written(source: str) -> ModuleType:
        (tmp_path / "misfits.py").write_text(HEAD + source)
        importlib.invalidate_caches()
        loaded = sys.modules.get("misfits")
        return importlib.reload(loaded) if loaded else importlib.import_module("misfits")

    yield written
    sys.modules.pop("misfits", None)


def refusal(act: Callable[[], object]) -> str:
    with pytest.raises(InvalidTask) as caught:
        act()
    return str(caught.value)


class TestDecorating:
    @pytest.mark.parametrize("define", ["def", "async def"])
    def test_a_generator_function_is_refused(self, site: Site, define: str) -> None:
        source = f"@retry_task\n{define} rows(n):\n    yield n"

        assert refusal(lambda: site(source)) == (
            "misfits.rows is a generator function: a call would return a generator and run nothing "
            "of its body. Remove yield, or call it from a task that loops over it."
        )

    def test_what_a_wrapper_runs_to_its_end_may_be_a_generator(
        self, site: Site, driver: Driver
    ) -> None:
        module = site("""
def as_list(function):
    @functools.wraps(function)
    def wrapper(*args):
        return list(function(*args))
    return wrapper

@retry_task
@as_list
def rows(n):
    yield from range(n)
""")

        assert driver.attempt(module.rows.enqueue(3)).return_value == [0, 1, 2]

    def test_a_generator_that_comes_back_is_a_failure_that_says_so(
        self, site: Site, driver: Driver
    ) -> None:
        module = site("@retry_task\n@passing_on\ndef rows(n):\n    yield n")

        row = driver.attempt(module.rows.enqueue(3))

        assert (row.status, row.stop_reason) == (Status.FAILED, "NOT_STORABLE")
        [attempt] = driver.attempts(row)
        assert "generator at value; its body has not run to its end" in attempt.exception_message

    def test_a_plain_task_of_a_generator_function_is_refused_too(self, site: Site) -> None:
        rows = site("def rows(n):\n    yield n").rows

        assert "misfits.rows is a generator function" in refusal(lambda: tasks.plain_task(rows))

    @pytest.mark.parametrize(
        ("option", "parameters"),
        [
            ("bind", ""),
            ("bind", "*, context"),
            ("bind", "**context"),
            ("takes_context", "*, context"),
        ],
    )
    def test_a_function_without_a_place_for_its_context_is_refused(
        self, site: Site, option: str, parameters: str
    ) -> None:
        source = f"@retry_task({option}=True)\ndef send({parameters}):\n    pass"

        assert refusal(lambda: site(source)) == (
            "misfits.send gets its context as its first argument, and has no positional "
            "parameter for it: write def send(self, ...), or leave out bind and takes_context."
        )

    def test_a_wrapper_does_not_hide_that_there_is_none(self, site: Site) -> None:
        source = "@retry_task(bind=True)\n@passing_on\ndef send():\n    pass"

        assert "misfits.send gets its context" in refusal(lambda: site(source))

    @pytest.mark.parametrize("parameters", ["self, n", "self, /, n", "*args"])
    def test_any_positional_parameter_takes_the_context(
        self, site: Site, driver: Driver, parameters: str
    ) -> None:
        numbered = "(args := [self, n])" if "self" in parameters else "args"
        module = site(f"""
@retry_task(bind=True)
def send({parameters}):
    context, n = {numbered}
    return [context.attempt, n]
""")

        assert driver.attempt(module.send.enqueue(7)).return_value == [1, 7]

    def test_a_lambda_is_refused(self, site: Site) -> None:
        message = refusal(lambda: site("double = retry_task(lambda n: 2 * n)"))

        assert message == (
            "Task function must be defined at a module level. misfits.<lambda> is no function of a "
            "module, so a worker could not import it: define it with def, and move it to the top "
            "level of its module."
        )


OTHERS = {
    "a plain function under another name": (
        "def plain(x): pass\ntask = retry_task(plain)",
        "misfits.plain: that is a function",
    ),
    "a function of a library": (
        "task = retry_task(html.escape)",
        "html.escape: that is a function",
    ),
    "the first of two functions of one name": (
        "@retry_task\ndef send(x): pass\ntask = send\n@retry_task\ndef send(x): pass",
        "misfits.send: that is another task",
    ),
    "a task below another decorator": (
        "def audited(task):\n    @functools.wraps(task.func)\n    def wrapper(x): pass\n"
        "    wrapper.task = task\n    return wrapper\n"
        "@audited\n@retry_task\ndef send(x): pass\ntask = send.task",
        "misfits.send: that is a function",
    ),
    "a function whose name is gone": (
        "@retry_task\ndef send(x): pass\ntask = send\ndel send",
        "misfits.send: that is nothing",
    ),
}


class TestEnqueueing:
    @pytest.mark.parametrize("backend", BACKENDS)
    @pytest.mark.parametrize("case", OTHERS)
    def test_what_a_worker_would_not_find_is_refused(
        self, site: Site, settings: Any, case: str, backend: str
    ) -> None:
        settings.TASKS = {"default": {"BACKEND": backend}}
        source, what = OTHERS[case]
        task = site(source).task

        for act in (lambda: task.enqueue(1), lambda: task.using(priority=5).enqueue_many([(1,)])):
            assert refusal(act) == (
                f"A worker would run what stands at {what}, not this task. Put @retry_task on top "
                "of the function's own definition, and give each function of a module a name of "
                "its own."
            )
        assert not Task.objects.exists()

    def test_so_is_a_plain_task(self) -> None:
        message = refusal(lambda: tasks.plain_task(tasks.not_decorated).enqueue("x"))

        assert "stands at tests.support.tasks.not_decorated: that is a function" in message

    def test_copies_of_a_task_are_that_task(self, site: Site) -> None:
        task = site("@retry_task\ndef send(x): pass").send
        copies = [
            task.using(priority=5),
            task.as_stored(priority=7),
            pickle.loads(pickle.dumps(task.using(max_retries=1))),
        ]

        results = [copy.enqueue(1) for copy in copies]

        assert [result.status for result in results] == [TaskResultStatus.READY] * 3

    def test_a_changed_copy_may_stand_in_its_place(self, site: Site) -> None:
        module = site("@retry_task\ndef send(x): pass\nfirst = send\nsend = send.using(priority=5)")

        assert module.first.enqueue(1).status == TaskResultStatus.READY

    @pytest.mark.parametrize("edit", ["", "\n\nNEW = 1\n"])
    def test_a_task_of_before_a_reload_is_run_as_it_is_now(
        self, site: Site, driver: Driver, edit: str
    ) -> None:
        old = site("@retry_task\ndef send(x): return 'old'").send
        site(f"{edit}@retry_task\ndef send(x): return 'new'")

        results = [old.enqueue(1), old.using(priority=5).enqueue(1)]

        driver.run_due()
        assert [driver.row(result).return_value for result in results] == ["new", "new"]

    def test_a_reload_that_leaves_no_task_there_is_noticed(self, site: Site) -> None:
        old = site("@retry_task\ndef send(x): pass").send
        site("def send(x): pass")

        assert "stands at misfits.send: that is a function" in refusal(lambda: old.enqueue(1))

    def test_a_module_may_enqueue_while_it_is_imported(self, site: Site) -> None:
        module = site("""
def enqueued(task):
    results.append(task.enqueue(1))
    return task

results = []

@enqueued
@retry_task
def send(x): pass

results.append(send.enqueue(2))
""")

        assert [result.args for result in module.results] == [[1], [2]]
        assert Task.objects.count() == 2

    def test_a_module_that_is_not_loaded_is_not_judged(self, site: Site) -> None:
        task = site("@retry_task\ndef send(x): pass").send
        del sys.modules["misfits"]

        assert task.enqueue(1).status == TaskResultStatus.READY
        assert "misfits" not in sys.modules
