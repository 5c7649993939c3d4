"""A site where many causes fail at once, and what is heard of them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from django_retrytasks import retry_task
from django_retrytasks.alerts import Alert
from django_retrytasks.alerts.notices import NoticeKind
from django_retrytasks.models import FailureGroup
from tests.support import shop
from tests.support.driver import Driver
from tests.support.shop import heard, mood, sweep
from tests.support.shop import shop_is_down as shop_is_down

HERE = "tests.support.floods"
SINKS = "django_retrytasks.alerts"
SITE = "https://shop.example"
REASON = "More failure groups than ALERT_LIMIT allows to alert one by one"


@retry_task(max_retries=0)
def breaks_at(place: int) -> None:
    """Fail in a function of its own for each place, so by a cause of its own."""
    if mood["fails"]:
        source = f"def place_{place}():\n    raise ConnectionError('refused')\nplace_{place}()"
        exec(compile(source, "/shop/places.py", "exec"), {"__name__": "shop.places"})


@pytest.fixture(autouse=True)
def many_may_fail(shop_is_down: None, settings: Any) -> None:
    settings.RETRYTASKS |= {"ALERT_LIMIT": 4, "SITE_URL": SITE}


def fail(driver: Driver, *places: int) -> None:
    """Have a Task fail for good at each of these places, and its announcement run."""
    breaks_at.enqueue_many([(place,) for place in places])
    driver.drain()


def recover(driver: Driver) -> None:
    """Have a Task succeed after six quiet minutes, and the sweep find it."""
    shop.recover(driver, breaks_at, 0)


def kinds() -> dict[str, int]:
    return dict(Counter(alert.kind.value for alert in heard))


def groups_told_of() -> int:
    return sum(alert.group_count for alert in heard if alert.kind != NoticeKind.RECOVERED)


def failing() -> int:
    """Return how many causes fail still."""
    failed = FailureGroup.objects.filter(kind=FailureGroup.Kind.FAILURE)
    return int(failed.failing().count())


def flood_of(driver: Driver) -> Alert:
    """Have five causes fail six times in all, two of them held back; return what is told of it."""
    FailureGroup.objects.all().delete()
    fail(driver, *range(5))
    alone = {alert.group.origin for alert in heard}
    [first, _] = sorted({f"shop.places.place_{n}" for n in range(5)} - alone)
    fail(driver, int(first.rpartition("_")[2]))
    sweep(driver)
    return heard[-1]
