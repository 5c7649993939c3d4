"""Pages link to what is there and name the versions of the code."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

import django_retrytasks
from tests.docs.book import DOCS, IDS, PAGES, README, ROOT

LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")
HEADING = re.compile(r"^#+ (?P<title>.+)$", re.MULTILINE)


class TestPages:
    @pytest.mark.parametrize("page", PAGES, ids=IDS)
    def test_link_to_what_is_there(self, page: Path) -> None:
        targets = [found["target"] for found in LINK.finditer(page.read_text())]

        broken = [target for target in targets if not resolves(page, target)]

        assert broken == []

    def test_can_all_be_reached_from_the_index(self) -> None:
        index = (DOCS / "index.md").read_text()

        left_out = [page for page in DOCS.rglob("*.md") if str(page.relative_to(DOCS)) not in index]

        assert left_out == [DOCS / "index.md"]

    def test_name_the_versions_of_the_code(self) -> None:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        supported = next(x for x in README.read_text().splitlines() if x.startswith("Django 5.2"))

        assert project["version"] == django_retrytasks.__version__
        assert f"({project['version']})" in (ROOT / "CHANGELOG.md").read_text()
        assert classified(project, "Framework :: Django :: ") == versions(supported, "Django")
        assert classified(project, "Programming Language :: Python :: ") == versions(
            supported, "Python"
        )
        assert project["requires-python"] == f">={versions(supported, 'Python')[0]}"
        assert "django-q2>=" + versions(supported, "django-q2")[0] in project["dependencies"]


def classified(project: dict[str, Any], prefix: str) -> list[str]:
    names = [one.removeprefix(prefix) for one in project["classifiers"] if one.startswith(prefix)]
    return [name for name in names if re.fullmatch(r"\d+\.\d+", name)]


def versions(line: str, of: str) -> list[str]:
    part = next(part for part in line.split(";") if part.strip().startswith(of))
    return re.findall(r"\d+\.\d+", part.removeprefix(of))


def resolves(page: Path, target: str) -> bool:
    if "://" in target:
        return True
    path, _, anchor = target.partition("#")
    file = (page.parent / path).resolve() if path else page
    return file.exists() and (not anchor or anchor in anchors(file))


def anchors(page: Path) -> set[str]:
    """Return the fragments that lead to a page's headings, as GitHub makes them."""
    titles = (found["title"].lower() for found in HEADING.finditer(page.read_text()))
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in titles}
