"""Tasks that make spans of their own."""

import asyncio

from opentelemetry import trace

from django_retrytasks import Cancelled, retry_task


@retry_task
def is_cancelled() -> None:
    raise Cancelled("by ada")


@retry_task
def spans() -> None:
    with trace.get_tracer("site").start_as_current_span("inner"):
        pass


@retry_task
async def spans_async() -> None:
    with trace.get_tracer("site").start_as_current_span("inner"):
        await asyncio.sleep(0)


@retry_task(concurrency=10)
async def spans_beside_others() -> None:
    with trace.get_tracer("site").start_as_current_span("inner"):
        await asyncio.sleep(0.05)
