"""Recognise secret arguments, and keep them out of pages, stored texts and logs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import lru_cache
from inspect import BoundArguments
from typing import Any
from uuid import UUID

from django.views.debug import SafeExceptionReporterFilter, get_default_exception_reporter_filter

from django_retrytasks import conf
from django_retrytasks.models import Task

from . import discovery
from .definition import RetryTask
from .spellings import Span, readings

# Replacing a shorter text would garble other text.
SHORTEST = 4
# The mark that reports.py puts in place of the middle of a long text.
CUT = re.compile(r"\n\[\.\.\. \d+ characters left out \.\.\.\]\n")
CUT_BYTES = re.compile(CUT.pattern.encode())
# Most bytes of such a mark, or of an escape, that a cut may leave behind.
REMNANT = 16
# Number of names in the cache.
NAMES = 1000

Rule = Callable[[str], bool]


def shown_arguments(task: Task, definition: RetryTask[..., Any] | None = None) -> dict[str, Any]:
    """Return a Task's arguments by parameter name, with stars in place of secrets.

    An argument, or a key in a mapping at any depth, is secret if its name is in ``sensitive``,
    matches ``RETRYTASKS["REDACT"]`` or is hidden in Django's own error reports. If the code is
    unknown here, all arguments are hidden, and positional arguments are named by index. Empty if
    the stored arguments are unreadable.

    Args:
        task: the Task, as read from the database.
        definition: its definition; None: :func:`discovery.find` looks it up.
    """
    stars = _substitute()
    return _arguments(task, definition, lambda value: stars)


def hides(name: str) -> bool:
    """Whether this site hides arguments of this name in every task."""
    return _rule(())(name)


def hides_any(task: Task, definition: RetryTask[..., Any] | None = None) -> bool:
    """Whether :func:`shown_arguments` replaces any of a Task's arguments."""
    hidden: list[Any] = []
    _arguments(task, definition, hidden.append)
    return bool(hidden)


def secrets_of(
    task: Task,
    definition: RetryTask[..., Any] | None = None,
    bound: BoundArguments | None = None,
) -> list[str]:
    """Return the texts that :func:`shown_arguments` hides, the longest first; never raises.

    Texts and their lines are stripped; texts shorter than 4 characters are omitted.

    Args:
        task: the Task, as read from the database.
        definition: as in :func:`shown_arguments`.
        bound: the bound arguments; None: they are bound here.
    """
    hidden: list[Any] = []
    _arguments(task, definition, hidden.append, bound)
    texts = {text.strip() for value in hidden for text in _texts(value)}
    return sorted((text for text in texts if len(text) >= SHORTEST), key=len, reverse=True)


def without(text: str, secrets: Sequence[str]) -> str:
    """Replace these secrets in a text by stars, in any spelling; never raises.

    Beside a gap in the text may stand half a secret: there as much as the longest secret takes is
    removed.

    Args:
        text: for instance a message or a traceback of an ``ErrorReport``.
        secrets: from :func:`secrets_of`.
    """
    if not secrets:
        return text
    data, wanted = _encoded(text), [_encoded(secret) for secret in secrets]
    gaps = [gap.span() for gap in CUT_BYTES.finditer(data)]
    longest = max(map(len, wanted)) + REMNANT
    hidden: list[Span] = []
    halves: list[Span] = []
    for reading in readings(data):
        hidden += reading.find(wanted)
        halves += [half for gap in gaps for half in reading.beside(gap, longest)]
    return _replaced(data, hidden, halves).decode("utf-8", "surrogatepass")


def _arguments(
    task: Task,
    definition: RetryTask[..., Any] | None,
    hide: Callable[[Any], Any],
    bound: BoundArguments | None = None,
) -> dict[str, Any]:
    """Return the arguments by name, each secret replaced by the result of ``hide``."""
    args, kwargs = task.args, task.kwargs
    if not (isinstance(args, list) and isinstance(kwargs, dict)):  # unreadable
        return {}
    definition = definition or discovery.find(task.name)
    is_secret = _rule(definition.sensitive if definition else ())
    if definition is not None:
        with suppress(TypeError):
            bound = bound or definition.signature.bind(*args, **kwargs)
            return _without_secrets(bound.arguments, is_secret, hide)
    # An argument without a name may be a secret.
    unnamed = {f"args[{index}]": hide(value) for index, value in enumerate(args)}
    if definition is None:  # its ``sensitive`` is unknown
        return unnamed | {name: hide(value) for name, value in kwargs.items()}
    return unnamed | _without_secrets(kwargs, is_secret, hide)


