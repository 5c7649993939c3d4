"""Tasks that log a line in each of two attempts."""

import asyncio
import logging

from asgiref.sync import sync_to_async

from django_retrytasks import RetryTaskContext, retry_task

logger = logging.getLogger("shop")


def speak(attempt: int) -> None:
    logger.info("says")
    if attempt == 1:
        raise ConnectionError("once more")


@retry_task(bind=True, max_retries=1, countdown=0)
def speaks(self: RetryTaskContext) -> None:
    speak(self.attempt)


@retry_task(bind=True, max_retries=1, countdown=0)
async def speaks_async(self: RetryTaskContext) -> None:
    await asyncio.sleep(0)
    speak(self.attempt)


@retry_task(bind=True, max_retries=1, countdown=0)
async def speaks_in_a_thread(self: RetryTaskContext) -> None:
    await sync_to_async(speak)(self.attempt)


@retry_task(concurrency=10)
async def speaks_beside_others() -> None:
    logger.info("says")
    await asyncio.sleep(0.05)
    logger.info("says")


@retry_task(max_retries=0)
def fails() -> None:
    raise ConnectionError("once more")
