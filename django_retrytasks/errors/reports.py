"""Describe an exception in text that every database can store."""

from __future__ import annotations

import sys
import traceback
from dataclasses import dataclass
from typing import Any, Final

from django_retrytasks.exceptions import AttemptTimedOut

from .causes import FRAME_LIMIT, LINK_LIMIT, linked, traceback_below, traceback_of
from .fingerprints import origin_of, storable_line
from .frames import written

MESSAGE_LIMIT: Final = 4 * 1024
TRACEBACK_LIMIT: Final = 64 * 1024
HEAD: Final = "Traceback (most recent call last):\n"
UNAVAILABLE: Final = "message unavailable"

_PASSED_ON: Final = (KeyboardInterrupt, AttemptTimedOut)
_MODULE: Final[Any] = vars(type)["__module__"]
_QUALNAME: Final[Any] = vars(type)["__qualname__"]
_MRO: Final[Any] = vars(type)["__mro__"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorReport:
    """An exception as text: its class's dotted path, its message and its traceback, chain kept.

    ``origin`` is the innermost line of the site's own code, "" if there is none.
    ``known_class_path`` is the class to group by: see :func:`known_class_path`.
    ``is_bare`` means that no code of the exception ran, not even for its message.
    """

    class_path: str
    message: str
    traceback: str
    origin: str = ""
    known_class_path: str = ""
    is_bare: bool = False


def report(exception: BaseException, name: str = "", *, caller: str = "\0") -> ErrorReport:
    """Describe an exception of the task ``name`` for storage.

    At most 4 KB of the message and 64 KB of the traceback are kept, head and tail. Characters that
    a database refuses (NUL, lone surrogates) are escaped.

    Args:
        exception: the exception.
        name: the dotted path of the task.
        caller: the directory of the code that called the task: the traceback begins below it.

    Raises:
        KeyboardInterrupt, AttemptTimedOut: raised while foreign code, such as ``__str__``, ran. The
            text names any other exception of such code.
    """
    return ErrorReport(
        class_path=class_path(type(exception)),
        message=storable(_message(exception), MESSAGE_LIMIT),
        traceback=storable(_traceback(exception, caller), TRACEBACK_LIMIT),
        origin=origin_of(exception, name),
        known_class_path=known_class_path(exception),
    )


def bare_report(exception: BaseException, name: str = "") -> ErrorReport:
    """Describe an exception without running its code: by its class and its own stack."""
    try:
        stack = _stack(exception, UNAVAILABLE)
    except Exception as error:  # such as a loader without the source of a line
        stack = f"<the traceback cannot be shown: {type(error).__name__}>"
    return ErrorReport(
        class_path=class_path(type(exception)),
        message=UNAVAILABLE,
        traceback=storable(stack, TRACEBACK_LIMIT),
        origin=origin_of(exception, name),
        known_class_path=known_class_path(exception),
        is_bare=True,
    )


def class_path(cls: type) -> str:
    """Return the dotted path of a class; its name alone if its module is not a str."""
    # A metaclass may replace both attributes by properties, and a class may set any module.
    module, qualname = _MODULE.__get__(cls), _QUALNAME.__get__(cls)
    return storable_line(f"{module}.{qualname}" if type(module) is str else qualname)


def known_class_path(exception: BaseException) -> str:
    """Return the dotted path of the first class in an exception's MRO that its path leads to.

    The path of a class made at run time leads nowhere, and its name may vary between failures.
    """
    return next(class_path(cls) for cls in _MRO.__get__(type(exception)) if _is_importable(cls))


def _is_importable(cls: type) -> bool:
    """Whether the path of a class leads to a class."""
    try:
        value: Any = sys.modules[_MODULE.__get__(cls)]
        for name in _QUALNAME.__get__(cls).split("."):
            value = vars(value)[name]
    except _PASSED_ON:
        raise
    except BaseException:  # any object may stand in a module's place
        return False
    return isinstance(value, type)


def storable(text: str, limit: int) -> str:
    """Escape ``text`` for storage, and cut its middle beyond ``limit`` bytes of UTF-8."""
    # A subclass of str is foreign code.
    if type(text) is str and len(text) <= limit and text.isascii() and "\0" not in text:
        return text
    data = _head_and_tail(text, limit).encode("utf-8", "backslashreplace").replace(b"\0", b"\\x00")
    if len(data) <= limit:
        return data.decode()
    return _head_and_tail(data.decode("latin-1"), limit).encode("latin-1").decode("utf-8", "ignore")


def _traceback(exception: BaseException, caller: str) -> str:
    try:
        if len(list(linked(exception))) < LINK_LIMIT:
            return written(exception, traceback_below(exception, caller))
        why = "too many"
    except _PASSED_ON:
        raise
    except BaseException as error:
        why = type(error).__name__
    return f"[its causes are left out: {why}]\n{_stack(exception, _message(exception))}"


def _stack(exception: BaseException, message: str) -> str:
    """Return the traceback of an exception alone."""
    frames = traceback.format_tb(traceback_of(exception), limit=FRAME_LIMIT)
    return "".join([HEAD, *frames, f"{class_path(type(exception))}: {message}\n"])


def _message(exception: BaseException) -> str:
    try:
        return str(exception)
    except _PASSED_ON:
        raise
    except BaseException as error:
        return f"<the exception's __str__ raised {type(error).__name__}>"


def _head_and_tail(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    mark = f"\n[... {len(text) - limit} characters left out ...]\n"
    half = (limit - len(mark)) // 2
    return text[:half] + mark + text[-half:]
