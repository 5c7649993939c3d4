"""What the decorator makes of a function, and the options that it takes."""

from collections.abc import Callable
from functools import partial, wraps
from typing import Any, ClassVar

import pytest
from asgiref.sync import markcoroutinefunction

from django_retrytasks import RetryTask, retry_task
from django_retrytasks.models import Task
from django_retrytasks.tasks import as_retry_task
from django_retrytasks.values.contract import InvalidTask
from django_retrytasks.values.contract import Task as ContractTask
from tests.support import tasks
from tests.support.driver import Driver
from tests.tasks.made_up import module_level

pytestmark = pytest.mark.django_db


def transfer_later(account: str) -> None: ...


class TestDecorating:
    def test_bare_or_with_options_it_makes_a_task_of_django_tasks(self) -> None:
        bare, called, bound = tasks.succeeds, tasks.echoes, tasks.fails_twice

        assert all(isinstance(task, ContractTask) for task in (bare, called, bound))
        assert [task.policy.max_retries for task in (bare, called, bound)] == [3, 3, 5]
        assert called.name == "echoes"
        assert called.module_path == "tests.support.tasks.echoes"

    def test_the_options_of_django_tasks_are_taken_too(self) -> None:
        options: dict[str, Any] = {"priority": 7, "queue_name": "mail"}
        task: RetryTask[..., None] = RetryTask(func=module_level(), **options)

        assert (task.priority, task.queue_name) == (7, "mail")

    def test_max_attempts_counts_the_first_attempt(self) -> None:
        assert retry_task(max_attempts=4)(module_level()).policy.max_retries == 3

    @pytest.mark.parametrize(
        ("options", "error", "message"),
        [
            ({"max_retrys": 1}, TypeError, "made_up: unknown option 'max_retrys'. Did you mean"),
            ({"max_retries": -1}, ValueError, "max_retries must be from 0 to 2147483647, not -1"),
            ({"timeout": 0}, ValueError, "timeout must be above 0"),
            ({"priority": 101}, InvalidTask, "priority"),
            ({"max_retries": 1, "max_attempts": 2}, TypeError, "not both"),
            (
                {"sensitive": "iban"},
                TypeError,
                r"made_up: sensitive must be a list .* names such as \['iban'\], not 'iban'",
            ),
            ({"sensitive": (1,)}, TypeError, r"a list of parameter names, not \(1,\)$"),
            ({"sensitive": None}, TypeError, "a list of parameter names, not None$"),
            ({"on_failure": "tell"}, TypeError, "or the dotted path of one, not 'tell'"),
            ({"on_failure": 1}, TypeError, "made_up: on_failure must be a callable or"),
        ],
    )
    def test_a_wrong_option_fails_there_and_then(
        self, options: dict[str, Any], error: type[Exception], message: str
    ) -> None:
        decorator: Any = retry_task

        with pytest.raises(error, match=message):
            decorator(**options)(module_level())

    def test_a_nested_function_is_refused(self) -> None:
        def nested() -> None: ...

        with pytest.raises(InvalidTask, match="is no function of a module, so a worker could not"):
            retry_task(nested)

    def test_a_lambda_is_refused(self) -> None:
        with pytest.raises(InvalidTask, match="move it to the top level of its module"):
            retry_task(module_level("<lambda>", __qualname__="TestDecorating.<lambda>"))

    def test_a_method_is_refused(self) -> None:
        with pytest.raises(
            InvalidTask, match=r"tests.support.driver.Driver.run_due is no function of a"
        ):
            retry_task(Driver.run_due)

    @pytest.mark.parametrize("thing", [print, Driver, "text"])
    def test_what_is_no_function_is_refused(self, thing: Any) -> None:
        with pytest.raises(InvalidTask, match="is no function: decorate one with"):
            retry_task(thing)

    def test_a_function_of_the_script_being_run_is_refused_at_enqueue(self) -> None:
        task = retry_task(module_level(__module__="__main__"))

        with pytest.raises(InvalidTask, match=r"__main__\.made_up is defined in the script"):
            task.enqueue()

    def test_a_path_longer_than_its_column_is_refused_at_enqueue(self) -> None:
        task = retry_task(module_level("n" * 255))

        with pytest.raises(InvalidTask, match="is longer than 255 characters"):
            task.enqueue()


async def fetch(url: str) -> str:
    return url


class Fetch:
    async def __call__(self, url: str) -> str:
        return url


def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def call(*args: Any) -> Any:
        return function(*args)

    return call


class TestConcurrency:
    def test_it_is_one_unless_given_and_survives_what_makes_copies(self) -> None:
        task = retry_task(concurrency=20)(fetch)

        assert tasks.waits_and_returns.concurrency == 1
        copies = [task.using(priority=1), task.as_stored(queue_name="mail"), as_retry_task(task)]
        assert [copy.concurrency for copy in copies] == [20] * 3

    @pytest.mark.parametrize(
        ("number", "error", "message"),
        [
            (0, ValueError, "^fetch: concurrency must be from 1 to 100, not 0$"),
            (101, ValueError, "^fetch: concurrency must be from 1 to 100, not 101$"),
            (True, TypeError, "^fetch: concurrency must be an int, not True$"),
            ("5", TypeError, "^fetch: concurrency must be an int, not '5'$"),
            (None, TypeError, "^fetch: concurrency must be an int, not None$"),
        ],
    )
    def test_another_number_is_refused(
        self, number: Any, error: type[Exception], message: str
    ) -> None:
        with pytest.raises(error, match=message):
            retry_task(concurrency=number)(fetch)

    @pytest.mark.parametrize("function", [transfer_later, wrapped(fetch)])
    def test_a_function_that_is_no_async_def_is_refused(self, function: Any) -> None:
        message = "has a concurrency and is no async def function: .*markcoroutinefunction"
        with pytest.raises(InvalidTask, match=message):
            retry_task(concurrency=2)(function)

    @pytest.mark.parametrize("thing", [partial(fetch, "url"), Fetch()])
    def test_what_is_no_function_at_all_is_refused_as_ever(self, thing: Any) -> None:
        with pytest.raises(InvalidTask, match="is no function: decorate one with"):
            retry_task(concurrency=2)(thing)

    def test_a_marked_wrapper_and_a_number_of_one_are_accepted(self) -> None:
        marked = markcoroutinefunction(wrapped(fetch))

        assert retry_task(concurrency=2)(marked).concurrency == 2
        assert retry_task(concurrency=1)(transfer_later).concurrency == 1

    def test_it_is_no_option_of_a_call(self) -> None:
        using: Any = retry_task(concurrency=2)(fetch).using

        with pytest.raises(TypeError, match="unknown option 'concurrency'"):
            using(concurrency=5)


