"""The exceptions that a task function raises to steer its Task, and the errors of the package."""

from __future__ import annotations

import reprlib
from datetime import datetime
from typing import Literal

from .values.checked import UNSET, Duration, Unset, as_count, as_seconds
from .values.moments import as_instant

__all__ = [
    "AttemptTimedOut",
    "Cancelled",
    "Discard",
    "MessageUnavailable",
    "NotATask",
    "NotImportable",
    "ResultNotStorable",
    "Retry",
    "RetryTasksError",
    "Snooze",
    "WorkerLost",
]


class RetryTasksError(Exception):
    """Base of the programming errors this package reports.

    Do not catch them: each names something to correct in the code or the deployment.
    """


class NotATask(RetryTasksError):
    """Raised when the dotted path of a Task does not lead to a task.

    This happens when a decorated function with waiting Tasks is replaced by a plain one. Put the
    decorator back, or discard the Tasks.

    Attributes:
        name: the dotted path.
        found: the class name of the object at that path.
    """

    def __init__(self, name: str, found: object) -> None:
        self.name = name
        self.found = type(found).__name__
        super().__init__(name, found)

    def __str__(self) -> str:
        return f"{self.name} is no task but a {self.found}: decorate it with @retry_task"


class NotImportable(RetryTasksError):
    """Raised, from the ImportError or AttributeError, when a Task's function cannot be imported.

    This happens while a deploy is in progress, or after a function with waiting Tasks is renamed.
    The attempt is retried. Deploy the module, or keep the old name until its Tasks are done.

    Attributes:
        name: the dotted path.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(name)

    def __str__(self) -> str:
        return (
            f"{self.name} cannot be imported here: is the path right, and is its module deployed?"
        )


class ResultNotStorable(RetryTasksError):
    """Raised when a function succeeds but returns a value that cannot be stored.

    Never retried, since the work is done; except that a generator's body has not run. Return JSON
    types, date and time types, Decimal or UUID.

    Attributes:
        name: the dotted path of the function.
        problem: the place and the type of the value.
    """

    def __init__(self, name: str, problem: str) -> None:
        self.name = name
        self.problem = problem
        super().__init__(name, problem)

    def __str__(self) -> str:
        return f"{self.name}: the return value cannot be stored: {self.problem}"


class Retry(Exception):
    """Raise in a task function to retry this attempt.

    It overrides `retry_on` and `no_retry_on`, but not `max_retries` and `retry_for`.

    Args:
        exc: the failure to record; None: the exception being handled, if any.
        countdown: the exact wait, 0 to 366 days, as seconds or a timedelta; None: the policy's
            countdown.
        eta: the moment to retry at, instead of a countdown: a datetime, aware unless `USE_TZ` is
            off. If it has passed, retry at once.
        max_retries: the limit for this decision alone; None: no limit.

    Attributes:
        mistake: the error in the arguments of `self.retry()`, in words; if there is one, the
            policy's countdown applies.

    Raises:
        TypeError: an argument of a wrong type, or both `countdown` and `eta`.
        ValueError: an argument out of its range, or a naive `eta`.
    """

    mistake: str = ""

    def __init__(
        self,
        exc: BaseException | None = None,
        *,
        countdown: Duration | None = None,
        eta: datetime | None = None,
        max_retries: int | Literal[Unset.UNSET] | None = UNSET,
    ) -> None:
        if exc is not None and not isinstance(exc, BaseException):
            raise TypeError(f"exc must be an exception instance, not {reprlib.repr(exc)}")
        if countdown is not None and eta is not None:
            raise TypeError("give countdown or eta, not both")
        self.exc = exc
        self.countdown = None if countdown is None else as_seconds("countdown", countdown)
        self.eta = None if eta is None else _as_instant("eta", eta)
        self.max_retries = max_retries
        if max_retries is not None and max_retries is not UNSET:
            self.max_retries = as_count("max_retries", max_retries)
        super().__init__(*(() if exc is None else (exc,)))

    @property
    def cause(self) -> BaseException:
        """Return the failure behind this retry; the Retry itself if there is none."""
        causes = (self.exc, self.__cause__, self.__context__)
        return next((exception for exception in causes if exception is not None), self)


class Discard(Exception):
    """Raise in a task function to end its Task quietly: DISCARDED, no retry, no alert.

    Attributes:
        reason: why, in words.
    """

    def __init__(self, reason: str = "") -> None:
        self.reason = str(reason)
        super().__init__(reason)


class Snooze(Exception):
    """Raise in a task function to run its Task later without spending a retry.

    Args:
        countdown: 0 to 366 days, as seconds or a timedelta.

    Attributes:
        countdown: in seconds.

    Raises:
        TypeError: `countdown` is of a wrong type.
        ValueError: `countdown` is out of its range.
    """

    def __init__(self, countdown: Duration) -> None:
        self.countdown = as_seconds("countdown", countdown)
        super().__init__(countdown)


class AttemptTimedOut(BaseException):
    """Raised inside a task function when its `timeout` is over.

    It derives from BaseException, so that the function's `except Exception` does not swallow it.
    Make the function faster, its socket timeouts shorter, or its `timeout` longer.

    Attributes:
        timeout: the time allowed, in seconds.
    """

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        super().__init__(timeout)

    def __str__(self) -> str:
        return f"the attempt ran longer than its timeout of {self.timeout:g} s"


class Cancelled(BaseException):
    """Raised inside a task function when an operator has cancelled its Task.

    It derives from BaseException, as AttemptTimedOut does. Catch it to clean up, and raise it
    again. With `@retry_task(interruptible=False)` it is not raised.

    Attributes:
        note: who cancelled the Task and why, in words.
    """

    def __init__(self, note: str = "cancelled") -> None:
        self.note = note
        super().__init__(note)


class MessageUnavailable(Exception):
    """Replaces an exception of a task function whose message could not be read in time.

    Receivers get it instead, since the exception itself would delay each of them.

    Attributes:
        class_path: the dotted path of the class of the exception.
    """

    def __init__(self, class_path: str) -> None:
        self.class_path = class_path
        super().__init__(class_path)

    def __str__(self) -> str:
        return f"{self.class_path}: message unavailable"


class WorkerLost(Exception):
    """The failure of an attempt whose worker vanished: killed, out of memory, or cut off.

    The next claim records it after the lease has ended. It is never raised in a task function.

    Attributes:
        worker: the name of the lost worker.
        claimed_at: when that worker claimed the Task, UTC; None if unknown.
    """

    def __init__(self, worker: str, claimed_at: datetime | None = None) -> None:
        self.worker = worker
        self.claimed_at = claimed_at
        super().__init__(worker, claimed_at)

    def __str__(self) -> str:
        since = f", which claimed it at {self.claimed_at.isoformat()}," if self.claimed_at else ""
        return f"worker {self.worker}{since} was lost before the attempt ended"


def _as_instant(name: str, value: object) -> datetime:
    if not isinstance(value, datetime):
        raise TypeError(f"{name} must be an aware datetime, not {reprlib.repr(value)}")
    try:
        return as_instant(value)
    except ValueError:
        raise ValueError(f"{name} must be aware: use django.utils.timezone.make_aware") from None
