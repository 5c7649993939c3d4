"""The object that the decorator makes, as tools and tests see it."""

from __future__ import annotations

import copy
import functools
import inspect
import pickle
import pydoc
from dataclasses import FrozenInstanceError
from typing import Any
from unittest import mock

import django
import pytest
from django.utils.module_loading import import_string
from django_q.models import OrmQ, Schedule
from django_q.tasks import async_task, fetch, schedule

from django_retrytasks import RetryTask, RetryTaskContext, retry_task
from tests.support import tasks

CORE = "django.tasks" if django.VERSION >= (6, 0) else "django_tasks"
METHODS = [
    "enqueue",
    "enqueue_many",
    "delay",
    "apply_async",
    "using",
    "get_result",
]


@retry_task
def posts_letter(address: str, *, copies: int = 1) -> str:
    """Post a letter.

    Nothing else.
    """
    return f"{copies} to {address}"


@retry_task(bind=True)
def posts_parcel(self: RetryTaskContext, address: str) -> None: ...


class TestNames:
    def test_are_those_of_the_function(self) -> None:
        task: Any = posts_letter

        assert (task.__name__, task.__qualname__) == ("posts_letter", "posts_letter")
        assert task.__module__ == __name__
        assert task.__doc__.startswith("Post a letter.")
        assert task.__wrapped__ is task.func
        assert type(task).__module__ == "django_retrytasks.tasks.definition"

    def test_function_without_a_docstring_has_none(self) -> None:
        assert posts_parcel.__doc__ is None

    @pytest.mark.parametrize("task", [posts_letter, posts_parcel])
    def test_signature_is_that_of_the_function(self, task: Any) -> None:
        assert inspect.signature(task) == inspect.signature(task.func)

    def test_class_has_a_signature_and_a_docstring_of_its_own(self) -> None:
        assert "func" in inspect.signature(RetryTask).parameters
        assert str(RetryTask.__doc__).startswith("A decorated function")

    def test_help_shows_the_docstring(self) -> None:
        shown = pydoc.plain(pydoc.render_doc(posts_letter))

        assert "Post a letter." in shown
        assert "A decorated function" not in shown

    def test_wrapper_of_a_task_takes_its_name_on(self) -> None:
        @functools.wraps(posts_letter)
        def wrapper(*args: Any, **kwargs: Any) -> Any: ...

        assert (wrapper.__name__, wrapper.__module__) == ("posts_letter", __name__)
        assert list(inspect.signature(wrapper).parameters) == ["address", "copies"]

    def test_changed_and_stored_tasks_keep_them(self) -> None:
        others: list[Any] = [posts_letter.using(priority=1), posts_letter.as_stored(priority=2)]

        assert [task.__name__ for task in others] == ["posts_letter"] * 2
        assert all(task.__wrapped__ is posts_letter.func for task in others)

    def test_text_of_a_task_is_its_dotted_path(self) -> None:
        assert str(posts_letter) == f"{__name__}.posts_letter"


class TestMocks:
    @pytest.mark.parametrize("name", METHODS)
    def test_method_is_patched_and_put_back(self, name: str) -> None:
        with mock.patch(f"{__name__}.posts_letter.{name}") as patched:
            getattr(posts_letter, name)("ann")

        patched.assert_called_once_with("ann")
        assert name not in vars(posts_letter)
        assert inspect.ismethod(getattr(posts_letter, name))

    def test_patch_of_one_task_leaves_the_others_alone(self) -> None:
        with mock.patch.object(posts_letter, "delay"):
            assert inspect.ismethod(posts_parcel.delay)

    def test_autospec_knows_the_arguments(self) -> None:
        with mock.patch.object(posts_letter, "apply_async", autospec=True) as patched:
            posts_letter.apply_async(("ann",), countdown=5)

        patched.assert_called_once_with(("ann",), countdown=5)

    def test_monkeypatch_does_as_well(self, monkeypatch: pytest.MonkeyPatch) -> None:
        posted: list[str] = []
        monkeypatch.setattr(posts_letter, "delay", posted.append)

        posts_letter.delay("ann")
        monkeypatch.undo()

        assert posted == ["ann"]
        assert inspect.ismethod(posts_letter.delay)

    @pytest.mark.parametrize(
        "name", ["func", "priority", "options", "bind", "run_after", "made_up", "__class__"]
    )
    def test_field_is_frozen_still(self, name: str) -> None:
        with pytest.raises(FrozenInstanceError):
            setattr(posts_letter, name, 1)
        with pytest.raises(FrozenInstanceError):
            delattr(posts_letter, name)


class TestEquality:
    def test_deep_copy_is_the_task_itself(self) -> None:
        # Another one than stands at its path: a pickle would bring that one back.
        made = retry_task(max_retries=9)(posts_letter.func)

        assert copy.deepcopy([made])[0] is made
        assert pickle.loads(pickle.dumps(made)) == posts_letter

    def test_plain_task_of_django_equals_it_where_it_adds_nothing(self, settings: Any) -> None:
        settings.TASKS = {
            "default": {"BACKEND": f"{CORE}.backends.dummy.DummyBackend", "QUEUES": []}
        }
        plain = import_string(f"{CORE}.task")(posts_letter.func)

        assert plain == posts_letter
        assert posts_letter == plain
        assert hash(plain) == hash(posts_letter)
        assert plain.using(priority=1) != posts_letter
        assert plain != retry_task(max_retries=9)(posts_letter.func)
        assert plain != "posts_letter"


@pytest.mark.django_db
class TestHandedToDjangoQ2:
    def test_package_names_the_dotted_path_and_calls_the_function(self) -> None:
        package = async_task(posts_letter, "ann", copies=2, sync=True, save=True)

        done = fetch(package)
        assert (done.func, done.result) == (f"{__name__}.posts_letter", "2 to ann")

    def test_waiting_package_is_read_back(self) -> None:
        async_task(posts_letter, "ann")

        [waiting] = OrmQ.objects.all()
        assert waiting.task["func"] == posts_letter

    def test_schedule_keeps_the_dotted_path(self) -> None:
        schedule(posts_letter, "ann")

        [row] = Schedule.objects.filter(name=None)
        assert row.func == f"{__name__}.posts_letter"

    def test_function_that_wants_its_context_says_how_it_is_enqueued(self) -> None:
        with pytest.raises(TypeError, match=r"celery_shaped\(\) needs its context: enqueue it"):
            async_task(tasks.celery_shaped, sync=True)
