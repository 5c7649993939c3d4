"""Write a traceback as Python does, and remember each frame: its marks take long to place."""

from __future__ import annotations

import linecache
from collections.abc import Hashable
from traceback import FrameSummary, StackSummary, TracebackException
from types import TracebackType
from typing import Any

from .causes import FRAME_LIMIT

# So many frames of at most so many characters are remembered; then all are forgotten.
MOST, LONGEST = 1000, 4096
_written: dict[Hashable, str] = {}


class _Frames(StackSummary):
    def format_frame_summary(self, frame_summary: FrameSummary, **details: Any) -> str:
        """Return the lines of a frame, from memory if the same place was written before."""
        key = (_place(frame_summary), *details.items())
        text = _written.get(key)
        if text is None:
            text = super().format_frame_summary(frame_summary, **details)
            if len(_written) >= MOST:
                _written.clear()
            if len(text) <= LONGEST:
                _written[key] = text
        return text


def _place(frame: FrameSummary) -> Hashable:
    """Return what a frame's text depends on: the line, and the version of its file."""
    first, last = (frame.lineno, frame.colno), (frame.end_lineno, frame.end_colno)
    # The line is read first, which notes the file's size and time of change.
    line = frame.line
    return (
        frame.filename,
        frame.name,
        line,
        first,
        last,
        linecache.cache.get(frame.filename, ())[:2],
    )


def written(exception: BaseException, trace: TracebackType | None) -> str:
    """Return an exception's traceback and those of its causes, as ``traceback`` writes them.

    Args:
        trace: the exception's own traceback.
    """
    whole = TracebackException(type(exception), exception, trace, limit=FRAME_LIMIT, compact=True)
    parts = [whole]
    while parts:
        part = parts.pop()
        part.stack = _Frames(part.stack)
        parts += [each for each in (part.__cause__, part.__context__) if each]
        parts += part.exceptions or ()
    return "".join(whole.format())
