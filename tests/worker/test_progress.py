"""A running function reports how far it is: what is kept, written, hidden, refused and left."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext

from django_retrytasks import Progress, RetryTaskContext, lifecycle, retry_task
from django_retrytasks.models import Status, Task
from django_retrytasks.worker import batch as batches
from django_retrytasks.worker.batch import Batch
from tests.support import tasks
from tests.support.cluster import wait_for
from tests.support.driver import Driver, Outcome
from tests.support.happenings import end_leases

pytestmark = pytest.mark.django_db
Act = Callable[[RetryTaskContext, Batch], Any]

# What the function does while it runs, and the batch that it runs in.
now: dict[str, Any] = {}


@retry_task(bind=True, max_retries=1, sensitive=("token",))
def works(self: RetryTaskContext, token: str = "") -> Any:
    return now["act"](self, now["batch"])


def seen(pk: Any) -> Any:
    return Task.objects.get(pk=pk).progress


@retry_task(bind=True)
def reports_and_waits(self: RetryTaskContext) -> Any:
    self.progress(1, 4, "begins")
    self.progress(2, 4, "reads")
    return wait_for(lambda: seen(self.row.pk), 20)


@retry_task(bind=True, concurrency=5)
async def reports_and_awaits(self: RetryTaskContext, number: int) -> Any:
    self.progress(number, 4)
    for _ in range(200):
        if progress := await sync_to_async(seen)(self.row.pk):
            return progress
        await asyncio.sleep(0.1)
    return None


@pytest.fixture
def run(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Task]:
    """Return a function that runs a Task as a worker does, whose heart beats when asked to."""
    monkeypatch.setattr(batches, "PATIENCE", 0)

    def act_within(act: Act, *args: Any) -> Task:
        result = works.enqueue(*args)
        now.update(act=act, batch=Batch(driver.claim(limit=1)))
        now["batch"].run()
        return driver.row(result)

    return act_within


class TestWorker:
    @pytest.mark.django_db(transaction=True)
    def test_the_heart_writes_the_latest_report_while_the_function_runs(
        self, driver: Driver
    ) -> None:
        result = reports_and_waits.enqueue()

        driver.run_due()

        assert driver.row(result).return_value == {"current": 2, "total": 4, "text": "reads"}
        assert driver.row(result).progress == {"current": 2, "total": 4, "text": "reads"}

    @pytest.mark.django_db(transaction=True)
    def test_tasks_that_run_together_have_each_its_own(self, driver: Driver) -> None:
        results = reports_and_awaits.enqueue_many([(1,), (2,)])

        driver.run_due()

        told = [driver.row(result).return_value for result in results]
        assert told == [{"current": n, "total": 4, "text": ""} for n in (1, 2)]

    def test_a_short_task_writes_none(self, driver: Driver) -> None:
        now.update(act=lambda context, _: context.progress(1), batch=None)
        result = works.enqueue()

        with CaptureQueriesContext(connection) as queries:
            driver.run_due()

        assert driver.row(result).status == Status.SUCCEEDED
        assert driver.row(result).progress is None
        assert not [q["sql"] for q in queries if "progress" in q["sql"] and "current" in q["sql"]]


class TestBeat:
    def test_each_report_is_written_once(self, run: Any) -> None:
        counts: list[int] = []

        def act(context: RetryTaskContext, batch: Batch) -> None:
            batch.beat()
            for current in (1, 1, 2):
                for _ in range(100):
                    context.progress(current, 4)
                counts.extend(statements_of(batch.beat) for _ in range(2))

        task = run(act)

        assert counts == [1, 0, 1, 0, 1, 0]
        assert task.progress == {"current": 2, "total": 4, "text": ""}

    def test_without_a_report_it_takes_no_statement(self, run: Any) -> None:
        counts: list[int] = []

        def act(context: RetryTaskContext, batch: Batch) -> None:
            batch.beat()
            counts.append(statements_of(batch.beat))

        assert run(act).progress is None
        assert counts == [0]

    @pytest.mark.django_db(transaction=True)
    def test_a_report_that_meets_a_broken_connection_is_written_later(self, run: Any) -> None:
        def act(context: RetryTaskContext, batch: Batch) -> None:
            batch.beat()
            context.progress(1)
            with connection.execute_wrapper(breaks), pytest.raises(OperationalError):
                batch.beat()
            batch.beat()

        assert run(act).progress["current"] == 1

    @pytest.mark.django_db(transaction=True)
    def test_a_report_that_cannot_be_written_costs_neither_outcome_nor_later_reports(
        self, run: Any
    ) -> None:
        def act(context: RetryTaskContext, batch: Batch) -> None:
            context.row.reported = lambda: {"current": object()}
            with pytest.raises(TypeError):
                batch.beat()
            batch.beat()
            context.progress(1)
            batch.beat()

        task = run(act)

        assert (task.status, task.progress["current"]) == (Status.SUCCEEDED, 1)

    def test_nothing_is_written_once_the_claim_is_over(self, run: Any) -> None:
        def act(context: RetryTaskContext, batch: Batch) -> None:
            lifecycle.cancel([context.row.pk])
            context.progress(1)
            batch.beat()

        assert run(act).progress is None


class TestText:
    @pytest.mark.parametrize(
        ("text", "stored"),
        [
            ("sends to s3cr3t-token", "sends to ********************"),
            ("x" * 1_000_000, "x" * 200),
            ("a\0b\ud800", r"a\x00b\ud800"),
            ("<b>ü€</b>", "<b>ü€</b>"),
        ],
    )
    def test_is_stored_without_secrets_and_not_too_long(
        self, run: Any, text: str, stored: str
    ) -> None:
        def act(context: RetryTaskContext, batch: Batch) -> None:
            context.progress(1, 2, text)
            batch.beat()

        assert run(act, "s3cr3t-token").progress["text"] == stored

    def test_no_half_of_a_secret_stands_where_a_long_text_is_cut(self, run: Any) -> None:
        token = "0123456789" * 12
        text = "y" * 150 + token

        def act(context: RetryTaskContext, batch: Batch) -> None:
            context.progress(1, 2, text)
            batch.beat()

        assert run(act, token).progress["text"] == "y" * 150 + "*" * 20

    def test_a_strange_kind_of_text_does_nothing_in_the_worker(self, run: Any) -> None:
        class Hostile(str):
            __slots__ = ()

            def encode(self, *args: Any) -> bytes:
                raise SystemExit

            __len__ = __getitem__ = encode  # type: ignore[assignment]

        def act(context: RetryTaskContext, batch: Batch) -> None:
            context.progress(1, 2, Hostile("plain"))
            batch.beat()

        assert run(act).progress["text"] == "plain"


class TestRefused:
    @pytest.mark.parametrize(
        ("given", "kind", "said"),
        [
            (("3",), TypeError, r"^current must be a number \(int, float\), not '3'$"),
            ((True,), TypeError, "^current must be a number"),
            ((None,), TypeError, "^current must be a number"),
            ((-1,), ValueError, "^current must be from 0 to 9007199254740992, not -1$"),
            ((float("nan"),), ValueError, "^current must be from 0 .* not nan$"),
            ((1, float("inf")), ValueError, "^total must be from 0 .* not inf$"),
            ((1, 10**400), ValueError, "^total must be from 0 "),
            ((1, "2"), TypeError, "^total must be a number"),
            ((1, 2, b"x"), TypeError, "^text must be a string, not b'x'$"),
            ((1, 2, None), TypeError, "^text must be a string"),
        ],
    )
    def test_a_wrong_value_is_named(
        self, run: Any, given: tuple[Any, ...], kind: type[Exception], said: str
    ) -> None:
        def act(context: Any, batch: Batch) -> None:
            with pytest.raises(kind, match=said):
                context.progress(*given)

        assert run(act).status == Status.SUCCEEDED

    @pytest.mark.parametrize(("given", "share"), [((0, 0), None), ((5,), None), ((9, 3), 1.0)])
    def test_an_empty_or_wrong_total_is_no_error(
        self, given: tuple[Any, ...], share: float | None
    ) -> None:
        values: Any = zip(("current", "total"), given, strict=False)

        assert Progress(**dict(values)).share == share


class TestAfterwards:
    def test_the_last_report_stays_until_the_next_claim(self, run: Any, driver: Driver) -> None:
        def act(context: RetryTaskContext, batch: Batch) -> None:
            context.progress(3, 4)
            batch.beat()
            raise ValueError("no luck")

        task = run(act)
        assert (task.status, task.progress["current"]) == (Status.RETRYING, 3)

        driver.make_due(task)
        [claimed] = driver.claim().tasks

        assert claimed.progress is None
        assert driver.row(task).progress is None

    def test_a_lost_attempt_leaves_its_report(self, driver: Driver) -> None:
        tasks.echoes.enqueue(1)
        [task] = driver.claim(limit=1).tasks
        lifecycle.write_progress(task, {"current": 3})
        end_leases()

        [lapsed] = driver.claim(limit=1).tasks
        lifecycle.settle([driver.ending(lapsed, Outcome.LOST, countdown=5)])

        assert driver.row(task).progress == {"current": 3}

    def test_its_result_tells_of_it(self, run: Any) -> None:
        found = []

        def act(context: RetryTaskContext, batch: Batch) -> None:
            result: Any = works.get_result(str(context.row.pk))
            found.append(result.progress)
            for current, refresh in ((1, result.refresh), (2, async_to_sync(result.arefresh))):
                context.progress(current, 4, "reads")
                batch.beat()
                refresh()
                found.append(result.progress)

        run(act)

        assert found == [None, *(Progress(current=n, total=4, text="reads") for n in (1, 2))]
        assert [progress.share for progress in found[1:]] == [0.25, 0.5]

    @pytest.mark.parametrize("stored", ["x", 3, [1], {}, {"current": "x"}, {"current": 1, "b": 2}])
    def test_a_row_written_by_hand_has_none(self, stored: Any, driver: Driver) -> None:
        result = tasks.echoes.enqueue(1)
        Task.objects.update(progress=stored)

        result.refresh()

        assert result.progress is None
        driver.run_due()
        assert driver.row(result).status == Status.SUCCEEDED


def statements_of(act: Callable[[], object]) -> int:
    with CaptureQueriesContext(connection) as queries:
        act()
    return len(queries)


def breaks(execute: Any, sql: str, *args: Any) -> Any:
    if "progress" in sql:
        raise OperationalError(1205, "lock wait timeout")
    return execute(sql, *args)
