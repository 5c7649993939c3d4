"""Two sessions at work on the same Tasks, their statements in every order that there is.

Where there are too many orders, some that are evenly spread among them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import combinations, islice
from math import comb
from threading import Condition, Thread
from typing import Any, TypeVar
from unittest.mock import patch

from django.db import connection, connections
from django.utils import timezone

from django_retrytasks import lifecycle
from django_retrytasks.lifecycle import Claim, Ending
from django_retrytasks.models import Task
from tests.support import tasks
from tests.support.driver import Driver
from tests.support.happenings import delete_everything
from tests.support.invariants import violations

MOST_ORDERS = 100
SECONDS_BETWEEN_QUESTIONS = 0.003

T = TypeVar("T")
Act = Callable[[], Any]

OWN_NUMBER = {"postgresql": "SELECT pg_backend_pid()", "mysql": "SELECT connection_id()"}


def waits_in_postgresql(cursor: Any, number: int) -> bool:
    sql = "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = %s"
    cursor.execute(sql, [number])
    return bool((cursor.fetchone() or [False])[0])


def waits_in_mariadb(cursor: Any, number: int) -> bool:
    # Not information_schema.innodb_trx: a copy that is made anew only when nobody has asked for a
    # tenth of a second, so two test runs that ask in turn are answered what has long passed.
    cursor.execute("SHOW ENGINE INNODB STATUS")
    _, *transactions = cursor.fetchone()[2].split("---TRANSACTION")
    return any("LOCK WAIT" in one and f"thread id {number}," in one for one in transactions)


# Whether a session waits for a lock, by the number that its server knows it by.
IS_WAITING = {"postgresql": waits_in_postgresql, "mysql": waits_in_mariadb}


class Session(Thread):
    """A database session of its own that stops before each statement until it is told to go on."""

    def __init__(self, act: Act) -> None:
        super().__init__(daemon=True)
        self._act = act
        self._changed = Condition()
        self._may_go = self._is_free = False
        self._is_between = False
        self._is_over = False
        self.number = 0
        self.steps = 0
        self.value: Any = None
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            with ExitStack() as stack:
                self._begin(stack)
                self.value = self._act()
        except BaseException as error:  # told by finished()
            self.error = error
        finally:
            connections.close_all()
            with self._changed:
                self._is_over = True
                self._changed.notify_all()

    def _begin(self, stack: ExitStack) -> None:
        with connection.cursor() as cursor:
            cursor.execute(OWN_NUMBER[connection.vendor])
            self.number = cursor.fetchone()[0]
        stack.enter_context(connection.execute_wrapper(self._execute))
        stack.enter_context(patch.object(connection, "commit", self._commit(connection.commit)))

    def _execute(self, call: Callable[..., T], *statement: Any) -> T:
        self._pause()
        return call(*statement)

    def _commit(self, commit: Callable[[], None]) -> Callable[[], None]:
        def paused() -> None:
            self._pause()
            commit()

        return paused

    def _pause(self) -> None:
        with self._changed:
            self._is_between = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._may_go or self._is_free)
            self._is_between = self._may_go = False

    @property
    def is_ready(self) -> bool:
        """Whether it stands before a statement."""
        return self._is_between

    @property
    def is_over(self) -> bool:
        """Whether its act has ended."""
        return self._is_over

    def rests_within(self, seconds: float) -> bool:
        """Wait so long for it to stand before a statement, or to end; return whether it does."""
        with self._changed:
            return self._changed.wait_for(lambda: self._is_between or self._is_over, seconds)

    def step(self) -> None:
        """Let its next statement run."""
        self.steps += 1
        with self._changed:
            self._may_go = True
            self._is_between = False
            self._changed.notify_all()

    def let_go(self) -> None:
        """Let it run to its end, lest it holds locks for ever."""
        with self._changed:
            self._is_free = True
            self._changed.notify_all()


class Play:
    """Two acts in sessions of their own, their statements in a given order."""

    def __init__(self, first: Act, second: Act) -> None:
        self.sessions = [Session(first), Session(second)]

    def run(self, order: tuple[int, ...]) -> list[Any]:
        """Take the steps in this order; return what the acts returned.

        A session that waits for the other's lock misses its turns; what is left when the order is
        through is run to its end.
        """
        try:
            self._run(order)
        finally:
            for session in self.sessions:
                session.let_go()
        for session in self.sessions:
            if session.error:
                raise session.error
        return [session.value for session in self.sessions]

    def _run(self, order: tuple[int, ...]) -> None:
        for session in self.sessions:
            session.start()
            self._settle_down(session)
        for which in order:
            self._step(self.sessions[which])
        while not all(session.is_over for session in self.sessions):
            for session in self.sessions:
                self._step(session)

    def _step(self, session: Session) -> None:
        if session.is_ready:
            session.step()
        for one in self.sessions:
            self._settle_down(one)

    def _settle_down(self, session: Session) -> None:
        """Wait until it stands before a statement, waits for a lock, or has ended."""
        until = time.monotonic() + 20
        while not session.rests_within(SECONDS_BETWEEN_QUESTIONS):
            if self._is_locked(session):
                return
            assert time.monotonic() < until, f"neither done nor waiting for a lock: {session}"

    def _is_locked(self, session: Session) -> bool:
        with connection.cursor() as cursor:
            return IS_WAITING[connection.vendor](cursor, session.number)


def orders(first: int, second: int) -> Iterator[tuple[int, ...]]:
    """Yield orders of so many steps of the first session and so many of the second."""
    every = max(1, comb(first + second, first) // MOST_ORDERS)
    for places in islice(combinations(range(first + second), first), 0, None, every):
        yield tuple(0 if place in places else 1 for place in range(first + second))


def steps_of(act: Act) -> int:
    """Count the statements of an act that runs alone."""
    play = Play(act, lambda: None)
    play.run(())
    return play.sessions[0].steps


def plays(
    prepare: Callable[[], tuple[Act, Act]], *, is_pruned: bool = False
) -> Iterator[list[Any]]:
    """Play two acts in every order; yield what they returned, the rows as they have left them."""
    counts = []
    for which in (0, 1):
        delete_everything()
        counts.append(steps_of(prepare()[which]))
    for order in orders(*counts):
        delete_everything()
        yield Play(*prepare()).run(order)
        assert violations(is_pruned=is_pruned) == [], f"in the order {order}"


def claim(limit: int = 50) -> Claim:
    return lifecycle.claim({("default", 0): timezone.now()}, limit=limit, worker="host:1:one")


def claimed(*, many: int = 1) -> list[Task]:
    tasks.echoes.enqueue_many([(n,) for n in range(many)])
    return list(claim().tasks)


def settling(claimed_tasks: list[Task], **ending: Any) -> Act:
    endings: list[Ending] = [Driver().ending(task, **ending) for task in claimed_tasks]
    return lambda: lifecycle.settle(endings)
