"""Ask for the admin's pages beside a million Tasks, and say what each costs.

``DATABASE_URL=postgres://… python -m benchmarks.admin [--tasks 1000000] [--keep] [--plans]``
"""

from __future__ import annotations

import argparse
import os
import random
import re
import statistics
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from types import ModuleType
from typing import Any, NamedTuple

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.settings")

import django

django.setup()

from django.contrib import admin
from django.contrib.auth.models import User
from django.db import connection, models, transaction
from django.test import Client, override_settings
from django.test.utils import setup_databases, teardown_databases
from django.urls import path
from django.utils import timezone

from django_retrytasks import retry_task
from django_retrytasks.errors.fingerprints import fingerprint
from django_retrytasks.lifecycle import tallies
from django_retrytasks.lifecycle.internal import ANNOUNCE_PRIORITY
from django_retrytasks.models import FINAL, Attempt, FailureGroup, Status, Tally, Task
from django_retrytasks.policy import StopReason
from django_retrytasks.values.entries import ANNOUNCE_ENTRY

urlpatterns = [path("admin/", admin.site.urls)]

TASKS = "/admin/retrytasks/task/"
GROUPS = "/admin/retrytasks/failuregroup/"
# What is asked for; the words in braces are looked up in the filled database by samples().
PAGES = {
    "list": TASKS,
    "list, page 2": f"{TASKS}?p=2",
    "list, last page": f"{TASKS}?p={{last_page}}",
    "list, internal": f"{TASKS}?internal=yes",
    "list, internal as well": f"{TASKS}?internal=all",
    **{f"list, {status.label.lower()}": f"{TASKS}?status={status}" for status in Status},
    "list, a busy queue": f"{TASKS}?queue_name=orders",
    "list, a queue of old": f"{TASKS}?queue_name=reports",
    "list, queue and status": f"{TASKS}?queue_name=reports&status=FAILED",
    "list, a function": f"{TASKS}?name=orders.tasks.confirm",
    "list, a function of old": f"{TASKS}?name=reports.tasks.count_stock",
    "list, an error": f"{TASKS}?error=stock.errors.Conflict",
    "list, retried": f"{TASKS}?retried=yes",
    "list, stuck": f"{TASKS}?stuck=yes",
    "list, an hour": f"{TASKS}?within=hour",
    "search, an id": f"{TASKS}?q={{failed}}",
    "search, a path begins": f"{TASKS}?q=payments.tasks",
    "search, a path of old": f"{TASKS}?q=reports.tasks.count",
    "search, a name begins": f"{TASKS}?q=count",
    "search, an error": f"{TASKS}?q=stock.errors.Conflict",
    "search, part of an error": f"{TASKS}?q=no answer",
    "search, a key": f"{TASKS}?q={{key}}",
    "search, nothing found": f"{TASKS}?q=nowhere",
    "task, waiting": f"{TASKS}{{waiting}}/change/",
    "task, 4 attempts": f"{TASKS}{{failed}}/change/",
    "task, 50 attempts": f"{TASKS}{{polled}}/change/",
    "failures": GROUPS,
    "failures, failing still": f"{GROUPS}?failing=yes",
    "failures, searched": f"{GROUPS}?q=Conflict",
    "failure group": f"{GROUPS}{{group}}/change/",
    "failure group's tasks": f"{TASKS}?failure_group={{group}}",
}
REPEATS = 5
# Seconds that a page may take.
SLOW = 0.150
# What no scan may read, by an index or not: more rows than this, if they are a tenth of the table.
MANY_ROWS = 10_000
MUCH = 0.1

SPAN = timedelta(days=7)
# The age of the youngest Task: the longest takes eleven minutes, and none has ended in the future.
YOUNGEST = timedelta(minutes=15)
# From one attempt's end to the next one's.
STEP = timedelta(seconds=10)
SECOND = timedelta(seconds=1)
CHUNK = 20_000
FEWEST = 1_000
STATUSES = {
    Status.SUCCEEDED: 0.9,
    Status.FAILED: 0.05,
    Status.DISCARDED: 0.02,
    Status.PENDING: 0.02,
    Status.RETRYING: 0.00999,
    Status.RUNNING: 0.00001,
}
# Names and errors are the rarer, the later they stand. A path's first part is the queue as well.
NAMES = (
    *(f"orders.tasks.{name}" for name in ("confirm", "ship", "cancel", "refund", "archive")),
    *(f"mails.tasks.{name}" for name in ("receipt", "news", "bounce", "welcome", "remind")),
    *(f"stock.tasks.{name}" for name in ("reserve", "release", "reorder", "audit")),
    *(f"payments.tasks.{name}" for name in ("capture", "settle", "refund", "charge_back")),
)
# One of fifty that succeed; it waits for something and puts itself off some forty times.
POLLING = "payments.tasks.await_settlement"
# One of a hundred until it was given up, six days ago.
OLD = "reports.tasks.count_stock"
ERRORS = tuple(
    f"{module}.{name}"
    for name in ("TimeoutError", "ConnectionError", "Refused", "NotFound", "Conflict")
    for module in (
        *("smtplib", "requests.exceptions", "psycopg.errors", "redis.exceptions"),
        *("orders.errors", "mails.errors", "payments.errors", "stock.errors"),
    )
)

