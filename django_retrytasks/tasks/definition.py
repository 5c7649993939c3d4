"""The RetryTask: the object that the decorator makes of a function."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from functools import WRAPPER_ASSIGNMENTS, cached_property
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Self, TypeVar, Unpack

from django.utils.module_loading import import_string

from django_retrytasks import conf
from django_retrytasks.policy import (
    Breaker,
    PolicyOptions,
    RetryPolicy,
    as_breaker,
    policy_options,
)
from django_retrytasks.values import checked
from django_retrytasks.values.contract import (
    DEFAULT_TASK_BACKEND_ALIAS,
    TASK_DEFAULTS,
    BaseTaskBackend,
    InvalidTask,
    Task,
    task_backends,
)

from . import functions
from .calls import Calls
from .expiry import as_expiry
from .options import (
    BESIDE_POLICY,
    CALL_OPTIONS,
    FailureReceiver,
    Unique,
    as_concurrency,
    as_parameters,
    as_period,
    as_receiver,
    as_unique,
    in_short,
    moment,
    refuse_code,
)
from .patchable import patchable
from .storing import StoringBackend

if TYPE_CHECKING:
    from .result import RetryTaskResult

P = ParamSpec("P")
R = TypeVar("R")
# Parameters that collect any number of arguments.
COLLECTING = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
# Stored or pickled with a task; the rest is read from its definition.
STORED = ("priority", "backend", "queue_name", "run_after", "expires", "call_options")
# Arguments of the constructor besides the policy's options.
FIELDS = (*STORED, *BESIDE_POLICY, "is_plain")


@patchable
@dataclass(frozen=True, kw_only=True)
class RetryTask(Calls[P, R], Generic[P, R]):
    """A decorated function: a ``django.tasks`` Task whose calls are stored and retried.

    Attributes:
        options: the policy's options from the definition.
        call_options: the policy's options from :meth:`using`, stored with the Task.
        bind: whether the function's first argument is the context.
        sensitive: names of parameters whose values are never shown.
        search_key: name of the parameter whose value finds the Task; "": none.
        unique: what makes an unfinished Task the only one; False: nothing.
        unique_for: seconds from enqueue in which it is the only one even if finished; None: none.
        on_failure: a callable, or its dotted path, called after a final failure.
        concurrency: how many Tasks of one claim a worker runs together, 1 to 100.
        expires: seconds from enqueue, or a moment; a Task not started by then is discarded.
        interruptible: whether a cancel raises Cancelled in the function.
        breaker: stops the attempts while a service is down; None: no breaker.
        is_plain: whether django.tasks' own ``@task`` made it. Then it uses the backend that
            ``TASKS`` names; otherwise always a backend of ours.
    """

    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    call_options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    bind: bool = checked.option(checked.as_bool, False, hash=False)
    sensitive: tuple[str, ...] = checked.option(as_parameters, (), hash=False)
    search_key: str = checked.option(checked.as_text, "", hash=False)
    unique: Unique = checked.option(as_unique, False, hash=False)
    unique_for: float | None = checked.option(as_period, None, hash=False)
    on_failure: FailureReceiver | str | None = checked.option(as_receiver, None, hash=False)
    concurrency: int = checked.option(as_concurrency, 1, hash=False)
    expires: float | datetime | None = checked.option(as_expiry, None, hash=False)
    interruptible: bool = checked.option(checked.as_bool, True, hash=False)
    breaker: Breaker | None = checked.option(checked.or_none(as_breaker), None, hash=False)
    is_plain: bool = field(default=True, hash=False, compare=False)

    def __init__(
        self, *, func: Callable[..., R], options: Mapping[str, Any] | None = None, **values: Any
    ) -> None:
        owner = getattr(func, "__qualname__", repr(func))
        own = {name: values.pop(name) for name in FIELDS if name in values}
        policy = policy_options(values, owner=owner, beside=BESIDE_POLICY)
        own = checked.options(self, own, f"{owner}: ")
        policy = {**(options or {}), **policy}
        self._fill({**TASK_DEFAULTS, **own, "func": func, "options": policy})
        self.__post_init__()

    def _fill(self, values: Mapping[str, Any]) -> None:
        """Set the fields, and copy the function's name, docstring and so on."""
        checked.fill(self, values)
        for name in WRAPPER_ASSIGNMENTS:
            vars(self)[name] = getattr(self.func, name, None)
        vars(self)["__wrapped__"] = self.func

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.wants_context:
            functions.refuse_contextless(self.func)
        if self.concurrency > 1:
            functions.refuse_blocking(self.func)
        self._refuse_period_alone()
        self._refuse_shown_names()
        self._refuse_unknown_names()
        self._refuse_secret_unique()
        self._refuse_policy()
        functions.note(self.func)

    def _refuse_shown_names(self) -> None:
        """Refuse parameters that an option cannot show."""
        for where, name in shown_names(self).items():
            if name in self.sensitive:
                raise TypeError(
                    f"{self.func.__qualname__}: {where} names {name!r}, which is "
                    "sensitive: its values would be stored for everybody to see"
                )
            parameter = self.signature.parameters.get(name)
            if parameter and parameter.kind in COLLECTING:
                raise TypeError(
                    f"{self.func.__qualname__}: {where} names {name!r}, which collects any number "
                    "of arguments: name a parameter of one value"
                )

    def _refuse_unknown_names(self) -> None:
        """Refuse names that are no parameter of the function."""
        named = [*(("sensitive", name) for name in self.sensitive), *shown_names(self).items()]
        if isinstance(self.unique, str):
            named.append(("unique", self.unique))
        parameters = self.signature.parameters if named else {}
        if any(each.kind is each.VAR_KEYWORD for each in parameters.values()):
            return
        for where, name in named:
            if name not in parameters:
                raise TypeError(
                    f"{self.func.__qualname__}: {where} names {name!r}, which is no parameter. "
                    f"{checked.nearest(name, parameters)}"
                )

    def _refuse_secret_unique(self) -> None:
        """Refuse to make the unique key of sensitive parameters."""
        for name in self.sensitive:
            if self.unique in (True, name):
                raise TypeError(
                    f"{self.func.__qualname__}: unique uses {name!r}, which is sensitive: its "
                    "values could be guessed from the stored key. Name another parameter"
                )

    def _refuse_period_alone(self) -> None:
        if self.unique_for is not None and not self.unique:
            raise TypeError(
                f"{self.func.__qualname__}: unique_for needs unique: set unique=True, or name the "
                "parameter that makes a Task unique"
            )

    def _refuse_policy(self) -> None:
        """Refuse options that contradict each other; system checks report wrong settings."""
        try:
            RetryPolicy(**self.defaults)
        except Exception:
            return
        _ = self.policy

    def __eq__(self, other: object) -> bool:
        """Whether both are the same task; a plain task may equal one without options."""
        if type(other) is Task:
            other = as_retry_task(other)
        if not isinstance(other, RetryTask):
            return NotImplemented
        compared = [f.name for f in fields(self) if f.compare]
        return all(getattr(self, name) == getattr(other, name) for name in compared)

    def __str__(self) -> str:
        """Return the dotted path, which django-q2 records as the function's name."""
        return self.module_path

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function directly: nothing is stored or retried."""
        if self.wants_context:
            name = self.func.__qualname__
            raise TypeError(f"{name}() needs its context: enqueue it, or call {name}.func(context)")
        return self.func(*args, **kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        values = {name: getattr(self, name) for name in STORED}
        return _unpickle, (self.module_path, values)

    @property
    def wants_context(self) -> bool:
        """Whether the function's first argument is a :class:`RetryTaskContext`."""
        return self.bind or self.takes_context

    @property
    def policy(self) -> RetryPolicy:
        """Return the policy in force: call over decorator over backend over ``RETRYTASKS``."""
        options = {**self.defaults, **self.options, **self.call_options}
        latest: tuple[Any, RetryPolicy] | None = vars(self).get("_latest_policy")
        if latest is None or latest[0] != options:  # the settings may have changed
            try:
                latest = options, RetryPolicy(**options)
            except (TypeError, ValueError) as error:
                raise type(error)(f"{self.name}: {error}") from None
            vars(self)["_latest_policy"] = latest
        return latest[1]

    @property
    def defaults(self) -> Mapping[str, Any]:
        """Return the policy options that apply where the task sets none."""
        backend = self.get_backend()
        own = backend.policy_options if isinstance(backend, StoringBackend) else {}
        return {**site_options(), **own}

    @cached_property
    def signature(self) -> inspect.Signature:
        """Return the signature of a call: the function's, without its context."""
        signature = inspect.signature(self.func)
        parameters = list(signature.parameters.values())
        # *args takes the context and other arguments.
        if self.wants_context and parameters[0].kind is not inspect.Parameter.VAR_POSITIONAL:
            parameters = parameters[1:]
        return signature.replace(parameters=parameters)

    @property
    def failure_receiver(self) -> FailureReceiver | None:
        """Return the callable of ``on_failure``; None without one.

        Raises:
            ImportError: its dotted path leads nowhere.
            TypeError: its dotted path leads to no callable.
        """
        if not isinstance(self.on_failure, str):
            return self.on_failure
        receiver: FailureReceiver = import_string(self.on_failure)
        if not callable(receiver):
            raise TypeError(f"{self.name}: on_failure: {self.on_failure!r} is not callable")
        return receiver

    def using(
        self,
        *,
        priority: int | None = None,
        queue_name: str | None = None,
        run_after: datetime | timedelta | None = None,
        expires: checked.Duration | datetime | None = None,
        backend: str | None = None,
        **options: Unpack[PolicyOptions],
    ) -> RetryTask[P, R]:
        """Return this task with other options for calls made through it.

        Args:
            priority: -100 to 100; higher runs first.
            queue_name: the queue of its Tasks.
            run_after: the earliest start: a datetime, aware unless ``USE_TZ`` is off, or a
                timedelta from now.
            expires: the latest start of the first attempt: seconds or a timedelta from enqueue, or
                a datetime, as ``run_after``. A Task not started by then is discarded.
            backend: an alias in ``TASKS``.
            options: the policy's, except ``retry_on``, ``no_retry_on`` and a callable backoff,
                which are code and belong on the decorator.

        Raises:
            TypeError: an unknown option, or an option that cannot be stored with a call.
            ValueError: an option outside its range.
        """
        changed = policy_options(options, owner=self.name, beside=CALL_OPTIONS)
        refuse_code(changed, self.name)
        changes: dict[str, Any] = {
            "priority": priority,
            "queue_name": queue_name,
            "run_after": moment(run_after, owner=self.name),
            "expires": as_expiry(f"{self.name}: expires", expires),
            "backend": backend,
            "call_options": {**self.call_options, **in_short(changed)} if changed else None,
        }
        return replace(self, **{k: v for k, v in changes.items() if v is not None})

    def as_stored(self, **values: Any) -> RetryTask[P, R]:
        """Return this task with stored values of attributes in ``STORED``.

        Nothing is validated: ``TASKS`` may have changed since.
        """
        for name, value in values.items():
            if getattr(self, name) != value:
                return _unvalidated(self, values)
        return self

    def get_backend(self) -> BaseTaskBackend:
        """Return the backend of its alias, or a backend of ours if the default is another.

        So ``@retry_task`` works on a site without ``TASKS``. A plain task always uses the backend
        of its alias.
        """
        if self.is_plain:
            return task_backends[self.backend]
        is_default = self.backend == DEFAULT_TASK_BACKEND_ALIAS
        is_missing = is_default and self.backend not in task_backends
        configured = None if is_missing else task_backends[self.backend]
        if isinstance(configured, StoringBackend):
            return configured
        if not is_default:
            raise InvalidTask(
                f"{self.func.__qualname__}: TASKS[{self.backend!r}] is no RetryTasksBackend. "
                "Name an alias that is, or none."
            )
        return default_backend()

    if TYPE_CHECKING:  # what django-stubs before 6.0, which has no django.tasks, leaves unknown

        def get_result(self, result_id: str) -> RetryTaskResult[R]: ...
        async def aget_result(self, result_id: str) -> RetryTaskResult[R]: ...
        def call(self, *args: P.args, **kwargs: P.kwargs) -> R: ...
        async def acall(self, *args: P.args, **kwargs: P.kwargs) -> R: ...


