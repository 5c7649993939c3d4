"""Read the stored text of a traceback, as Python writes it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from .fingerprints import is_own

CHAINED = re.compile(
    r"\n(?:The above exception was the direct cause of the following exception"
    r"|During handling of the above exception, another exception occurred):\n\n"
)
GROUP_MARGIN = re.compile(r"^ {2}[|+] ", re.MULTILINE)
RAISED = re.compile(
    r"(?:.*Traceback \(most recent call last\):\n)?"
    r"(?P<stack>(?: .*\n)*)"
    r"(?P<path>[\w.<>]+)(?:: |\n|\Z)(?P<message>(?s:.*))"
)
# With the lines that belong to it: the source, the marks beneath it, "[Previous line repeated ...".
FRAME = re.compile(
    r'^(?P<margin>[ |]*) {2}File "(?P<filename>.*)", line (?P<lineno>\d+), in (?P<function>.*)'
    r"(?:\n(?P=margin) {4}(?P<line>\S.*))?"
    r"(?:\n(?P=margin) {2}(?: {2}|\[Previous line repeated ).*)*(?:\n|\Z)",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A line of a traceback; ``line`` is the text of the source, None where there is none."""

    filename: str
    lineno: int
    function: str
    line: str | None
    is_own: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Raised:
    """An exception in a traceback: its class's path, its message and its frames, inwards."""

    path: str
    message: str
    frames: Sequence[Frame]


def chain(text: str, last: str) -> list[Raised]:
    """Return the exceptions of a traceback, those that led to another one first.

    Args:
        text: the traceback; of a group, without what the group's exceptions raised.
        last: "path: message" of its last exception, for where the text does not tell it.
    """
    found = [RAISED.match(part) for part in CHAINED.split(GROUP_MARGIN.sub("", text))]
    if found[-1] is None:
        found[-1] = RAISED.match(last)
    return [_raised(match) for match in found if match]


def own_part(text: str) -> str:
    """Return a traceback without the frames that are not of the site's own code.

    Empty where that leaves no frame, and where it leaves out none.
    """
    frames = [is_own(frame["filename"]) for frame in FRAME.finditer(text)]
    if not any(frames) or all(frames):
        return ""
    return FRAME.sub(lambda frame: frame[0] if is_own(frame["filename"]) else "", text)


def _raised(match: re.Match[str]) -> Raised:
    return Raised(
        path=match["path"],
        message=match["message"].rstrip(),
        frames=[
            Frame(
                filename=frame["filename"],
                lineno=int(frame["lineno"]),
                function=frame["function"],
                line=frame["line"],
                is_own=is_own(frame["filename"]),
            )
            for frame in FRAME.finditer(match["stack"])
        ],
    )
