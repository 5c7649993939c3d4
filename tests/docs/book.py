"""The pages of the documentation, and what their code does."""

from __future__ import annotations

import doctest
import re
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import Settings

from django_retrytasks import RetryPolicy, conf
from django_retrytasks.alerts.rules import Rule
from django_retrytasks.alerts.sinks import check
from django_retrytasks.backend import RetryTasksBackend
from django_retrytasks.conf import Sink
from django_retrytasks.models import Task
from django_retrytasks.values.contract import task_backends
from django_retrytasks.worker import run
from tests.docs.fences import Block, blocks
from tests.support.driver import KEY

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"
TOP = [README, *(ROOT / f"{name}.md" for name in ("CONTRIBUTING", "CHANGELOG", "SECURITY"))]
PAGES = [*TOP, *sorted(DOCS.rglob("*.md"))]
IDS = [str(page.relative_to(ROOT)) for page in PAGES]
NAMED = re.compile(r"^(?:#+ |\| ?)(?P<names>`[^|\n]*)", re.MULTILINE)


def documented(*pages: str) -> set[str]:
    """Return the names that have a heading or a table's line of their own on reference pages."""
    texts = [(REFERENCE / f"{page}.md").read_text() for page in pages]
    lines = [found["names"] for text in texts for found in NAMED.finditer(text)]
    return {name for line in lines for name in re.findall(r"`(\w+)`", line)}


def table_after(text: str, mark: str) -> list[list[str]]:
    """Return the cells of the first table after ``mark``, without its head."""
    found = re.search(r"^\|.*?(?=\n\n|\Z)", text[text.index(mark) :], re.DOTALL | re.MULTILINE)
    assert found, f"no table after {mark!r}"
    lines = found[0].strip().splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


class Book:
    """Runs a page's blocks: each in the module that its first line names, or in the page's own."""

    def __init__(self, page: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
        self._page = page
        self._patch = monkeypatch
        self._settings = settings
        self.modules: dict[str, ModuleType] = {}

    def read(self) -> None:
        """Run the page, its settings in force from where they stand."""
        for block in blocks(self._page):
            if block.language == "python" and block.is_run:
                self._run(block)
            elif block.language == "python":
                self._compiled(block)
            elif block.language == "pycon":
                self._converse(block)

    def _run(self, block: Block) -> None:
        if block.path.endswith("settings"):
            self._configure(self._executed(block, settings_to_add_to()))
        else:
            self._executed(block, self.module(block.path or "page").__dict__)

    def _converse(self, block: Block) -> None:
        names = self.module("page").__dict__
        test = doctest.DocTestParser().get_doctest(
            block.code, names, self._page.name, str(self._page), block.line
        )
        output: list[str] = []
        # The session goes on in the page's next block, with the names it has made.
        runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
        runner.run(test, out=output.append, clear_globs=False)
        names.update(test.globs)
        assert not output, "".join(output)

    def _compiled(self, block: Block) -> Any:
        # Empty lines before it make a traceback name the page's own line.
        return compile("\n" * (block.line - 1) + block.code, str(self._page), "exec")

    def _executed(self, block: Block, names: dict[str, Any]) -> dict[str, Any]:
        exec(self._compiled(block), names)
        return names

    def _configure(self, names: dict[str, Any]) -> None:
        ours = names.get("RETRYTASKS", {})
        assert set(ours) <= set(conf.NAMES)
        RetryPolicy(**ours.get("POLICY", {}))
        for entry in ours.get("ALERTS", ()):
            check(Sink.from_entry(entry))
        for entry in ours.get("ALERT_RULES", ()):
            Rule.from_entry(entry)
        for name in ("RETRYTASKS", "TASKS"):
            if name in names:
                setattr(self._settings, name, names[name])
        if "TASKS" in names:
            backend = task_backends["default"]
            assert isinstance(backend, RetryTasksBackend)
            RetryPolicy(**backend.policy_options)

    def module(self, path: str) -> ModuleType:
        """Return the module of this path, made on first use, its packages too."""
        if path not in self.modules:
            package, _, name = path.rpartition(".")
            made = ModuleType(path)
            made.__dict__["__path__"] = []
            self._patch.setitem(sys.modules, path, made)
            self.modules[path] = made
            if package:
                setattr(self.module(package), name, made)
        return self.modules[path]


def settings_to_add_to() -> dict[str, Any]:
    return {"INSTALLED_APPS": [], "DATABASES": {"default": {}}, "Q_CLUSTER": {}}


def settings_of(page: Path, word: str) -> dict[str, Any]:
    """Return what the first of a page's settings that have this word come to."""
    settings = (block.code for block in blocks(page) if block.path.endswith("settings"))
    names = settings_to_add_to()
    exec(next(code for code in settings if word in code), names)
    return names


NewBook = Callable[[Path], Book]


def run_to_the_end() -> None:
    """Do a cluster's work until no Task is unfinished, without its waits."""
    for _ in range(10):
        Task.objects.unfinished().update(run_after=timezone.now() - timedelta(hours=1))
        run(KEY)
    assert not Task.objects.unfinished().exists()
