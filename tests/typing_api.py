"""What mypy knows of the public names: checked by mypy, never run."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, assert_type

from django.tasks import TaskResult

from django_retrytasks import RetryTask, RetryTaskContext, retry_task
from django_retrytasks.alerts import Alert
from django_retrytasks.models import Attempt, Task
from django_retrytasks.testing import (
    RetryTasksKit,
    RunningCluster,
    advance,
    assert_alerted,
    assert_attempts,
    assert_enqueued,
    drain,
    failing,
    step,
    timeline,
)


@retry_task
def bare(order_id: int, note: str = "") -> str:
    return f"{order_id} {note}"


@retry_task(max_retries=5, countdown=timedelta(seconds=5), backoff=1.5, queue_name="mail")
def with_options(order_id: int) -> bool:
    return bool(order_id)


@retry_task(bind=True, max_retries=3)
def bound(self: RetryTaskContext, email: str) -> None:
    raise self.retry(exc=ValueError(email), countdown=5)


@retry_task(retry_on=OSError, no_retry_on=(FileNotFoundError,), backoff=lambda exc, result: 3)
def with_classes() -> None: ...


def told(task: Task, attempt: Attempt) -> None: ...


@retry_task(sensitive=("iban",), on_failure=told)
def announced(iban: str) -> None: ...


@retry_task(concurrency=20)
async def asynchronous(value: int) -> int:
    return value


def the_forms_keep_the_signature() -> None:
    assert_type(bare(1, note="x"), str)
    assert_type(with_options(1), bool)
    assert_type(bare.enqueue(1, note="x").id, str)
    assert_type(bare.using(priority=1).enqueue(1).return_value, str)
    check_task: RetryTask[[str], None] = bound
    del check_task
    results = with_options.enqueue_many([(1,), {"order_id": 2}])
    assert_type([result.return_value for result in results], list[bool])
    with_classes.enqueue()
    announced.enqueue("DE02")
    asynchronous.enqueue(1)
    bound.delay("ann@example.com")
    bound.apply_async(("ann@example.com",), countdown=60)


async def it_is_awaited() -> None:
    assert_type((await bare.aenqueue(1)).id, str)


def wrong_calls_are_seen(moment: datetime) -> None:
    bare.enqueue("one")  # type: ignore[arg-type]
    bare.enqueue()  # type: ignore[call-arg]
    bare.enqueue(1, nota="x")  # type: ignore[call-arg]
    bare.delay("one")  # type: ignore[arg-type]
    bound.enqueue(1)  # type: ignore[arg-type]
    bound.enqueue("ann@example.com", "more")  # type: ignore[call-arg]
    bare.using(run_after=moment).enqueue("one")  # type: ignore[arg-type]
    bare.using(max_retrys=1)  # type: ignore[call-arg]
    bare.using(max_retries="many")  # type: ignore[arg-type]
    asynchronous.enqueue("one")  # type: ignore[arg-type]


def wrong_options_are_seen(function: Callable[[int], None]) -> None:
    retry_task(max_retries="many")(function)  # type: ignore[call-overload]
    retry_task(max_retrys=1)(function)  # type: ignore[call-overload]
    retry_task(countdown="soon")(function)  # type: ignore[call-overload]
    retry_task(sensitive=1)(function)  # type: ignore[call-overload]
    retry_task(on_failure=function)(function)  # type: ignore[arg-type]
    bare.using(sensitive=("note",))  # type: ignore[call-arg]


def the_context_says(context: RetryTaskContext) -> None:
    assert_type(context.attempt, int)
    assert_type(context.retry_count, int)
    assert_type(context.max_retries, int | None)
    assert_type(context.request.id, str)
    assert_type(context.request.retries, int)
    assert_type(context.idempotency_key, str)
    result: TaskResult[Any, Any] = context.task_result
    del result
    context.retry(countdown="soon")  # type: ignore[arg-type]


def the_test_kit_is_typed(kit: RetryTasksKit, cluster: RunningCluster, moment: datetime) -> None:
    result = bare.enqueue(1)
    assert_type(drain(), list[Attempt])
    assert_type(drain(until=result, limit=3, send_alerts=True), list[Attempt])
    for until in (timedelta(hours=1), 1.5, moment, lambda: True):
        drain(until=until)
    assert_type(step(), Attempt | None)
    assert_type(advance(timedelta(days=3)), float)
    [row] = assert_type(assert_enqueued(bare, [1], {"note": "x"}), list[Task])
    assert_type(assert_attempts(row, ["FAILED"], countdowns=[5]), list[Attempt])
    assert_type(assert_alerted(result, kind="FAILING", count=1), list[Alert])
    assert_type(timeline(result), str)
    assert_type(cluster.wait_for(result), Task)
    with failing(bare, times=None, exc=TimeoutError), kit.failing(bare, exc=OSError("full")):
        assert_type(kit.drain(until=row), list[Attempt])
    with kit.running_cluster("mail") as another:
        assert_type(another, RunningCluster)
    drain(until="soon")  # type: ignore[arg-type]
    failing(told)  # type: ignore[arg-type]
    assert_attempts("charge", [])  # type: ignore[arg-type]
