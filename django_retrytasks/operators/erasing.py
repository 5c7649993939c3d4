"""Erase what is stored of a person: the Tasks of a search key, and the traces that they left.

The traces are messages and samples of failure groups, texts of operations that name the key, the
finished internal Tasks that announced or alerted, and breakers for the key. Unfinished internal
Tasks stay: they find the Task gone, end, and are pruned an hour later.
"""

from __future__ import annotations

import re
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from django.db.models import Q, TextField
from django.db.models.functions import Cast

from django_retrytasks import lifecycle
from django_retrytasks.database import exactly, writing
from django_retrytasks.lifecycle import breakers, groups, pruning
from django_retrytasks.models import (
    FINAL,
    Attempt,
    FailureGroup,
    OpenBreaker,
    Operation,
    Status,
    Task,
    TaskQuerySet,
    fingerprint_of,
)
from django_retrytasks.tasks.arguments import as_breaker_key, as_search_key
from django_retrytasks.values.entries import BREAKER_ENTRY

from . import operations

# Tasks per transaction.
CHUNK = 500
ERASED = "[erased]"
# A shorter key is no trace in a text: it would be found in many.
SHORTEST = 4
UUIDS = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def tasks_of(key: str) -> TaskQuerySet:
    """Return the Tasks of a search key.

    Raises:
        ValueError: the key is empty.
    """
    key = as_search_key(key)
    if not key:
        raise ValueError("the search key is empty")
    # The index requires the second condition.
    return Task.objects.filter(exactly("search_key", key), search_key__gt="")


def running(key: str) -> TaskQuerySet:
    """Return the running Tasks of a search key."""
    return tasks_of(key).filter(status=Status.RUNNING)


def cancel(tasks: TaskQuerySet) -> int:
    """Cancel Tasks; return how many. The outcome of a running one is refused."""
    return lifecycle.cancel(list(tasks.values_list("pk", flat=True)))


