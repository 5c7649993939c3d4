"""Tasks that run together, and some that make trouble for those beside them."""

from __future__ import annotations

import asyncio
import decimal
import os
import threading
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth.models import Group
from django.db import connection, transaction
from django.utils import translation

from django_retrytasks import Discard, Retry, RetryTaskContext, Snooze, retry_task
from django_retrytasks.models import Status, Task
from tests.support.hostile import VAR
from tests.support.tasks import note, noted

# Attempts that run now, in this process, and those that have come to a meeting.
_present: list[object] = []
_met: list[int] = []


@retry_task(concurrency=20)
async def meets(number: int) -> int:
    """Wait until so many have come; return the number then."""
    _met.append(number)
    for _ in range(500):
        if len(_met) >= number:
            break
        await asyncio.sleep(0.01)
    return len(_met)


@retry_task(concurrency=4)
async def counts_present(seconds: float) -> int:
    """Return the largest number that ran at once."""
    me = object()
    _present.append(me)
    try:
        await asyncio.sleep(seconds)
        return len(_present)
    finally:
        _present.remove(me)


@retry_task(concurrency=4)
async def counts_present_too(seconds: float) -> int:
    return await counts_present.func(seconds)


@retry_task
async def counts_present_alone(seconds: float) -> int:
    return await counts_present.func(seconds)


@retry_task(bind=True, concurrency=20, max_retries=2, countdown=0, jitter=False)
async def tells(self: RetryTaskContext, number: int) -> list[Any]:
    """Leave a mess in its context; fail at first; return what it saw in its surroundings."""
    seen = [translation.get_language(), VAR.get(), decimal.getcontext().prec]
    translation.activate("de")
    VAR.set(f"dirty {number}")
    decimal.getcontext().prec = 3
    await asyncio.sleep(0.05)
    assert VAR.get() == f"dirty {number}"
    if self.attempt == 1:
        raise ValueError(f"number {number}")
    return [number, self.attempt, self.request.id, *seen]


@retry_task(concurrency=20, max_retries=0)
async def sleeps(seconds: float) -> float:
    await asyncio.sleep(seconds)
    return seconds


@retry_task(concurrency=20, timeout=0.3, max_retries=0)
async def swallows(times: int) -> str:
    """Swallow so many cancellations, then end."""
    for _ in range(times):
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(30)
    return "done all the same"


@retry_task(concurrency=20, max_retries=0)
async def adds_group(name: str) -> str:
    """Write a row while the others run."""
    await asyncio.sleep(0.1)
    await Group.objects.acreate(name=name)
    await asyncio.sleep(0.1)
    return name


@retry_task(concurrency=20, max_retries=0)
async def reads_slowly() -> int:
    """Read rows by a cursor that stays open in between; return their number."""
    count = 0
    async for _ in Group.objects.all().aiterator(chunk_size=1):
        count += 1
        await asyncio.sleep(0.05)
    return count


MADE_ONCE = ValueError("made once")


@retry_task(concurrency=20, max_retries=1, countdown=0, jitter=False)
async def raises_the_same(_: str) -> None:
    await asyncio.sleep(0.1)
    raise MADE_ONCE


@retry_task(concurrency=20, max_retries=0, sensitive=("secret",))
async def tells_a_secret(secret: str) -> None:
    await asyncio.sleep(0.05)
    raise ValueError(f"no such key: {secret}")


# Trouble


async def raises_exit() -> None:
    raise SystemExit(1)


async def raises_interrupt() -> None:
    raise KeyboardInterrupt


async def exits_in_a_child() -> None:
    task = asyncio.create_task(raises_exit())
    await asyncio.sleep(0.05)
    await task


async def raises_cancelled() -> None:
    raise asyncio.CancelledError


async def cancels_itself() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)


async def cancels_itself_and_returns() -> str:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    return "done"


async def cancels_all() -> str:
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    return "done"


async def stops_the_loop() -> str:
    asyncio.get_running_loop().stop()
    await asyncio.sleep(0.01)
    return "done"


async def closes_the_loop() -> None:
    asyncio.get_running_loop().close()


async def closes_the_loop_in_a_thread() -> str:
    """Close it in a moment in which it stands still."""
    loop = asyncio.get_running_loop()

    def close() -> None:
        while not loop.is_closed():
            with suppress(Exception):
                loop.close()

    threading.Thread(target=close, daemon=True).start()
    return "done"


async def sets_a_new_loop() -> str:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.close()
    return "done"


async def leaves_children() -> str:
    async def goes_on() -> None:
        await asyncio.sleep(3600)

    left.append(asyncio.create_task(goes_on()))
    return "done"


async def leaves_a_child_that_refuses() -> str:
    async def refuses() -> None:
        while True:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0.01)

    left.append(asyncio.create_task(refuses()))
    await asyncio.sleep(0)
    return "done"


