"""What is kept of an exception: text that every database can store."""

from __future__ import annotations

import traceback
from dataclasses import dataclass

from .fingerprints import origin_of

CLASS_PATH_LIMIT = 255
MESSAGE_LIMIT = 4 * 1024
TRACEBACK_LIMIT = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorReport:
    """An exception as text: its class's dotted path, its message and its traceback, chain kept.

    ``origin`` is the innermost line of the site's own code, empty where there is none.
    """

    class_path: str
    message: str
    traceback: str
    origin: str = ""


def report(exception: BaseException) -> ErrorReport:
    """Describe an exception for storage; never raises.

    The message is kept up to 4 KB and the traceback up to 64 KB, head and tail of each. Characters
    that a database refuses (NUL, lone surrogates) are shown escaped.
    """
    return ErrorReport(
        class_path=class_path(type(exception)),
        message=storable(_message(exception), MESSAGE_LIMIT),
        traceback=storable(_traceback(exception), TRACEBACK_LIMIT),
        origin=origin_of(exception),
    )


def class_path(cls: type) -> str:
    """Return the dotted path of a class."""
    path = f"{cls.__module__}.{cls.__qualname__}".encode("utf-8", "backslashreplace")
    return path.decode().replace("\0", "\\x00")[:CLASS_PATH_LIMIT]


def storable(text: str, limit: int) -> str:
    """Return ``text`` escaped for storage, at most ``limit`` bytes of UTF-8, its middle cut out."""
    data = _head_and_tail(text, limit).encode("utf-8", "backslashreplace").replace(b"\0", b"\\x00")
    if len(data) <= limit:
        return data.decode()
    return _head_and_tail(data.decode("latin-1"), limit).encode("latin-1").decode("utf-8", "ignore")


def _traceback(exception: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(exception))
    except Exception as error:
        return f"<the traceback cannot be shown: {type(error).__name__}>"


def _message(exception: BaseException) -> str:
    try:
        return str(exception)
    except Exception as error:
        return f"<the exception's __str__ raised {type(error).__name__}>"


def _head_and_tail(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    mark = f"\n[... {len(text) - limit} characters left out ...]\n"
    half = (limit - len(mark)) // 2
    return text[:half] + mark + text[-half:]