Row = dict[str, Any]
"""A value for each column whose field's default will not do."""


class Scan(NamedTuple):
    """A scan in a plan: its kind, what it scans, and the rows it read, thrown away or not."""

    kind: str
    table: str
    rows: int


@dataclass(frozen=True, kw_only=True)
class Query:
    """A query of a page: how long it took, in seconds, and its plan."""

    sql: str
    seconds: float
    plan: dict[str, Any]
    scans: Sequence[Scan]
    reads_much: bool


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a page cost: its seconds each time, how many queries, and those that read."""

    times: Sequence[float]
    query_count: int
    queries: Sequence[Query]

    @property
    def worst(self) -> Query:
        """Return the slowest query, or of those that read much the slowest."""
        return max(self.queries, key=lambda query: (query.reads_much, query.seconds))

    @property
    def faults(self) -> list[str]:
        slow = statistics.median(self.times) > SLOW
        return ["slow"] * slow + ["reads much"] * self.worst.reads_much


def define(path: str) -> None:
    """Have a function stand there, as on a site, where it is imported once."""
    module_path, _, name = path.rpartition(".")
    package, _, leaf = module_path.partition(".")
    sys.modules.setdefault(package, ModuleType(package))
    module = sys.modules.setdefault(module_path, ModuleType(module_path))
    setattr(sys.modules[package], leaf, module)

    def function(customer: str, order: dict[str, Any], *, notify: bool = False) -> None: ...

    function.__module__, function.__name__, function.__qualname__ = module_path, name, name
    setattr(module, name, retry_task(function))


def main() -> int:
    """Ask for every page, print what it cost, and return 1 if any is at fault."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=1_000_000, help="Tasks in the database")
    parser.add_argument("--keep", action="store_true", help="leave the database for the next run")
    parser.add_argument("--plans", action="store_true", help="print the plan of every query")
    options = parser.parse_args()
    if connection.vendor != "postgresql":
        parser.error("DATABASE_URL must name a PostgreSQL database")
    if options.tasks < FEWEST:
        parser.error(f"--tasks must be at least {FEWEST:,}, so that there are some of each kind")
    for name in (*NAMES, POLLING, OLD):
        define(name)
    databases = setup_databases(0, False, keepdb=options.keep, serialized_aliases=set())
    try:
        if Task.objects.count() != options.tasks:
            fill(options.tasks)
        answers = ask_for_all()
    finally:
        teardown_databases(databases, 0, keepdb=options.keep)
    if options.plans:
        print_plans(answers)
    report(answers)
    return int(any(answer.faults for answer in answers.values()))


# ---- fill


def fill(count: int) -> None:
    """Store so many Tasks, enqueued over the last seven days, and twice as many Attempts."""
    tables = ", ".join(model._meta.db_table for model in (Task, Attempt, FailureGroup, Tally))
    with connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {tables}")
    random.seed(count)
    now, start = timezone.now(), time.perf_counter()
    groups: dict[uuid.UUID, Row] = {}
    for first in range(0, count, CHUNK):
        last = min(first + CHUNK, count)
        ages = (YOUNGEST + SPAN * (1 - number / count) for number in range(first, last))
        tasks = [new_task(now - age, now) for age in ages]
        store(tasks)
        add_failures(groups, tasks)
        print(f"{last:,} Tasks after {time.perf_counter() - start:.0f} s", flush=True)
    copy(FailureGroup, list(groups.values()))
    tallies.take()
    with connection.cursor() as cursor:
        # What autovacuum would have done by now; only then is an index read without its table.
        cursor.execute(f"VACUUM (ANALYZE) {tables}")


def store(tasks: list[Row]) -> None:
    with transaction.atomic():
        copy(Task, tasks)
        copy(Attempt, [attempt for task in tasks for attempt in attempts_of(task)])