async def replaces_the_task_factory() -> str:
    def refuse(*args: Any, **options: Any) -> Any:
        raise RuntimeError("no task is made")

    asyncio.get_running_loop().set_task_factory(refuse)
    return "done"


async def steers(word: str) -> None:
    words = {"discard": Discard("not needed"), "snooze": Snooze(60), "retry": Retry(countdown=30)}
    raise words[word]


async def leaves_callbacks() -> str:
    def leave() -> None:
        raise SystemExit(1)

    for seconds in (0.0, 0.01, 0.1):
        asyncio.get_running_loop().call_later(seconds, leave)
    return "done"


left: list[asyncio.Task[None]] = []


async def runs(*statements: str) -> str:
    def run() -> None:
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    await sync_to_async(run)()
    return "done"


async def leaves_autocommit_off() -> str:
    await sync_to_async(transaction.set_autocommit)(False)
    await Group.objects.acreate(name="never committed")
    return "done"


TROUBLE: dict[str, Callable[..., Awaitable[Any]]] = {
    each.__name__: each
    for each in (
        raises_exit,
        raises_interrupt,
        exits_in_a_child,
        raises_cancelled,
        cancels_itself,
        cancels_itself_and_returns,
        cancels_all,
        stops_the_loop,
        closes_the_loop,
        closes_the_loop_in_a_thread,
        sets_a_new_loop,
        replaces_the_task_factory,
        leaves_callbacks,
        steers,
        leaves_children,
        leaves_a_child_that_refuses,
        runs,
        leaves_autocommit_off,
    )
}


@retry_task(concurrency=20, max_retries=0)
async def behaves(trouble: str, *args: str, seconds: float = 0.3) -> str:
    """Make trouble, or sleep where there is none; one function, so that they run together."""
    if not trouble:
        await asyncio.sleep(seconds)
        return "slept"
    await asyncio.sleep(0.05)
    return str(await TROUBLE[trouble](*args))


@retry_task(concurrency=20, max_retries=0, timeout=1)
async def blocks(seconds: float) -> str:
    """Sleep: asynchronously, or, for a number below 0, as long with the loop blocked."""
    await asyncio.sleep(max(seconds, 0.05))
    if seconds < 0:
        time.sleep(-seconds)  # noqa: ASYNC251
    return "done"


@retry_task(bind=True, concurrency=20, max_retries=0)
async def loses_its_claim(self: RetryTaskContext, is_late: bool) -> str:
    """Do, if late, as if the worker had been frozen until another one had taken the Task over."""
    if is_late:
        await Task.objects.filter(pk=self.request.id).aupdate(claim_token=uuid.uuid4())
    await asyncio.sleep(0.1)
    return "done"


heard: list[str] = []


@retry_task(concurrency=20, max_retries=0)
async def waits_until_heard(number: int) -> list[str]:
    """Wait until so many signals have been heard; return whose."""
    for _ in range(500):
        if len(heard) >= number:
            break
        await asyncio.sleep(0.01)
    return sorted(heard)


@retry_task(concurrency=20, max_retries=0)
async def waits_in_a_thread(seconds: float) -> None:
    """Wait asynchronously, or, for a number below 0, as long in a thread that cannot be ended."""
    await asyncio.sleep(max(seconds, 0))
    if seconds < 0:
        await sync_to_async(time.sleep)(-seconds)


@retry_task(bind=True, concurrency=20, max_retries=0)
async def watches(self: RetryTaskContext, is_slow: bool) -> dict[str, Any]:
    """Wait, if slow, until the quick ones are settled and the lease is extended."""
    if not is_slow:
        return {}
    rows = Task.objects.all()
    claimed = await rows.aget(pk=self.request.id)
    for _ in range(200):
        others = [one.status async for one in rows.exclude(pk=claimed.pk)]
        is_kept = await rows.filter(pk=claimed.pk, run_after__gt=claimed.run_after).aexists()
        if Status.RUNNING not in others and is_kept:
            break
        await asyncio.sleep(0.05)
    own = await rows.aget(pk=claimed.pk)
    return {"started": own.was_started, "others": others}


@retry_task(bind=True, concurrency=2, max_retries=3, countdown=0)
async def waits_at_first(self: RetryTaskContext, directory: str, seconds: float) -> str:
    """Note the process; wait, unless another process has noted before."""
    pid = str(os.getpid())
    note(directory, pid)
    if set(noted(directory)) == {pid}:
        await asyncio.sleep(seconds)
    return "done"


@retry_task(concurrency=20)
async def naps(seconds: float) -> None:
    await asyncio.sleep(seconds)


@retry_task
async def naps_alone(seconds: float) -> None:
    await asyncio.sleep(seconds)
