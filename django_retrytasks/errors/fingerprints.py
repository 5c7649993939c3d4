"""Find the failures of one cause: the same task, exception class and failing line.

If there is no such line, the message counts, without the parts that vary between failures.
"""

from __future__ import annotations

import json
import linecache
import os
import re
import sysconfig
import traceback
import uuid
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from types import FrameType
from typing import Final

from django_retrytasks.exceptions import (
    AttemptTimedOut,
    Cancelled,
    NotATask,
    NotImportable,
    ResultNotStorable,
    WorkerLost,
)
from django_retrytasks.values.ids import digest_id

from .causes import FRAME_LIMIT, LINK_LIMIT, members_of, traceback_of

SHORT_LIMIT: Final = 255
NORMALIZED_LIMIT: Final = 500

# A timeout and a cancel strike at any line, and the others at no line of the site. Their messages
# contain hosts and times. So the class alone is the cause.
CLASSES_ENOUGH: Final = (
    AttemptTimedOut,
    Cancelled,
    NotATask,
    NotImportable,
    ResultNotStorable,
    WorkerLost,
)


def fingerprint(name: str, class_path: str, origin: str, message: str) -> uuid.UUID:
    """Return the id that failures of one cause share, a UUID of version 8 (RFC 9562).

    Args:
        name: the dotted path of the task.
        class_path: the exception's class, as `known_class_path` returns it.
        origin: the exception's origin, as `origin_of` returns it.
        message: counts only without an origin, and then `normalized`.
    """
    if origin or class_path in _PATHS_ENOUGH:
        message = ""
    parts = json.dumps([name, class_path, origin, normalized(message)])
    return digest_id(parts.encode())


_PATHS_ENOUGH: Final = frozenset(f"{cls.__module__}.{cls.__qualname__}" for cls in CLASSES_ENOUGH)


def origin_of(exception: BaseException, name: str = "") -> str:
    """Return where the site's own code failed: "shop.mail.deliver: smtp.send(message)".

    That is the function of the innermost frame of the site's own code, with the text of its line
    (the line number may change). Own code is neither in the standard library, nor in an installed
    package, nor in this one. If the traceback has no such frame, the task is installed, and its
    package is own code. Without the source, return the function alone; without a frame, "".

    At most 255 characters, all storable. Never raises.

    Args:
        name: the dotted path of the task.
    """
    try:
        if type(exception) in CLASSES_ENOUGH:
            return ""
        frames, package = list(_frames(exception)), name.partition(".")[0]
        own = [each for each in frames if is_own(each[0].f_code.co_filename)]
        own = own or [each for each in frames if _package_of(each[0]) == package]
        return storable_line(_place(*own[-1])) if own else ""
    except Exception:  # the failure of a strange exception is recorded all the same
        return ""


def _frames(exception: BaseException) -> Iterator[tuple[FrameType, int]]:
    """Yield frames and line numbers inwards, and go on in the first exception of a group."""
    inwards = [exception]
    while len(inwards) < LINK_LIMIT and (members := members_of(inwards[-1])):
        inwards.append(members[0])
    for nested in inwards:
        yield from islice(traceback.walk_tb(traceback_of(nested)), FRAME_LIMIT)


def _package_of(frame: FrameType) -> str:
    """Return the top-level package of a frame's module."""
    return str(frame.f_globals.get("__name__", "?")).partition(".")[0]


@lru_cache(maxsize=1024)
def is_own(filename: str) -> bool:
    """Whether a file is not in the standard library, an installed package or this one."""
    # A path is not absolute if it is like "<string>", or of a compiled extension.
    path = os.path.normcase(filename)
    return (
        os.path.isabs(path)
        and not path.startswith(_FOREIGN)
        and _INSTALLED.isdisjoint(path.split(os.sep))
    )


_INSTALLED: Final = frozenset({"site-packages", "dist-packages"})
_FOREIGN: Final = tuple(
    os.path.join(os.path.normcase(path), "")
    for path in (
        os.path.dirname(os.path.dirname(__file__)),
        os.path.dirname(os.__file__),
        *map(sysconfig.get_path, ("stdlib", "platstdlib", "purelib", "platlib")),
    )
)


def _place(frame: FrameType, line: int) -> str:
    function = f"{frame.f_globals.get('__name__', '?')}.{frame.f_code.co_qualname}"
    text = linecache.getline(frame.f_code.co_filename, line, frame.f_globals).strip()
    return f"{function}: {text}" if text else function


def storable_line(text: str) -> str:
    """Escape what no database stores in a text, and cut it to 255 characters."""
    data = text.encode("utf-8", "backslashreplace")
    return data.decode().replace("\0", "\\x00")[:SHORT_LIMIT]


def normalized(message: str) -> str:
    """Return a message with "*" in place of the parts that vary between failures of one cause.

    These are quoted text, URLs, email and IP addresses, and words with a digit: numbers, dates,
    UUIDs, other ids, memory addresses. A list of them becomes one "*", and whitespace one space.
    At most 500 characters.
    """
    text = _VARYING.sub("*", " ".join(message.split()))
    return _LIST.sub("*", text)[:NORMALIZED_LIMIT].rstrip()


# Letters of scripts with spaces between words. In others, a quote or a number stands amid letters.
_LETTERS: Final = r"A-Z_a-z\u00c0-\u1fff"
_WORD: Final = rf"{_LETTERS}\d"
# Linear in time: a match begins only at the start of a run of characters, and never backtracks.
# Idempotent: "*" blocks a match as the replaced characters did. An open quote (of a cut message)
# extends to the end.
_VARYING: Final = re.compile(
    rf"""
    # quoted text
      (?<![{_WORD}*]) b?' (?: \\. | '(?=[{_WORD}]) | [^'\\] )* '?
    | " (?: \\. | [^"\\] )* "?
    | ` [^`']*+ [`']?
    | [“”„] [^“”„]*+ [“”„]?
    | [«»] [^«»]*+ [«»]?
    # URL
    | (?<![{_WORD}+.-]) [A-Za-z] [A-Za-z\d+.-]*+ :// [^\s"'`<>]*+
    # email address
    | (?<![{_WORD}*+.%-]) [{_WORD}+.%-]++ @ [{_WORD}.-]++
    # IP address, time, word with a digit
    | (?:
        (?<![{_WORD}*:]) (?: [\dA-Fa-f]{{0,4}} : ){{2,7}}
      | (?: (?<![{_WORD}-]) [{_LETTERS}-]*+ )? \d
      )
      [{_WORD}-]*+ (?: [.:/+'] \d [{_WORD}-]*+ )*
    """,
    re.VERBOSE,
)
_LIST: Final = re.compile(r"\*(?:[,;]? ?\*)+")
