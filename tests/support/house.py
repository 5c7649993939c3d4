"""The map of the package, made from its files: ``python -m tests.support.house`` prints it."""

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "django_retrytasks"
# They hold no rooms of ours: Django's own kinds of folders.
DJANGOS = {"migrations", "locale", "static", "templates", "__pycache__"}
# The column in which descriptions begin.
WIDTH = 30


def entries() -> list[Path]:
    """Return the modules and chapters at the package's top, files first."""
    found = [each for each in PACKAGE.iterdir() if each.suffix == ".py" or each.is_dir()]
    return sorted((each for each in found if each.name not in DJANGOS), key=_files_first)


def tree() -> Iterator[str]:
    """Yield a line for each chapter and each room in it: its name, and what lives there."""
    yield f"{PACKAGE.name}/"
    for entry in entries():
        yield _line(entry, 1)
        for room in _rooms(entry):
            yield _line(room, 2)


def floors() -> list[str]:
    """Return the floors of the import contract, the highest first."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = config["tool"]["importlinter"]["contracts"]
    [layers] = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    return list(layers)


def _rooms(entry: Path) -> list[Path]:
    return sorted(path for path in entry.rglob("*.py") if path.name != "__init__.py")


def _files_first(path: Path) -> tuple[bool, str]:
    return path.is_dir(), path.name


def _line(path: Path, depth: int) -> str:
    is_chapter = path.is_dir()
    source = path / "__init__.py" if is_chapter else path
    shown = path.name if depth == 1 else "/".join(path.relative_to(PACKAGE).parts[1:])
    name = "  " * depth + shown + "/" * is_chapter
    docstring = ast.get_docstring(ast.parse(source.read_text())) or ""
    return f"{name:<{WIDTH}}{docstring.partition(chr(10))[0].rstrip('.:')}".rstrip()


if __name__ == "__main__":
    print("\n".join(tree()))  # noqa: T201
    print("\n" + "\n".join(floors()))  # noqa: T201
