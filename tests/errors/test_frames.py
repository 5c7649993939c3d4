"""A traceback reads as Python writes it, the second time as well, when it comes from memory."""

from __future__ import annotations

import linecache
import sys
import traceback
from collections.abc import Callable, Iterator
from importlib import import_module, invalidate_caches
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from django_retrytasks.errors import frames

SOURCE = """
def divides(by):
    return 1 / (
        by
        + by
    )

def chained():
    try:
        divides(0)
    except ZeroDivisionError as error:
        raise ValueError("no number") from error

def in_context():
    try:
        divides(0)
    except ZeroDivisionError:
        {}["missing"]

def recurses(depth=10):
    return recurses(depth - 1) if depth else divides(0)

def grouped():
    errors = []
    for act in (chained, lambda: divides(0)):
        try:
            act()
        except Exception as error:
            errors.append(error)
    raise ExceptionGroup("two", errors)

def noted():
    error = TypeError("é")
    error.add_note("a note")
    raise error

def misspelt():
    compile("a b", "nowhere", "exec")

def evaluated():
    eval("1 / 0")
"""
NAMES = ("chained", "in_context", "recurses", "grouped", "noted", "misspelt", "evaluated")


@pytest.fixture
def written_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return a function that writes a module, and imports it."""
    monkeypatch.syspath_prepend(tmp_path)
    frames._written.clear()

    def write(source: str) -> ModuleType:
        (tmp_path / "failing_module.py").write_text(source)
        sys.modules.pop("failing_module", None)
        invalidate_caches()
        linecache.clearcache()
        return import_module("failing_module")

    yield write
    sys.modules.pop("failing_module", None)
    frames._written.clear()


def failure(act: Callable[[], Any]) -> BaseException:
    with pytest.raises(Exception) as caught:  # noqa: PT011  # any failure is written
        act()
    return caught.value


@pytest.mark.parametrize("name", NAMES)
def test_it_is_the_same_from_memory(written_anew: Any, name: str) -> None:
    module = written_anew(SOURCE)
    first, second = (failure(getattr(module, name)) for _ in range(2))
    expected = "".join(traceback.format_exception(first))

    assert frames.written(first, first.__traceback__) == expected
    known = dict(frames._written)
    assert frames.written(second, second.__traceback__) == expected
    assert frames._written == known
    assert known


def test_a_changed_file_is_read_anew(written_anew: Any) -> None:
    before = failure(written_anew("def act():\n    return 1 / 0  # before\n").act)
    frames.written(before, before.__traceback__)

    after = failure(written_anew("def act():\n    return 1 / 0  # afterwards\n").act)

    assert "# afterwards" in frames.written(after, after.__traceback__)


def test_memory_is_bounded(written_anew: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "MOST", 3)
    module = written_anew(SOURCE)

    for name in NAMES:
        error = failure(getattr(module, name))
        assert frames.written(error, error.__traceback__)
        assert len(frames._written) <= 3


def test_a_frame_of_an_endless_line_is_not_kept(written_anew: Any) -> None:
    source = f"def act():\n    return 1 / 0  # {'endless ' * 3000}\n"
    error = failure(written_anew(source).act)

    assert len(frames.written(error, error.__traceback__)) > 10_000
    assert all(len(text) <= frames.LONGEST for text in frames._written.values())
    assert frames._written