def _without_secrets(
    named: Mapping[str, Any], is_secret: Rule, hide: Callable[[Any], Any]
) -> dict[str, Any]:
    return {
        name: hide(value) if is_secret(str(name)) else _search(value, is_secret, hide)
        for name, value in named.items()
    }


def _search(value: Any, is_secret: Rule, hide: Callable[[Any], Any]) -> Any:
    match value:
        case dict():
            return _without_secrets(value, is_secret, hide)
        case list() | tuple():
            return [_search(item, is_secret, hide) for item in value]
    return value


def _rule(sensitive: tuple[str, ...]) -> Rule:
    """Return a test of names; if the site's patterns are invalid, every name is secret."""
    try:
        return _rule_of(sensitive, tuple(conf.get().REDACT), _of_filter("hidden_settings"))
    except Exception:
        return lambda name: True


@lru_cache
def _rule_of(sensitive: tuple[str, ...], redact: tuple[str, ...], hidden_settings: Any) -> Rule:
    patterns = [re.compile(pattern, re.IGNORECASE) for pattern in redact]
    patterns.append(re.compile(hidden_settings))

    @lru_cache(NAMES)  # calls with a dict have the same few names
    def is_secret(name: str) -> bool:
        return name in sensitive or any(pattern.search(name) for pattern in patterns)

    return is_secret


def _of_filter(name: str) -> Any:
    """Return an attribute of the site's filter of error reports, or else of Django's."""
    own = get_default_exception_reporter_filter()
    return getattr(own, name, getattr(SafeExceptionReporterFilter, name))


def _substitute() -> str:
    with suppress(Exception):
        return str(_of_filter("cleansed_substitute"))
    return SafeExceptionReporterFilter.cleansed_substitute


def _texts(value: Any) -> Iterator[str]:
    """Yield the possible texts of a hidden value and of the values in it."""
    match value:
        case dict():
            yield from _texts(list(value.values()))
        case list() | tuple():
            for item in value:
                yield from _texts(item)
        case str():
            # The traceback of an exception group indents each line.
            yield from (value, *value.splitlines())
        case datetime():
            yield from (str(value), value.isoformat(), repr(value))
        case UUID():
            yield from (str(value), value.hex)
        case None | bool():
            return
        case _:
            yield from (str(value), repr(value))


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _replaced(text: bytes, hidden: Iterable[Span], halves: Iterable[Span]) -> bytes:
    """Replace the hidden spans of a text by stars, and remove the halves."""
    stars = _encoded(_substitute())
    spans = [(*_whole(text, span), True) for span in hidden]
    spans += [(*_whole(text, span), False) for span in halves]
    pieces, done = [], 0
    for start, end, is_hidden in _merged(spans):
        pieces += [text[done:start], stars if is_hidden else b""]
        done = end
    return b"".join([*pieces, text[done:]])


def _merged(spans: Iterable[tuple[int, int, bool]]) -> list[tuple[int, int, bool]]:
    """Merge overlapping spans."""
    merged: list[tuple[int, int, bool]] = []
    for start, end, is_hidden in sorted(spans):
        if merged and start < merged[-1][1]:
            first, last, was_hidden = merged.pop()
            merged.append((first, max(last, end), was_hidden or is_hidden))
        else:
            merged.append((start, end, is_hidden))
    return merged


def _whole(text: bytes, span: Span) -> Span:
    """Extend a span to whole characters."""
    start, end = span
    while 0 < start < len(text) and text[start] & 0xC0 == 0x80:
        start -= 1
    while end < len(text) and text[end] & 0xC0 == 0x80:
        end += 1
    return start, end
