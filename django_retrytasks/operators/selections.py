"""Which Tasks: what may be asked of them, by names that are plain text.

One definition for the filters of the admin, for the command and for operations, which store it.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from django_retrytasks.database import DatabaseNow
from django_retrytasks.database.seeks import distinct
from django_retrytasks.models import FailureGroup, Status, Task, TaskQuerySet
from django_retrytasks.tasks.arguments import as_search_key
from django_retrytasks.values.checked import nearest
from django_retrytasks.values.ids import uuid7

Selection = Mapping[str, str]
"""What is asked, by the names in `NARROWS`."""

# What narrows nothing.
ANY = ("internal", "all")
# How many failure groups, the latest, to look through for a search.
GROUPS = 1000
# How many functions to look through for a search.
FUNCTIONS = 500
# How long a Task that is not run may have been due until it is called stuck.
STUCK_AFTER = timedelta(minutes=5)
WITHIN = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(days=7)}


def select(rows: TaskQuerySet, selection: Selection) -> TaskQuerySet:
    """Return those of the Tasks for which all of it holds.

    Internal Tasks are left out unless :func:`internal_of` tells otherwise.

    Raises:
        ValueError: an unknown name, or a value that cannot be; the message names it.
    """
    asked = {**selection, "internal": internal_of(selection)}
    _refuse(asked)
    for name, value in asked.items():
        rows = NARROWS[name](rows, value)
    return rows


def internal_of(selection: Selection) -> str:
    """Return "no" where internal Tasks are left out, "yes" where they alone are meant, or "all".

    Whoever asks by name or by a search means all that has it: the Tasks of one function are
    internal all or none, and to look at each would be to read each row.
    """
    named = selection.get("name") or selection.get("search")
    return selection.get("internal") or ("all" if named else "no")


def intersection(here: Selection, asked: Selection) -> Selection:
    """Return the selection of the Tasks asked for that are among those that there are here.

    Args:
        here: what narrows; internal Tasks are among them unless it says otherwise.
        asked: as :func:`select` takes it.

    Raises:
        ValueError: the two ask for different values by one name, which no selection can say.
    """
    full = {**asked, "internal": internal_of(asked)}
    narrow, wide = ({n: v for n, v in of.items() if (n, v) != ANY} for of in (full, here))
    for name in narrow.keys() & wide.keys():
        if narrow[name] != wide[name]:
            raise ValueError(f"here {name} is {wide[name]!r}, not {narrow[name]!r}")
    merged = {"internal": "all", **narrow, **wide}
    bare = {name: value for name, value in merged.items() if name != "internal"}
    return bare if internal_of(bare) == merged["internal"] else merged


def as_of_now(selection: Selection) -> Selection:
    """Return a selection that stays as it is while time passes.

    "within" is told by "since", what a search finds by is named, and an error by its groups.

    Raises:
        ValueError: a value that cannot be, or a search that finds nothing.
    """
    _refuse(selection)
    fixed = dict(selection)
    if "search" in fixed:
        name, term, found = _search(Task.objects.all(), fixed["search"])
        if found is None:
            raise ValueError(f"nothing is found by {fixed['search']!r}")
        fixed["search"] = f"{name}: {term}"
        if name == "error" and "failure_group" not in fixed:
            del fixed["search"]
            fixed["failure_group"] = ",".join(map(str, _groups_matching(term)))
    if "within" in fixed:
        starts = [_start_of(fixed.pop("within"))]
        starts += [_moment_of(fixed["since"])] if "since" in fixed else []
        fixed["since"] = max(starts).isoformat()
    return fixed


def _refuse(selection: Selection) -> None:
    for name, value in selection.items():
        if name not in NARROWS:
            raise ValueError(f"nothing is known of {name!r}. {nearest(name, NARROWS)}")
        if "\0" in value:  # PostgreSQL stores no such text
            raise ValueError(f"{name} holds a NUL character: {value!r}")


def _by_status(rows: TaskQuerySet, value: str) -> TaskQuerySet:
    if value not in Status.values:
        raise ValueError(f"there is no status {value!r}. {nearest(value, Status.values)}")
    return rows.filter(status=value)


def _by_group(rows: TaskQuerySet, value: str) -> TaskQuerySet:
    try:
        return rows.filter(failure_group__in=[uuid.UUID(one) for one in value.split(",")])
    except ValueError:
        raise ValueError(f"{value!r} is no fingerprint of a failure group") from None


def _by_error(rows: TaskQuerySet, value: str) -> TaskQuerySet:
    # Looked up first: joined, or as a subquery, PostgreSQL reads the Tasks of all groups.
    groups = FailureGroup.objects.filter(exception_class_path=value)
    return rows.filter(failure_group__in=list(groups.values_list("pk", flat=True)))


def _by_retried(rows: TaskQuerySet, value: str) -> TaskQuerySet:
    if value not in ("yes", "no"):
        raise ValueError(f"retried is yes or no, not {value!r}")
    return rows.filter(attempt_count__gt=1) if value == "yes" else rows.filter(attempt_count__lte=1)


def _by_stuck(rows: TaskQuerySet, value: str) -> TaskQuerySet:
    if value != "yes":
        raise ValueError(f"stuck can only be asked for by yes, not by {value!r}")
    return rows.filter(run_after__lt=DatabaseNow() - STUCK_AFTER)


def _enqueued_since(rows: TaskQuerySet, at: datetime) -> TaskQuerySet:
    # By the key, which begins with the moment: no index holds enqueued_at.
    first = uuid7(max(0, int(at.timestamp() * 1000)), bytes(10))
    return rows.filter(pk__gte=first)


def _start_of(within: str) -> datetime:
    if within not in WITHIN:
        raise ValueError(f"there is no time window {within!r}. {nearest(within, WITHIN)}")
    return datetime.now(UTC) - WITHIN[within]


def _moment_of(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no moment: write 2026-01-31T12:00:00+00:00") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _by_internal(rows: TaskQuerySet, value: str) -> TaskQuerySet:
    return rows if value == "all" else rows.filter(internal__in=(value == "yes",))


def _by_search(rows: TaskQuerySet, value: str) -> TaskQuerySet:
    if not value.strip():
        raise ValueError("search for what?")
    _, _, found = _search(rows, value)
    return rows.none() if found is None else found


def _search(rows: TaskQuerySet, value: str) -> tuple[str, str, TaskQuerySet | None]:
    """Return what finds Tasks, by which term, and those it finds: the first of `SEARCHES` to do so.

    One at a time, each by an index: of all at once, a database would read every row. ``value`` may
    name one of them, as in "error: timeout".
    """
    named, _, term = value.partition(":")
    is_named = named.strip() in SEARCHES
    term = (term if is_named else value).strip()
    for name in [named.strip()] if is_named else SEARCHES:
        found = SEARCHES[name](rows, term) if term else None
        if found is not None:
            return name, term, found
    return "", term, None


def _of_id(rows: TaskQuerySet, term: str) -> TaskQuerySet | None:
    try:
        pk = uuid.UUID(term)
    except ValueError:
        return None
    return rows.filter(pk=pk) if Task.objects.filter(pk=pk).exists() else None


def _of_search_key(rows: TaskQuerySet, term: str) -> TaskQuerySet | None:
    # The second condition is the index's own.
    keyed = {"search_key": as_search_key(term), "search_key__gt": ""}
    return rows.filter(**keyed) if Task.objects.filter(**keyed).exists() else None


def _of_function(rows: TaskQuerySet, term: str) -> TaskQuerySet | None:
    """Return Tasks of functions of whose path, or a part of it, this is the beginning.

    The functions are few and found by seeks; where they are not few, only the first are looked at.
    """
    functions = distinct(Task.objects.all(), "name", FUNCTIONS)
    names = [name for name in functions if f".{term}" in f".{name}"]
    return rows.filter(name__in=names) if names else None


def _of_error(rows: TaskQuerySet, term: str) -> TaskQuerySet | None:
    groups = _groups_matching(term)
    return rows.filter(failure_group__in=groups) if groups else None


def _groups_matching(term: str) -> list[uuid.UUID]:
    """Return the failure groups, of the latest, with this in their exception's name or message."""
    latest = FailureGroup.objects.order_by("-last_seen_at")
    told = latest.values_list("pk", "exception_class_path", "message")[:GROUPS]
    return [pk for pk, *texts in told if any(term.lower() in text.lower() for text in texts)]


SEARCHES = {"id": _of_id, "key": _of_search_key, "function": _of_function, "error": _of_error}

NARROWS: dict[str, Callable[[Any, str], Any]] = {
    "status": _by_status,
    "name": lambda rows, value: rows.filter(name=value),
    "queue_name": lambda rows, value: rows.filter(queue_name=value),
    "failure_group": _by_group,
    "error": _by_error,
    "retried": _by_retried,
    "stuck": _by_stuck,
    "within": lambda rows, value: _enqueued_since(rows, _start_of(value)),
    "since": lambda rows, value: _enqueued_since(rows, _moment_of(value)),
    "search": _by_search,
    "internal": _by_internal,
}
