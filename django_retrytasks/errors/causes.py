"""Walk what an exception is linked to: its causes, its contexts, the members of its group.

An exception is foreign code. Its links may form a cycle, and its class may replace an attribute
such as ``__cause__`` by a property. So each walk is bounded, remembers what it has seen, and reads
the links where Python itself keeps them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import islice
from types import CodeType, TracebackType
from typing import Any, Final, TypeGuard, TypeVar

__all__ = [
    "FRAME_LIMIT",
    "LINK_LIMIT",
    "cut_earlier_raises",
    "is_a",
    "leaves",
    "linked",
    "members_of",
    "traceback_of",
]

E = TypeVar("E", bound=BaseException)

LINK_LIMIT: Final = 1000
# Frames that are read of one traceback, from the outermost.
FRAME_LIMIT: Final = 3000
LEAF_LIMIT: Final = 10_000

# The attributes as BaseException has them, whatever a subclass puts in their place.
_CAUSE: Final[Any] = vars(BaseException)["__cause__"]
_CONTEXT: Final[Any] = vars(BaseException)["__context__"]
_TRACEBACK: Final[Any] = vars(BaseException)["__traceback__"]
_MEMBERS: Final[Any] = vars(BaseExceptionGroup)["exceptions"]


def linked(exception: BaseException) -> Iterator[BaseException]:
    """Yield an exception and all that led to it, each once, at most 1,000; the nearest first."""
    seen: set[int] = set()
    waiting = deque([exception])
    while waiting and len(seen) < LINK_LIMIT:
        one = waiting.popleft()
        if id(one) not in seen:
            seen.add(id(one))
            yield one
            links = (_CAUSE.__get__(one), _CONTEXT.__get__(one), *members_of(one))
            waiting.extend(link for link in links if link is not None)


def leaves(exception: BaseException) -> list[BaseException]:
    """Return the exceptions of a group and of the groups in it, in order.

    Of an exception that is no group, and of a group of more than 10,000, that is the exception
    itself.
    """
    found: list[BaseException] = []
    waiting = [exception]
    for _ in range(LEAF_LIMIT):
        one = waiting.pop()
        if members := members_of(one):
            waiting.extend(reversed(members))
        else:
            found.append(one)
        if not waiting:
            return found
    return [exception]


def is_a(exception: BaseException, classes: type[E] | tuple[type[E], ...]) -> TypeGuard[E]:
    """Whether an exception's class is one of these, or derived from one."""
    # ``isinstance`` asks the exception for its ``__class__``, which may be a property as well.
    return issubclass(type(exception), classes)


def traceback_of(exception: BaseException) -> TracebackType | None:
    """Return the traceback of an exception; None where it was not raised."""
    trace: TracebackType | None = _TRACEBACK.__get__(exception)
    return trace


def cut_earlier_raises(exception: BaseException, catcher: CodeType) -> None:
    """Take out of a traceback what earlier raises of the same instance have left there.

    Args:
        exception: as caught; Python puts each raise in front of those before it.
        catcher: the code that catches it each time, with which each of them begins.
    """
    trace = traceback_of(exception)
    while trace is not None:
        if trace.tb_next is not None and trace.tb_next.tb_frame.f_code is catcher:
            trace.tb_next = None
        trace = trace.tb_next


def members_of(exception: BaseException) -> list[BaseException]:
    """Return the exceptions of a group, at most 10,000; of another exception none."""
    if not is_a(exception, BaseExceptionGroup):
        return []
    return list(islice(_MEMBERS.__get__(exception), LEAF_LIMIT))
