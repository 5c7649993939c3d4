"""A cluster that listens: what is due is pulled at once, however long its poll is."""

from __future__ import annotations

import logging
import pickle
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone
from django_q.conf import Conf
from django_q.models import OrmQ
from django_q.signing import SignedPackage
from django_q.tasks import async_task

from django_retrytasks import lifecycle
from django_retrytasks.broker import listening, wakeups
from django_retrytasks.broker.listening import ListeningBroker
from tests.support import tasks
from tests.support.cluster import wait_for
from tests.support.driver import KEY, Driver, Outcome, Session, in_another_session

PATH = "django_retrytasks.broker.listening.ListeningBroker"
# Seconds. Nothing here is pulled by the poll: a test would rather fail.
POLL = 60
SOON = 20

committing = pytest.mark.django_db(transaction=True)
on_postgresql = pytest.mark.skipif(
    connection.vendor != "postgresql", reason="only PostgreSQL sends notifications"
)
Pull = Callable[..., Session]


@pytest.fixture(autouse=True)
def _chosen(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the site choose the broker, with a long poll."""
    settings.Q_CLUSTER = {**settings.Q_CLUSTER, "broker_class": PATH, "poll": POLL}
    monkeypatch.setattr(Conf, "BROKER_CLASS", PATH)  # read when django-q2 is imported
    monkeypatch.setattr(Conf, "POLL", POLL)


@pytest.fixture
def pull() -> Iterator[Pull]:
    """Return a function that lets a cluster of a key wait for rows; its result are the rows."""
    started = []

    def start(key: str = KEY) -> Session:
        session = in_another_session(lambda: pulled_by(ListeningBroker(key)))
        started.append((session, key))
        wait_for(lambda: listeners("LISTEN", key))
        return session

    yield start
    for session, key in started:
        if session.is_alive():
            wakeups.write(key, [wakeups.now()])
        session.join(SOON)


def pulled_by(broker: ListeningBroker) -> list[tuple[int, str]]:
    with closing(broker):
        while not (rows := broker.dequeue()):
            pass
        assert listeners("LISTEN", broker.list_key) == []
        return rows


def listeners(verb: str, key: str = KEY) -> list[int]:
    """Return the process ids of the sessions that listen to a cluster's channel."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query = %s",
            [f"{verb} {listening.channel(key)}"],
        )
        return [pid for (pid,) in cursor.fetchall()]


@contextmanager
def heard(key: str = KEY) -> Iterator[Callable[[], list[str]]]:
    """Listen to a cluster's channel; yield a function that returns what was heard since."""
    own: Any = connection.copy()
    with own.cursor() as cursor, closing(own):
        cursor.execute(f"LISTEN {listening.channel(key)}")
        yield lambda: [each.payload for each in own.connection.notifies(timeout=0.3)]


def enqueues_one(driver: Driver) -> None:
    tasks.echoes.enqueue(1)


def enqueues_for_soon(driver: Driver) -> None:
    tasks.echoes.using(run_after=timezone.now() + timedelta(seconds=0.3)).enqueue(1)


def uses_django_q_alone(driver: Driver) -> None:
    async_task("math.sqrt", 4)


def retries_a_failed_attempt(driver: Driver) -> None:
    [task] = claimed(driver)
    lifecycle.settle([driver.ending(task, Outcome.FAILED, countdown=0.3)])


def re_drives_a_failed_task(driver: Driver) -> None:
    [task] = claimed(driver)
    lifecycle.settle([driver.ending(task, Outcome.FAILED)])
    OrmQ.objects.all().delete()
    lifecycle.redrive([task.pk])


def claimed(driver: Driver) -> Any:
    result = tasks.echoes.enqueue(1)
    OrmQ.objects.all().delete()
    return lifecycle.claim_inline([uuid.UUID(result.id)], worker="host:1:one").tasks


@on_postgresql
@committing
def test_rows_that_another_transaction_has_locked_are_looked_at_with_pauses() -> None:
    wakeups.write(KEY, [wakeups.now()])
    looks = 0

    def look(execute: Any, sql: str, *args: Any) -> Any:
        nonlocal looks
        looks += "SKIP LOCKED" in sql
        return execute(sql, *args)

    def pull_for_a_while() -> None:
        with closing(ListeningBroker(KEY)) as broker, connection.execute_wrapper(look):
            until = time.monotonic() + 5 * listening.LOCKED
            while time.monotonic() < until:
                assert broker.dequeue() is None

    with transaction.atomic():
        list(OrmQ.objects.select_for_update())
        in_another_session(pull_for_a_while).join(SOON)

    assert 1 <= looks <= 7