def copy(model: type[models.Model], rows: list[Row]) -> None:
    fields: list[Any] = [field for field in model._meta.concrete_fields if not field.auto_created]
    rest = {
        field.column: field.get_db_prep_save(field.get_default(), connection)
        for field in fields
        if field.column not in rows[0]
    }
    columns = ", ".join([*rows[0], *rest])
    sql = f"COPY {model._meta.db_table} ({columns}) FROM STDIN"
    with connection.cursor() as cursor, cursor.copy(sql) as copying:
        for row in rows:
            copying.write_row((*row.values(), *rest.values()))


def new_task(enqueued_at: datetime, now: datetime) -> Row:
    status = random.choices(tuple(STATUSES), tuple(STATUSES.values()))[0]
    name = name_for(status, now - enqueued_at)
    internal = name == ANNOUNCE_ENTRY
    attempt_count = attempt_count_for(status, name)
    ended_at = enqueued_at + attempt_count * STEP
    claimed_at = now - SECOND if status == Status.RUNNING else ended_at - 2 * SECOND
    was_claimed = attempt_count or status == Status.RUNNING
    pk = uuid7(enqueued_at)
    return {
        "id": pk,
        "name": name,
        "args": arguments(),
        "kwargs": '{"notify":true}',
        "queue_name": "orders" if internal else name.partition(".")[0],
        "priority": ANNOUNCE_PRIORITY if internal else random.choice((0, 0, 0, 10, -10)),
        "backend": "default",
        "search_key": "" if internal else f"order-{pk.int & 0xFFFFF}",
        "internal": internal,
        "max_retries": None if name == POLLING else 3,
        "status": status.value,
        "retry_count": 0 if name == POLLING else max(attempt_count - 1, 0),
        "attempt_count": attempt_count,
        "failure_group_id": cause(name, error_of(pk)) if status == Status.FAILED else None,
        "stop_reason": stop_reason_for(status, attempt_count),
        "return_value": '{"sent":true}' if status == Status.SUCCEEDED else None,
        "run_after": run_after_for(status, now),
        "queued_at": enqueued_at,
        "enqueued_at": enqueued_at,
        "started_at": enqueued_at + STEP - SECOND if was_claimed else None,
        "last_attempted_at": claimed_at + SECOND if was_claimed else None,
        "finished_at": ended_at if status in FINAL else None,
        "claimed_at": claimed_at if was_claimed else None,
        "claim_token": uuid.uuid4() if status == Status.RUNNING else None,
        "worker": "app1 4711 Process-1:2" if was_claimed else "",
    }


def name_for(status: Status, age: timedelta) -> str:
    luck = random.random()
    if status == Status.SUCCEEDED and luck < 0.02:
        return POLLING
    if age > SPAN - timedelta(days=1) and luck > 0.99:
        return OLD
    # They are pruned an hour after their end.
    if status == Status.SUCCEEDED and age < timedelta(hours=1) and luck > 0.7:
        return ANNOUNCE_ENTRY
    return rarer_later(NAMES, random.random())


def attempt_count_for(status: Status, name: str) -> int:
    if name == POLLING:
        return random.randint(20, 64)
    match status:
        case Status.SUCCEEDED:
            return random.choices((1, 2, 4), (0.88, 0.09, 0.03))[0]
        case Status.FAILED:
            return random.choices((1, 4), (0.2, 0.8))[0]
        case Status.DISCARDED:
            return 1
        case Status.RETRYING:
            return random.randint(1, 3)
    return 0


def stop_reason_for(status: Status, attempt_count: int) -> str:
    if status == Status.FAILED:
        return (StopReason.MAX_RETRIES if attempt_count > 1 else StopReason.NOT_RETRYABLE).value
    return StopReason.DISCARDED.value if status == Status.DISCARDED else ""


def run_after_for(status: Status, now: datetime) -> datetime | None:
    if status in FINAL:
        return None
    if status == Status.RUNNING:
        return now + timedelta(hours=1)
    due = random.random() < 0.3
    return now - random.random() * timedelta(minutes=20) if due else now + random.random() * SPAN


