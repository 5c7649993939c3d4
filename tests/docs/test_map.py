"""The map in CONTRIBUTING.md is the package as it stands, and the package keeps its measures."""

import ast
from pathlib import Path

import pytest

from tests.support.house import PACKAGE, ROOT, entries, floors, tree

CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
MOST_ENTRIES = 22
LONGEST_FILE = 400
LONGEST_FUNCTION = 40
OURS = sorted(path for path in PACKAGE.rglob("*.py") if "migrations" not in path.parts)
TESTS = sorted((ROOT / "tests").rglob("*.py"))


def test_the_tree_is_the_packages() -> None:
    assert "\n".join(tree()) in CONTRIBUTING, "run python -m tests.support.house for the new tree"


def test_the_picture_has_the_floors_of_the_import_contract() -> None:
    [picture] = [block for block in CONTRIBUTING.split("```") if block.startswith("text\napps")]

    drawn = [line.partition("  ")[0].rstrip() for line in picture.splitlines()[1:]]
    assert drawn == floors()


def test_the_listing_is_short() -> None:
    assert len(entries()) <= MOST_ENTRIES


@pytest.mark.parametrize("chapter", [each.name for each in entries() if each.is_dir()])
def test_each_chapter_says_what_lives_there(chapter: str) -> None:
    tree = ast.parse((PACKAGE / chapter / "__init__.py").read_text())

    assert ast.get_docstring(tree)


def test_no_file_is_longer_than_400_lines() -> None:
    long = {path: len(path.read_text().splitlines()) for path in (*OURS, *TESTS)}

    assert {shown(path): n for path, n in long.items() if n > LONGEST_FILE} == {}


def test_no_function_is_longer_than_40_lines() -> None:
    long = {
        f"{shown(path)}:{node.name}": node.end_lineno - node.lineno + 1
        for path in OURS
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno
    }

    assert {at: lines for at, lines in long.items() if lines > LONGEST_FUNCTION} == {}


def test_no_banner_parts_a_file() -> None:
    found = [shown(path) for path in (*OURS, *TESTS) if "\n# " + "----" in path.read_text()]

    assert found == []


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT))