@on_postgresql
@committing
class TestWaitingCluster:
    @pytest.mark.parametrize(
        "act",
        [
            enqueues_one,
            enqueues_for_soon,
            uses_django_q_alone,
            retries_a_failed_attempt,
            re_drives_a_failed_task,
        ],
    )
    def test_pulls_at_once_what_a_site_writes_meanwhile(
        self, pull: Pull, driver: Driver, act: Callable[[Driver], None]
    ) -> None:
        session = pull()
        with transaction.atomic():  # rows that some acts write on their way are never visible
            act(driver)

        [(pk, payload)] = session.result(SOON)

        expected = "math.sqrt" if act is uses_django_q_alone else "django_retrytasks.worker.run"
        assert SignedPackage.loads(payload)["func"] == expected
        assert OrmQ.objects.get(pk=pk).lock > timezone.now()

    def test_pulls_nothing_before_its_moment(self, pull: Pull) -> None:
        session, moment = pull(), timezone.now() + timedelta(seconds=0.4)

        tasks.echoes.using(run_after=moment).enqueue(1)

        assert len(session.result(SOON)) == 1
        assert timezone.now() >= moment

    def test_waits_for_a_moment_that_was_known_before(self, pull: Pull) -> None:
        moment = timezone.now() + timedelta(seconds=0.4)
        tasks.echoes.using(run_after=moment).enqueue(1)

        assert len(pull().result(SOON)) == 1
        assert timezone.now() >= moment

    def test_is_not_woken_by_what_is_rolled_back(self, pull: Pull) -> None:
        session = pull()
        with transaction.atomic():
            tasks.echoes.enqueue(1)
            transaction.set_rollback(True)

        kept = tasks.echoes.enqueue(2)

        [(pk, _)] = session.result(SOON)
        assert Driver().row(kept).wakeup_id == pk

    @pytest.mark.parametrize("key", ["a\"b'; c-%s", "ü" * 60, "slow"])
    def test_hears_of_its_own_key_alone_whatever_that_is(
        self, pull: Pull, settings: Any, key: str
    ) -> None:
        settings.Q_CLUSTER = {**settings.Q_CLUSTER, "ALT_CLUSTERS": {key: {}}}
        default, other = pull(), pull(key)

        task = Driver().row(tasks.echoes.using(queue_name=key).enqueue(1))
        assert [pk for pk, _ in other.result(SOON)] == [task.wakeup_id]
        assert default.is_alive()

        tasks.echoes.enqueue(1)
        assert len(default.result(SOON)) == 1

    def test_hears_again_after_its_connection_was_killed(
        self, pull: Pull, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(Conf, "POLL", 0.2)
        session = pull()
        [pid] = listeners("LISTEN")
        with caplog.at_level(logging.INFO, "django_retrytasks"):
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(%s)", [pid])
            wait_for(lambda: [new for new in listeners("LISTEN") if new != pid])
            monkeypatch.setattr(Conf, "POLL", POLL)
            wait_for(lambda: len(caplog.records) == 2)

        tasks.echoes.enqueue(1)

        assert len(session.result(SOON)) == 1
        assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
        assert "the cluster polls" in caplog.messages[0]

    def test_polls_if_a_notification_is_lost(
        self, pull: Pull, settings: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Conf, "POLL", 0.2)
        session = pull()
        settings.Q_CLUSTER = {**settings.Q_CLUSTER, "broker_class": None}

        tasks.echoes.enqueue(1)

        assert len(session.result(SOON)) == 1


@on_postgresql
@pytest.mark.django_db
class TestWriting:
    def test_one_task_takes_one_statement(
        self, django_assert_num_queries: Callable[[int], Any]
    ) -> None:
        with django_assert_num_queries(1):
            tasks.echoes.enqueue(1)

    def test_django_qs_own_task_too(self, django_assert_num_queries: Callable[[int], Any]) -> None:
        with django_assert_num_queries(1):
            pk = ListeningBroker(KEY).enqueue("package")

        row = OrmQ.objects.get(pk=pk)
        assert (row.key, row.payload) == (KEY, "package")
        assert row.lock <= timezone.now()

    def test_each_of_many_wake_ups_has_its_id(self) -> None:
        wakes = [wakeups.now(), wakeups.later(1, timezone.now()), wakeups.now()]

        ids = wakeups.write(KEY, wakes)

        rows = OrmQ.objects.in_bulk(ids)
        assert [rows[pk].lock for pk in ids] == [wake.at for wake in wakes]

    @committing
    def test_nobody_is_notified_of_what_comes_after_the_next_poll(self) -> None:
        with heard() as notifications:
            tasks.echoes.using(run_after=timezone.now() + timedelta(seconds=POLL + 30)).enqueue(1)
            assert OrmQ.objects.count() == 1
            assert notifications() == []
            tasks.echoes.enqueue(1)
            assert notifications() == [""]

    @committing
    def test_nobody_is_notified_unless_the_site_chose_the_broker(self, settings: Any) -> None:
        settings.Q_CLUSTER = {
            **settings.Q_CLUSTER,
            "broker_class": "django_q.brokers.orm.ORM",
            "ALT_CLUSTERS": {"slow": {"broker_class": PATH}},
        }
        with heard() as notifications, heard("slow") as slow:
            tasks.echoes.enqueue(1)
            tasks.echoes.using(queue_name="slow").enqueue_many([(1,), (2,)])
            assert (notifications(), slow()) == ([], [""])


@pytest.mark.django_db
class TestElsewhere:
    @pytest.mark.skipif(connection.vendor == "postgresql", reason="PostgreSQL sends notifications")
    def test_it_is_the_stock_broker_and_warns_once(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(Conf, "POLL", 0.01)
        broker = ListeningBroker(KEY)
        task = Driver().row(tasks.echoes.enqueue(1))
        own = broker.enqueue("package")

        pulled = [row for _ in range(3) for row in broker.dequeue() or []]

        assert {pk for pk, _ in pulled} == {task.wakeup_id, own}
        [warning] = [record for record in caplog.records if record.levelname == "WARNING"]
        assert warning.getMessage() == (
            f"ListeningBroker needs PostgreSQL. On {connection.display_name} it polls, as "
            "django-q2's own broker does"
        )

    def test_it_can_be_handed_to_a_process_that_is_not_forked(self) -> None:
        broker = pickle.loads(pickle.dumps(ListeningBroker("slow")))

        broker.enqueue("package")

        assert OrmQ.objects.get(key="slow").payload == "package"
        broker.close()
