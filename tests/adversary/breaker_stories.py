"""What befalls a breaker, for the process that dies at each of its writes."""

from collections.abc import Callable
from datetime import timedelta

from django_retrytasks import worker
from django_retrytasks.database import DatabaseNow
from django_retrytasks.lifecycle import breakers
from django_retrytasks.models import OpenBreaker
from tests.support import service
from tests.support.driver import KEY
from tests.support.service import down

Act = Callable[[], object]


def a_breaker_that_opens() -> Act:
    service.calls.enqueue_many([()] * 4)
    return serve_while_down


def a_probe_that_fails() -> Act:
    tasks_behind_a_breaker()
    return serve_while_down


def a_breaker_that_closes() -> Act:
    tasks_behind_a_breaker()
    return lambda: worker.run(KEY)


def tasks_behind_a_breaker() -> None:
    breakers.open_breaker("tests.support.service.calls", probe_every=60)
    service.calls.enqueue_many([()] * 4)
    for _ in range(3):
        worker.run(KEY)
    OpenBreaker.objects.update(next_probe_at=DatabaseNow() - timedelta(seconds=1))


def serve_while_down() -> None:
    with down():
        worker.run(KEY)


STORIES = (a_breaker_that_opens, a_probe_that_fails, a_breaker_that_closes)
