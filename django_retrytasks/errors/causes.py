"""Walk the causes and contexts of an exception, and the members of an exception group.

An exception is foreign code. Its links may form a cycle, and its class may replace an attribute
such as ``__cause__`` by a property. So each walk is bounded, visits an exception once, and reads
the attributes of BaseException itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import islice
from types import CodeType, TracebackType
from typing import Any, Final, TypeGuard, TypeVar

E = TypeVar("E", bound=BaseException)

LINK_LIMIT: Final = 1000
# So many frames of a traceback are read, from the outermost.
FRAME_LIMIT: Final = 3000
LEAF_LIMIT: Final = 10_000

# The attributes of BaseException, even if a subclass replaces them.
_CAUSE: Final[Any] = vars(BaseException)["__cause__"]
_CONTEXT: Final[Any] = vars(BaseException)["__context__"]
_TRACEBACK: Final[Any] = vars(BaseException)["__traceback__"]
_MEMBERS: Final[Any] = vars(BaseExceptionGroup)["exceptions"]


def linked(exception: BaseException) -> Iterator[BaseException]:
    """Yield an exception and its causes, contexts and members, nearest first, at most 1,000."""
    seen: set[int] = set()
    waiting = deque([exception])
    while waiting and len(seen) < LINK_LIMIT:
        current = waiting.popleft()
        if id(current) not in seen:
            seen.add(id(current))
            yield current
            links = (_CAUSE.__get__(current), _CONTEXT.__get__(current), *members_of(current))
            waiting.extend(link for link in links if link is not None)


def leaves(exception: BaseException) -> list[BaseException]:
    """Return the exceptions of a group and of the groups in it, in order.

    Return the exception alone if it is not a group, or a group of more than 10,000.
    """
    collected: list[BaseException] = []
    waiting = [exception]
    for _ in range(LEAF_LIMIT):
        current = waiting.pop()
        if members := members_of(current):
            waiting.extend(reversed(members))
        else:
            collected.append(current)
        if not waiting:
            return collected
    return [exception]


def is_a(exception: BaseException, classes: type[E] | tuple[type[E], ...]) -> TypeGuard[E]:
    """Whether an exception's class is one of the classes, or a subclass."""
    # ``isinstance`` reads the exception's ``__class__``, which may be a property.
    return issubclass(type(exception), classes)


def traceback_of(exception: BaseException) -> TracebackType | None:
    """Return the traceback of an exception; None if it was never raised."""
    trace: TracebackType | None = _TRACEBACK.__get__(exception)
    return trace


def cut_earlier_raises(exception: BaseException, *catchers: CodeType) -> None:
    """Remove the frames of earlier raises of the same instance from its traceback.

    Args:
        exception: as caught; Python puts the frames of each raise before the earlier ones.
        catchers: the code that catches it each time: its frame comes first in each raise.
    """
    trace = traceback_of(exception)
    while trace is not None:
        if trace.tb_next is not None and trace.tb_next.tb_frame.f_code in catchers:
            trace.tb_next = None
        trace = trace.tb_next


def traceback_below(exception: BaseException, directory: str) -> TracebackType | None:
    """Return an exception's traceback without its first frames, those of files in a directory.

    The whole one if it has no other frames.
    """
    trace = traceback_of(exception)
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(directory):
        trace = trace.tb_next
    return trace or traceback_of(exception)


def members_of(exception: BaseException) -> list[BaseException]:
    """Return the exceptions of a group, at most 10,000; [] if it is not a group."""
    if not is_a(exception, BaseExceptionGroup):
        return []
    return list(islice(_MEMBERS.__get__(exception), LEAF_LIMIT))