def shown_names(task: RetryTask[..., Any]) -> dict[str, str]:
    """Return the parameters whose values are stored to be seen, by the option that names them."""
    named = {"search_key": task.search_key, "breaker": task.breaker.by if task.breaker else ""}
    return {option: name for option, name in named.items() if name}


def names_of_unique(task: RetryTask[..., Any]) -> list[str]:
    """Return the parameters whose values make the unique key; none for a callable."""
    if isinstance(task.unique, str):
        return [task.unique]
    return list(task.signature.parameters) if task.unique is True else []


def site_options() -> dict[str, Any]:
    """Return the policy options of ``RETRYTASKS["POLICY"]``."""
    return policy_options(conf.get().POLICY, owner='RETRYTASKS["POLICY"]')


def site_policy() -> RetryPolicy:
    """Return the policy of a Task with an unknown definition."""
    return RetryPolicy(**site_options())


def as_retry_task(task: Task[..., Any]) -> RetryTask[..., Any]:
    """Return a task as a RetryTask: a plain task gets the backend's default policy.

    Nothing is validated: ``TASKS`` may have changed since it was made.
    """
    return task if isinstance(task, RetryTask) else _unvalidated(task, {})


def _unvalidated(task: Task[P, R], changes: Mapping[str, Any]) -> RetryTask[P, R]:
    """Return a RetryTask with another task's fields and some changes."""
    values = {each.name: getattr(task, each.name) for each in fields(task)}
    ours: RetryTask[P, R] = object.__new__(RetryTask)
    ours._fill({**values, **changes})
    return ours


def default_backend() -> BaseTaskBackend:
    """Return the backend of a site whose default in ``TASKS`` is none of ours."""
    backend: type[BaseTaskBackend] = import_string(conf.DEFAULT_BACKEND)
    return backend(alias=DEFAULT_TASK_BACKEND_ALIAS, params={"QUEUES": []})


def _unpickle(path: str, values: Mapping[str, Any]) -> RetryTask[..., Any]:
    task = import_string(path)
    if not isinstance(task, Task):
        raise ValueError(f"{path} is no task, so none can be unpickled from it")
    return as_retry_task(task).as_stored(**values)
