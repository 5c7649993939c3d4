"""Read the stored text of a traceback, as Python writes it."""

from __future__ import annotations

import re

from .fingerprints import is_own

# With the lines that belong to it: the source, the marks beneath it, "[Previous line repeated ...".
FRAME = re.compile(
    r'^(?P<margin>[ |]*) {2}File "(?P<filename>.*)", line \d+, in .*'
    r"(?:\n(?P=margin) {2}(?: {2}|\[Previous line repeated ).*)*(?:\n|\Z)",
    re.MULTILINE,
)


def own_part(text: str) -> str:
    """Return a traceback without the frames that are not of the site's own code.

    Empty where that leaves no frame, and where it leaves out none.
    """
    frames = [is_own(frame["filename"]) for frame in FRAME.finditer(text)]
    if not any(frames) or all(frames):
        return ""
    return FRAME.sub(lambda frame: frame[0] if is_own(frame["filename"]) else "", text)
