"""Named tasks that meddle with their own claim, or with their worker's database session."""

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.db import connection, transaction

from django_retrytasks import RetryTaskContext, retry_task
from django_retrytasks.models import Status, Task
from tests.support.cluster import wait_for
from tests.support.driver import in_another_session


@retry_task(bind=True)
def watches_its_batch(self: RetryTaskContext) -> dict[str, Any]:
    """Wait until no neighbour is held any more; return what is stored of all of them."""
    own = Task.objects.get(pk=self.request.id)
    others = Task.objects.exclude(pk=own.pk)
    wait_for(lambda: not others.filter(status=Status.RUNNING).exists(), 10)
    wait_for(lambda: Task.objects.filter(pk=own.pk, run_after__gt=own.run_after).exists(), 10)
    return {name: status for [name], status in others.values_list("args", "status")}


@retry_task(bind=True)
def loses_its_claim(self: RetryTaskContext) -> str:
    """Do as if the worker had been frozen until another one had taken the Task over."""
    Task.objects.filter(pk=self.request.id).update(claim_token=uuid.uuid4())
    return "too late"


@retry_task(max_retries=0)
def kills_its_session(vendor: str, session: int) -> str:
    """Have the database's server end this worker's session; return all the same."""
    kill = {"postgresql": "SELECT pg_terminate_backend(%s)", "mysql": "KILL %s"}[vendor]
    in_another_session(lambda: connection.cursor().execute(kill, [session])).result()
    return "survived"


@retry_task(max_retries=0)
def leaves_autocommit_off() -> str:
    transaction.set_autocommit(False)
    return "done"


@retry_task(max_retries=0)
def wraps_a_new_connection() -> list[str]:
    """Return which of two queries a wrapper sees whose block opens the connection."""
    seen = []

    def note(execute: Callable[..., Any], sql: str, *args: Any) -> Any:
        seen.append(sql)
        return execute(sql, *args)

    def ask() -> None:
        with connection.execute_wrapper(note), connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        with connection.cursor() as cursor:
            cursor.execute("SELECT 2")
        connection.close()

    # A thread has a connection of its own, not open yet.
    with ThreadPoolExecutor(1) as pool:
        pool.submit(ask).result()
    return [sql for sql in seen if sql in ("SELECT 1", "SELECT 2")]