def attempts_of(task: Row) -> Iterator[Row]:
    error = error_of(task["id"])
    for number in range(1, task["attempt_count"] + 1):
        ended_at = task["enqueued_at"] + number * STEP
        final = number == task["attempt_count"] and task["finished_at"] is not None
        outcome = outcome_of(task, final)
        failed = outcome == Attempt.Outcome.FAILED
        yield {
            "task_id": task["id"],
            "number": number,
            "outcome": outcome,
            "retry_count": 0 if task["name"] == POLLING else number - 1,
            "queued_at": ended_at - 2 * SECOND,
            "started_at": ended_at - SECOND,
            "finished_at": ended_at,
            "worker": task["worker"],
            "exception_class_path": error if failed else "",
            "exception_message": f"no answer for {task['id']}" if failed else "",
            "traceback": traceback_of(error) if failed else "",
            "decision": "no retry follows" if final else "retry 1 of 3 in 5 s",
            "next_run_after": None if final else ended_at + SECOND,
        }


def outcome_of(task: Row, final: bool) -> str:
    if final:
        return task["status"]
    polls = task["name"] == POLLING
    return (Attempt.Outcome.SNOOZED if polls else Attempt.Outcome.FAILED).value


def add_failures(groups: dict[uuid.UUID, Row], tasks: list[Row]) -> None:
    for task in (task for task in tasks if task["status"] == Status.FAILED):
        pk, error = task["failure_group_id"], error_of(task["id"])
        group = groups.setdefault(pk, new_group(task, error))
        group["failure_count"] += 1
        group["failed_attempt_count"] += task["attempt_count"]
        group["streak_count"] += group["streak_started_at"] is not None
        group |= {"last_seen_at": task["finished_at"], "last_failed_at": task["finished_at"]}
        group["sample_id"] = task["id"]


def new_group(task: Row, error: str) -> Row:
    return {
        "fingerprint": task["failure_group_id"],
        "name": task["name"],
        "exception_class_path": error,
        "origin": f"{task['name']}: send(prepared)",
        "message": f"no answer for {task['id']}",
        "failure_count": 0,
        "failed_attempt_count": 0,
        "first_seen_at": task["started_at"],
        # Every other one has recovered.
        "streak_started_at": random.choice((None, task["finished_at"])),
        "streak_count": 0,
    }


@cache
def cause(name: str, error: str) -> uuid.UUID:
    return fingerprint(name, error, f"{name}: send(prepared)", "")


def error_of(pk: uuid.UUID) -> str:
    """Return why this Task fails if it does: always the same."""
    return rarer_later(ERRORS, (pk.int & 0xFFFF) / 0x10000)


@cache
def traceback_of(error: str) -> str:
    """Return some 3 KB, which can be compressed to a third as real ones can."""
    module = error.rpartition(".")[0].replace(".", "/")
    frames = (
        f'  File "/srv/shop/{module}/{random.getrandbits(40):x}.py", line {line}, in send\n'
        f"    return self.{random.getrandbits(80):x}({random.random()}, **options)\n"
        for line in random.sample(range(1000), 23)
    )
    return f"Traceback (most recent call last):\n{''.join(frames)}{error}: no answer\n"


def arguments() -> str:
    """Return some 200 bytes."""
    customer, number = random.getrandbits(128), random.getrandbits(32)
    return (
        f'["{customer:032x}",{{"number":{number},"currency":"EUR","lines":[{{"sku":"A-{number}",'
        '"count":2}],"note":"leave it with the neighbours if nobody answers the door, please"}]'
    )


def rarer_later(choices: Sequence[str], luck: float) -> str:
    return choices[int(len(choices) * luck**3)]


def uuid7(at: datetime) -> uuid.UUID:
    milliseconds = int(at.timestamp() * 1000)
    value = milliseconds << 80 | 0x7 << 76 | random.getrandbits(12) << 64
    return uuid.UUID(int=value | 0x2 << 62 | random.getrandbits(62))


# ---- ask


def ask_for_all() -> dict[str, Answer]:
    client = Client(SERVER_NAME="localhost")
    user, _ = User.objects.get_or_create(username="admin", is_staff=True, is_superuser=True)
    client.force_login(user)
    with override_settings(ROOT_URLCONF=__name__):
        words = samples(client)
        return {name: ask(client, url.format(**words)) for name, url in PAGES.items()}


def samples(client: Client) -> dict[str, Any]:
    """Return ids of Tasks of each kind, and the number of the list's last page."""
    tasks = Task.objects.filter(internal=False).values_list("pk", flat=True)
    pager = get(client, TASKS)
    return {
        "last_page": max(map(int, re.findall(r'href="\?p=(\d+)"', pager)), default=1),
        "key": Task.objects.filter(status=Status.FAILED).latest("pk").search_key,
        "waiting": tasks.filter(status=Status.PENDING).latest("pk"),
        "failed": tasks.filter(status=Status.FAILED, attempt_count=4).latest("pk"),
        "polled": tasks.filter(attempt_count__gte=50).latest("pk"),
        "group": FailureGroup.objects.latest("failure_count").pk,
    }


