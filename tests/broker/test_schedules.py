"""A Schedule that django-q2 cannot run is named, with the reason; others are not."""

from __future__ import annotations

import json
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.utils import timezone
from django_q.models import OrmQ, Schedule
from django_q.scheduler import scheduler

from django_retrytasks import health
from django_retrytasks.broker import sweep_schedule

# The scheduler closes connections.
pytestmark = pytest.mark.django_db(transaction=True)

BROKEN: dict[str, dict[str, Any]] = {
    "args that do not parse": {"args": "1, ("},
    "args that are names": {"args": "today"},
    "args with an unhashable key": {"args": "{[]: 1}"},
    "keywords that are no mapping": {"kwargs": "[1]"},
    "keywords that are nothing": {"kwargs": "None"},
    "keywords that end the call": {"kwargs": "a=1) + (2"},
    "options that are no mapping": {"kwargs": "q_options=3"},
    "a keyword of django-q2's own": {"kwargs": "func='other'"},
    "keys that are no names": {"kwargs": "{1: 2}"},
    "no cron line": {"schedule_type": Schedule.CRON, "cron": "nonsense"},
    "a type that there is not": {"schedule_type": "X"},
}
SOUND: dict[str, dict[str, Any]] = {
    "nothing": {},
    "one value": {"args": "1"},
    "values": {"args": "1, 'two', [3]"},
    "keywords": {"kwargs": "a=1, b='two'"},
    "a mapping": {"kwargs": "{'a': 1}"},
    "keywords that do not parse are dropped": {"kwargs": "a=today"},
    "options": {"kwargs": "q_options={'save': False, 'timeout': 5}", "hook": "math.floor"},
    "every hour": {"schedule_type": Schedule.HOURLY},
    "every month": {"schedule_type": Schedule.MONTHLY},
    "its moment": {"intended_date_kwarg": "moment", "repeats": 3},
}


def schedule(**values: Any) -> Schedule:
    """Store a Schedule that is due, as if by hand."""
    due = timezone.now() - timedelta(minutes=1)
    row = Schedule(**{"name": "nightly", "func": "math.floor", "next_run": due, **values})
    Schedule.objects.bulk_create([row])
    return Schedule.objects.latest("pk")


@pytest.fixture(autouse=True)
def no_others() -> None:
    Schedule.objects.all().delete()


@pytest.mark.parametrize("name", BROKEN)
def test_one_that_keeps_the_scheduler_from_going_on_is_told(name: str) -> None:
    row = schedule(**BROKEN[name])
    schedule(name="other")

    [told] = sweep_schedule.broken_schedules()

    assert told.startswith(f"nightly (id {row.pk}): ")
    scheduler()
    assert not OrmQ.objects.exists()


@pytest.mark.parametrize("name", SOUND)
def test_one_that_django_q2_runs_is_not(name: str) -> None:
    schedule(**SOUND[name])

    assert sweep_schedule.broken_schedules() == []
    scheduler()
    assert OrmQ.objects.count() == 1


def test_one_that_is_never_run_again_is_not() -> None:
    schedule(args="1, (", repeats=0)
    schedule(args="1, (", next_run=None)

    assert sweep_schedule.broken_schedules() == []


def test_health_names_it_with_the_reason() -> None:
    row = schedule(name=None, args="1, (")
    out = StringIO()

    call_command("retrytasks", "health", stdout=out)

    *_, line = out.getvalue().splitlines()
    reason = f"math.floor (id {row.pk}): SyntaxError: '(' was never closed"
    assert line.startswith(f"cannot run, and holds up all schedules: {reason}")
    assert health.check().broken_schedules == sweep_schedule.broken_schedules()
    out = StringIO()
    call_command("retrytasks", "health", "--json", stdout=out)
    assert json.loads(out.getvalue())["broken_schedules"] == sweep_schedule.broken_schedules()
