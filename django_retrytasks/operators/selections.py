"""Selections of Tasks: conditions by name, as plain text.

The admin's filters, the command and operations share this definition; operations store it.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import Q

from django_retrytasks.database import DatabaseNow, exactly, exactly_in
from django_retrytasks.database.seeks import distinct
from django_retrytasks.models import FINAL, FailureGroup, Status, Task, TaskQuerySet
from django_retrytasks.tasks.arguments import as_search_key
from django_retrytasks.values.checked import as_datetime, nearest
from django_retrytasks.values.ids import uuid7_of

Selection = Mapping[str, str]
"""Conditions by the names in `NARROWS`."""

# The condition that holds for every Task.
ANY = ("internal", "all")
# A search reads so many failure groups, the latest.
GROUPS = 1000
# A search reads so many functions.
FUNCTIONS = 500
# A Task is stuck when it has been due for longer.
STUCK_AFTER = timedelta(minutes=5)
# The order of a list whose Tasks have all ended, by the index of the statuses.
LATEST_ENDED = ("-finished_at", "-pk")
WITHIN = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(days=7)}


def select(rows: TaskQuerySet, selection: Selection) -> TaskQuerySet:
    """Return the Tasks for which all conditions hold.

    Internal Tasks are included as :func:`internal_of` says.

    Raises:
        ValueError: an unknown name or an invalid value; the message names it.
    """
    conditions = {**selection, "internal": internal_of(selection)}
    _refuse_invalid(conditions)
    if conditions["internal"] == "no" and "status" not in conditions:
        # SQLite uses no index for this. For an IN it would use that of the statuses, and then sort
        # all Tasks, in place of reading the latest by their key.
        rows = rows.exclude(internal=True)
        del conditions["internal"]
    for name, value in conditions.items():
        rows = NARROWS[name](rows, value)
    return rows


def internal_of(selection: Selection) -> str:
    """Return "no" (without internal Tasks), "yes" (only internal Tasks) or "all".

    A name or a search selects "all": a function's Tasks are either all internal or none, and
    checking each of them would read each row.
    """
    is_named = selection.get("name") or selection.get("search")
    return selection.get("internal") or ("all" if is_named else "no")


def have_ended(selection: Selection) -> bool:
    """Whether a selection has ended Tasks only, to be listed in the order `LATEST_ENDED`."""
    return selection.get("status") in FINAL


def intersection(limits: Selection, selection: Selection) -> Selection:
    """Return the intersection of two selections.

    Args:
        limits: which Tasks are visible; includes internal Tasks by default.
        selection: the conditions within these limits.

    Raises:
        ValueError: both have a condition of one name with different values.
    """
    full = {**selection, "internal": internal_of(selection)}
    narrow, wide = ({n: v for n, v in each.items() if (n, v) != ANY} for each in (full, limits))
    for name in narrow.keys() & wide.keys():
        if narrow[name] != wide[name]:
            raise ValueError(f"here {name} is {wide[name]!r}, not {narrow[name]!r}")
    merged = {"internal": "all", **narrow, **wide}
    bare = {name: value for name, value in merged.items() if name != "internal"}
    return bare if internal_of(bare) == merged["internal"] else merged


def as_of_now(selection: Selection) -> Selection:
    """Replace relative conditions by absolute ones, so that the selection does not change in time.

    "within" becomes "since", a bare search gets the kind that matched, an error search becomes its
    failure groups.

    Raises:
        ValueError: an invalid value, or a search without a match.
    """
    _refuse_invalid(selection)
    fixed = dict(selection)
    if "search" in fixed:
        name, term, matches = _search(Task.objects.all(), fixed["search"])
        if matches is None:
            raise ValueError(f"no Task matches {fixed['search']!r}")
        fixed["search"] = f"{name}: {term}"
        if name == "error" and "failure_group" not in fixed:
            del fixed["search"]
            fixed["failure_group"] = ",".join(map(str, _groups_matching(term)))
    if "within" in fixed:
        starts = [_start_of(fixed.pop("within"))]
        starts += [_moment_of(fixed["since"])] if "since" in fixed else []
        fixed["since"] = max(starts).isoformat()
    return fixed


def _refuse_invalid(selection: Selection) -> None:
    for name, value in selection.items():
        if name not in NARROWS:
            raise ValueError(f"unknown condition {name!r}. {nearest(name, NARROWS)}")
        if "\0" in value:  # PostgreSQL stores no such text
            raise ValueError(f"{name} holds a NUL character: {value!r}")


def _by_status(rows: TaskQuerySet, value: str) -> TaskQuerySet:
    if value not in Status.values:
        raise ValueError(f"there is no status {value!r}. {nearest(value, Status.values)}")
    return rows.filter(status=value)


def _by_group(rows: TaskQuerySet, value: str) -> TaskQuerySet:
    try:
        return rows.filter(failure_group__in=[uuid.UUID(pk) for pk in value.split(",")])
    except ValueError:
        raise ValueError(f"{value!r} is no fingerprint of a failure group") from None


def _by_error(rows: TaskQuerySet, value: str) -> TaskQuerySet:
    # A query of its own: with a join or a subquery PostgreSQL reads the Tasks of all groups.
    groups = FailureGroup.objects.filter(exactly("exception_class_path", value))
    return rows.filter(failure_group__in=list(groups.values_list("pk", flat=True)))


def _by_retried(rows: TaskQuerySet, value: str) -> TaskQuerySet:
    if value not in ("yes", "no"):
        raise ValueError(f"retried is yes or no, not {value!r}")
    return rows.filter(attempt_count__gt=1) if value == "yes" else rows.filter(attempt_count__lte=1)


def _by_stuck(rows: TaskQuerySet, value: str) -> TaskQuerySet:
    if value != "yes":
        raise ValueError(f"stuck can only be yes, not {value!r}")
    return rows.filter(run_after__lt=DatabaseNow() - STUCK_AFTER)


def _enqueued_since(rows: TaskQuerySet, at: datetime) -> TaskQuerySet:
    # By the primary key, which begins with the time: no index holds enqueued_at.
    return rows.filter(pk__gte=uuid7_of(at, bytes(8)))


def _start_of(within: str) -> datetime:
    if within not in WITHIN:
        raise ValueError(f"there is no time window {within!r}. {nearest(within, WITHIN)}")
    return datetime.now(UTC) - WITHIN[within]


def _moment_of(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no moment: write 2026-01-31T12:00:00+00:00") from None
    as_datetime("since", at)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _by_internal(rows: TaskQuerySet, value: str) -> TaskQuerySet:
    return rows if value == "all" else rows.filter(internal__in=(value == "yes",))


def _by_search(rows: TaskQuerySet, value: str) -> TaskQuerySet:
    if not value.strip():
        raise ValueError("the search is empty")
    _, _, matches = _search(rows, value)
    return rows.none() if matches is None else matches


def _search(rows: TaskQuerySet, value: str) -> tuple[str, str, TaskQuerySet | None]:
    """Return the kind of the first search that matches, its term and its Tasks.

    One kind at a time, each by an index: a database would read every row for all at once.
    ``value`` may name the kind, as in "error: timeout". ("", term, None): no match.
    """
    kind, _, term = value.partition(":")
    is_named = kind.strip() in SEARCHES
    term = (term if is_named else value).strip()
    for name in [kind.strip()] if is_named else SEARCHES:
        matches = SEARCHES[name](rows, term) if term else None
        if matches is not None:
            return name, term, matches
    return "", term, None


def _of_id(rows: TaskQuerySet, term: str) -> TaskQuerySet | None:
    try:
        pk = uuid.UUID(term)
    except ValueError:
        return None
    return rows.filter(pk=pk) if Task.objects.filter(pk=pk).exists() else None


def _of_search_key(rows: TaskQuerySet, term: str) -> TaskQuerySet | None:
    # The index requires the second condition.
    keyed = exactly("search_key", as_search_key(term)) & Q(search_key__gt="")
    return rows.filter(keyed) if Task.objects.filter(keyed).exists() else None


def _of_function(rows: TaskQuerySet, term: str) -> TaskQuerySet | None:
    """Return the Tasks of functions whose path, or a part of it, begins with the term.

    Looks at the first 500 functions, by index seeks.
    """
    functions = distinct(Task.objects.all(), "name", FUNCTIONS)
    names = [name for name in functions if f".{term}" in f".{name}"]
    return rows.filter(exactly_in("name", names)) if names else None


def _of_error(rows: TaskQuerySet, term: str) -> TaskQuerySet | None:
    groups = _groups_matching(term)
    return rows.filter(failure_group__in=groups) if groups else None


def _groups_matching(term: str) -> list[uuid.UUID]:
    """Return the latest failure groups with the term in their exception's name or message."""
    latest = FailureGroup.objects.order_by("-last_seen_at")
    rows = latest.values_list("pk", "exception_class_path", "message")[:GROUPS]
    return [pk for pk, *texts in rows if any(term.lower() in text.lower() for text in texts)]


SEARCHES = {"id": _of_id, "key": _of_search_key, "function": _of_function, "error": _of_error}

NARROWS: dict[str, Callable[[Any, str], Any]] = {
    "status": _by_status,
    "name": lambda rows, value: rows.filter(exactly("name", value)),
    "queue_name": lambda rows, value: rows.filter(exactly("queue_name", value)),
    "failure_group": _by_group,
    "error": _by_error,
    "retried": _by_retried,
    "stuck": _by_stuck,
    "within": lambda rows, value: _enqueued_since(rows, _start_of(value)),
    "since": lambda rows, value: _enqueued_since(rows, _moment_of(value)),
    "search": _by_search,
    "internal": _by_internal,
}