def transfer(account: str, amount: int, *, note: str = "") -> None: ...


def bound_transfer(self: Any, account: str) -> None: ...


def tell(task: Task, attempt: Any) -> None: ...


class TestSensitive:
    def test_names_are_kept_as_a_tuple(self) -> None:
        assert retry_task(sensitive=["note", "account"])(transfer).sensitive == ("note", "account")
        assert tasks.echoes.sensitive == ()

    @pytest.mark.parametrize(
        ("options", "function", "message"),
        [
            (
                {"sensitive": ("note", "acount")},
                transfer,
                "transfer: sensitive names 'acount', which is no parameter. Did you mean .account",
            ),
            (
                {"sensitive": ("iban",)},
                transfer,
                "'iban', which is no parameter. Choose from: account, amount, note\\.$",
            ),
            (
                {"sensitive": ("self",), "bind": True},
                bound_transfer,
                "'self', which is no parameter. Choose from: account\\.$",
            ),
        ],
    )
    def test_a_name_that_is_no_parameter_is_refused(
        self, options: dict[str, Any], function: Any, message: str
    ) -> None:
        decorator: Any = retry_task

        with pytest.raises(TypeError, match=message):
            decorator(**options)(function)

    def test_a_function_that_takes_any_keyword_may_name_any(self) -> None:
        assert retry_task(sensitive=("iban",))(module_level()).sensitive == ("iban",)


class TestOnFailure:
    @pytest.mark.parametrize(
        ("given", "receiver"),
        [(None, None), (tell, tell), ("tests.tasks.test_decorator.tell", tell)],
    )
    def test_is_a_callable_or_a_path_that_leads_to_one(self, given: Any, receiver: Any) -> None:
        task = retry_task(on_failure=given)(transfer)

        assert task.on_failure == given
        assert task.failure_receiver is receiver

    @pytest.mark.parametrize(
        ("path", "error", "message"),
        [
            ("tests.gone.tell", ImportError, "gone"),
            ("tests.tasks.test_decorator.gone", ImportError, "gone"),
            (
                "tests.tasks.test_decorator.__name__",
                TypeError,
                "transfer: on_failure: 'tests.*__name__' is",
            ),
        ],
    )
    def test_a_path_is_imported_when_it_is_asked_for(
        self, path: str, error: type[Exception], message: str
    ) -> None:
        task = retry_task(on_failure=path)(transfer)

        with pytest.raises(error, match=message):
            _ = task.failure_receiver

    def test_it_may_be_a_callable_without_a_hash(self) -> None:
        class Teller(list[Any]):
            def __call__(self, task: Task, attempt: Any) -> None:
                self.append(task)

        task = retry_task(on_failure=Teller())(transfer)

        assert task in {task}


class TestDefinitionOptions:
    OPTIONS: ClassVar[dict[str, Any]] = {"sensitive": ("account",), "on_failure": tell}

    def test_they_are_part_of_what_a_task_is(self) -> None:
        task: RetryTask[..., None] = RetryTask(func=transfer, **self.OPTIONS)

        assert task == RetryTask(func=transfer, **self.OPTIONS)
        assert task != RetryTask(func=transfer, on_failure=tell)
        assert task != RetryTask(func=transfer, sensitive=("account",))

    def test_they_go_with_every_form_of_it(self) -> None:
        task: RetryTask[..., None] = RetryTask(func=transfer, **self.OPTIONS)

        for form in (task.using(max_retries=1), task.as_stored(priority=5)):
            assert (form.sensitive, form.on_failure) == (("account",), tell)

    @pytest.mark.parametrize("option", OPTIONS)
    def test_a_call_cannot_choose_them(self, option: str) -> None:
        chosen = {option: self.OPTIONS[option]}

        with pytest.raises(TypeError, match=f"unknown option '{option}'"):
            tasks.echoes.using(**chosen)

    def test_a_plain_task_has_none(self) -> None:
        ours = as_retry_task(tasks.plain_task(transfer))

        assert (ours.sensitive, ours.on_failure, ours.failure_receiver) == ((), None, None)


class TestInterruptible:
    def test_it_is_unless_told_otherwise_and_survives_what_makes_copies(self) -> None:
        task = retry_task(interruptible=False)(transfer)

        assert tasks.waits_and_returns.interruptible is True
        copies = [task.using(priority=1), task.as_stored(queue_name="mail"), as_retry_task(task)]
        assert [copy.interruptible for copy in copies] == [False] * 3

    @pytest.mark.parametrize("value", [None, 0, "no"])
    def test_another_value_is_refused(self, value: Any) -> None:
        with pytest.raises(TypeError, match="interruptible must be True or False, not"):
            retry_task(interruptible=value)(transfer)