class Traces:
    """The Tasks of a search key, and the traces of these and earlier Tasks.

    Attributes:
        counts: what was found or erased so far, by kind: "tasks", "attempts", "failure_groups",
            "operations", "internal_tasks", "breakers".

    Args:
        key: the search key.
        cancelled: whether to count running Tasks as if they were cancelled; without it they are
            left out.

    Raises:
        ValueError: the key is empty.
    """

    def __init__(self, key: str, *, cancelled: bool = False) -> None:
        self._tasks = tasks_of(key)
        if not cancelled:
            self._tasks = self._tasks.exclude(status=Status.RUNNING)
        self._key = key.strip()
        self._named = re.compile(rf"(?<!\w){re.escape(self._key)}(?!\w)", re.IGNORECASE)
        self._breaker_key = as_breaker_key(self._key)
        self._names: set[str] = set()
        self._pks: set[uuid.UUID] = set()
        self._group_pks: set[uuid.UUID] = set()
        self.counts: Counter[str] = Counter()

    def count(self) -> Counter[str]:
        """Count what would be erased; change nothing."""
        for pks in self._chunks():
            self._note(pks, self._groups_of(pks))
            self.counts["attempts"] += Attempt.objects.filter(task__in=pks).count()
            # A cancel stores an attempt of a run that has started.
            begun = Task.objects.filter(pk__in=pks, status=Status.RUNNING)
            self.counts["attempts"] += begun.exclude(last_attempted_at=None).count()
        self.counts["operations"] = len(self._operations())
        self.counts["internal_tasks"] = len(self._internal())
        self.counts["breakers"] = len(self._breakers())
        return self.counts

    def erase(self) -> Iterator[int]:
        """Erase in short transactions; yield the number of Tasks erased so far.

        A crash leaves what was not erased yet: erase again. Only internal Tasks are not found again
        then; they are pruned an hour after their end.
        """
        for operation in self._operations():
            self._erase_texts(operation)
        for pks in self._chunks():
            with writing():
                self._erase(pruning.locked_ids(self._tasks, pks))
            yield self.counts["tasks"]
        for row in self._breakers():
            breakers.forget(row.name, row.key)
            self.counts["breakers"] += 1
        internal = self._internal()
        for start in range(0, len(internal), CHUNK):
            with writing():
                pruning.delete(internal[start : start + CHUNK])
        self.counts["internal_tasks"] = len(internal)

    def _chunks(self) -> Iterator[list[uuid.UUID]]:
        """Yield the ids of the Tasks; an empty chunk first, for the traces of pruned Tasks."""
        yield []
        rows = self._tasks.order_by("pk").values_list("pk", flat=True)
        pks = list(rows[:CHUNK])
        while pks:
            yield pks
            pks = list(rows.filter(pk__gt=pks[-1])[:CHUNK])

    def _erase(self, pks: Sequence[uuid.UUID]) -> None:
        traced = self._groups_of(pks)
        self.counts["attempts"] += pruning.delete(pks)
        # Last in the transaction, and in order, as a settle locks them.
        for group, _ in groups.locked(FailureGroup.objects.filter(pk__in=traced)):
            sample = None if group.sample_id in pks else group.sample_id
            message = ERASED if traced[group.pk] else group.message
            FailureGroup.objects.filter(pk=group.pk).update(message=message, sample=sample)
        self._note(pks, traced)

    def _note(self, pks: Sequence[uuid.UUID], traced: Iterable[uuid.UUID]) -> None:
        self.counts["tasks"] += len(pks)
        self._pks.update(pks)
        self._group_pks.update(traced)
        self.counts["failure_groups"] = len(self._group_pks)

    def _groups_of(self, pks: Sequence[uuid.UUID]) -> dict[uuid.UUID, bool]:
        """Return the groups with a trace of these Tasks, and whether it is in the message.

        It is one of their messages, or it names the key: it is of the group's first failure, whose
        Task may be pruned. Otherwise one of the Tasks is the sample.
        """
        attempts = Attempt.objects.filter(task__in=pks).exclude(exception_message="").order_by()
        messages = set(attempts.values_list("exception_message", flat=True).distinct())
        names = set(Task.objects.filter(pk__in=pks).values_list("name", flat=True))
        self._names |= names
        near = Q(name__in=names) | Q(sample__in=pks)
        if len(self._key) >= SHORTEST:
            near |= Q(message__icontains=self._key)
        traced = {}
        for group in FailureGroup.objects.filter(near, kind=FailureGroup.Kind.FAILURE):
            is_told = group.message in messages or bool(self._named.search(group.message))
            if is_told or group.sample_id in pks:
                traced[group.pk] = is_told
        return traced | self._breaker_groups_of(names)

    def _breaker_groups_of(self, names: Iterable[str]) -> dict[uuid.UUID, bool]:
        """Return the groups of the alerts about breakers for the key, as :meth:`_groups_of`."""
        prints = [fingerprint_of((name, self._breaker_key)) for name in names]
        near = Q(fingerprint__in=prints)
        if len(self._key) >= SHORTEST:
            near |= Q(message__icontains=self._key)
        rules = FailureGroup.objects.filter(near, kind=FailureGroup.Kind.RULE)
        named = {group.pk for group in rules if self._named.search(group.message)}
        return dict.fromkeys(named, True)

    def _operations(self) -> list[Operation]:
        return [row for row in Operation.objects.all() if self._erased(row) != _texts(row)]

    def _erase_texts(self, operation: Operation) -> None:
        operations.stop(operation.pk, "its selection was erased")
        with writing():
            row = Operation.objects.select_for_update().get(pk=operation.pk)
            Operation.objects.filter(pk=row.pk).update(**self._erased(row))
        self.counts["operations"] += 1

    def _erased(self, operation: Operation) -> dict[str, Any]:
        """Return an operation's texts without the key."""
        texts = _texts(operation)
        selection = texts.pop("selection")
        kept = {name: self._without(value) for name, value in texts.items()}
        search = str(selection.get("search", "")).removeprefix("key:").strip()
        narrowed = {name: self._without(value) for name, value in selection.items()}
        if search == self._key:
            narrowed["search"] = ERASED
        return {"selection": narrowed, **kept}

    def _without(self, text: Any) -> Any:
        is_named = len(self._key) >= SHORTEST and self._named.search(str(text))
        return ERASED if is_named else text

    def _breakers(self) -> list[OpenBreaker]:
        return [row for row in OpenBreaker.objects.all() if self._is_for_key(row.name, row.key)]

    def _is_for_key(self, name: str, key: str) -> bool:
        """Whether a breaker is for the key; a short one may be another function's own."""
        is_known = len(self._key) >= SHORTEST or name in self._names
        return is_known and key == self._breaker_key

    def _internal(self) -> list[uuid.UUID]:
        """Return the finished internal Tasks whose arguments name a Task, a group, or a breaker."""
        wanted = set(map(str, self._pks | self._group_pks))
        rows = Task.objects.filter(internal__in=(True,), status__in=FINAL)
        # Not decoded: only the ids in them count.
        texts = rows.annotate(text=Cast("args", TextField())).values_list("pk", "text")
        found = [pk for pk, text in texts if not wanted.isdisjoint(UUIDS.findall(text))]
        told = rows.filter(name=BREAKER_ENTRY).exclude(pk__in=found).values_list("pk", "args")
        return found + [pk for pk, args in told if self._announces(args)]

    def _announces(self, args: Any) -> bool:
        """Whether these are the arguments of an announcement of a breaker for the key."""
        match args:
            case [_, str(name), str(key), *_]:
                return self._is_for_key(name, key)
        return False


def _texts(operation: Operation) -> dict[str, Any]:
    names = ("selection", "reason", "stopped_because")
    return {name: getattr(operation, name) for name in names}