def ask(client: Client, url: str) -> Answer:
    times = [timed_get(client, url) for _ in range(1 + REPEATS)][1:]
    seen: list[tuple[str, Any, float]] = []

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        start = time.perf_counter()
        try:
            return execute(sql, params, many, context)
        finally:
            seen.append((sql, params, time.perf_counter() - start))

    with connection.execute_wrapper(note):
        get(client, url)
    queries = [explained(*query) for query in seen if query[0].startswith("SELECT")]
    return Answer(times=times, query_count=len(seen), queries=queries)


def timed_get(client: Client, url: str) -> float:
    start = time.perf_counter()
    get(client, url)
    return time.perf_counter() - start


def get(client: Client, url: str) -> str:
    response = client.get(url)
    if response.status_code != 200:
        raise SystemExit(f"{url} answers {response.status_code}")
    return response.content.decode()


def explained(sql: str, params: Any, seconds: float) -> Query:
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}", params)
        plan = cursor.fetchone()[0][0]["Plan"]
        cursor.execute("SELECT relname, reltuples FROM pg_class WHERE relkind = 'r'")
        sizes = dict(cursor.fetchall())
    found = list(scans(plan))
    reads_much = any(rows > max(MANY_ROWS, MUCH * sizes[table]) for _, table, rows in found)
    return Query(sql=sql, seconds=seconds, plan=plan, scans=found, reads_much=reads_much)


def scans(node: dict[str, Any]) -> Iterator[Scan]:
    """Walk the scans of tables in a plan."""
    if "Relation Name" in node:
        passed_over = ("Rows Removed by Filter", "Rows Removed by Index Recheck")
        rows = node["Actual Rows"] + sum(node.get(name, 0) for name in passed_over)
        yield Scan(node["Node Type"], node["Relation Name"], int(rows * node["Actual Loops"]))
    for child in node.get("Plans", ()):
        yield from scans(child)


# ---- tell


def report(answers: dict[str, Answer]) -> None:
    """Print each page's cost and faults, and the queries that read much."""
    load, processors = os.getloadavg()[0], os.cpu_count()
    print(f"\nload average {load:.1f} on {processors} processors: above that, times say little")
    print(f"{'page':24}{'median':>9}{'worst':>9}{'queries':>9}   worst query")
    for name, answer in answers.items():
        median, longest = statistics.median(answer.times), max(answer.times)
        print(
            f"{name:24}{median * 1000:6.0f} ms{longest * 1000:6.0f} ms{answer.query_count:9}"
            f"{shown(answer.worst)}   {' and '.join(answer.faults)}"
        )
    for name, answer in answers.items():
        if answer.worst.reads_much:
            print(f"\n{name}: {answer.worst.sql}")


def shown(query: Query) -> str:
    rows = sum(scan.rows for scan in query.scans)
    kinds = " + ".join(dict.fromkeys(scan.kind for scan in query.scans))
    return f"{query.seconds * 1000:7.0f} ms {rows:11,} rows by {kinds}"


def print_plans(answers: dict[str, Answer]) -> None:
    for name, answer in answers.items():
        for query in answer.queries:
            print(f"\n{name}, {query.seconds * 1000:.1f} ms: {query.sql}")
            print("\n".join(lines(query.plan)))


def lines(node: dict[str, Any], depth: int = 1) -> Iterator[str]:
    """Walk a plan's nodes as a line each: kind, table or index, condition, rows, time."""
    named = [node.get(name, "") for name in ("Relation Name", "Index Name")]
    asked = [node[name] for name in ("Index Cond", "Filter", "Sort Key") if name in node]
    rows = f"{node['Actual Rows']:,.0f} rows x {node['Actual Loops']}"
    removed = f", {node['Rows Removed by Filter']:,} removed" if "Filter" in node else ""
    took = f"{node['Actual Total Time']:.1f} ms, {node['Shared Hit Blocks']:,} hits"
    words = [node["Node Type"], *filter(None, named), *map(str, asked)]
    yield f"{'  ' * depth}{' '.join(words)}: {rows}{removed}, {took}"
    for child in node.get("Plans", ()):
        yield from lines(child, depth + 1)


if __name__ == "__main__":
    sys.exit(main())
