"""The site is made from the pages: its lists of them come from the index."""

from __future__ import annotations

import runpy
from typing import Any

import pytest

from tests.docs.book import DOCS


@pytest.fixture(scope="module")
def conf() -> dict[str, Any]:
    return runpy.run_path(str(DOCS / "conf.py"))


class TestSite:
    INDEX = (DOCS / "index.md").read_text()
    PAGES = sorted(
        str(page.relative_to(DOCS))
        for page in DOCS.rglob("*.*")
        if page.suffix in {".md", ".rst"} and page.name != "index.md"
    )

    def test_has_each_page_once_in_its_side_bar(self, conf: dict[str, Any]) -> None:
        lines = conf["tables_of_contents"](self.INDEX).splitlines()

        assert sorted(line for line in lines if line in self.PAGES) == self.PAGES
        assert [line for line in lines if line.startswith(":caption:")] == [
            ":caption: Tutorial",
            ":caption: How to",
            ":caption: Reference",
            ":caption: Explanation",
        ]

    def test_lists_each_page_for_language_models(self, conf: dict[str, Any]) -> None:
        lines = list(conf["llms_txt"](self.INDEX))

        assert lines[0] == "# django-retrytasks"
        assert lines[2].startswith("> Durable Django tasks with retries")
        assert "- [Upgrade](_sources/how-to/upgrading.md)" in lines
        assert len([line for line in lines if line.startswith("- [")]) == len(self.PAGES)

    @pytest.mark.parametrize(
        ("target", "there"),
        [
            ("../reference/policy.md#options", "../reference/policy.md#options"),
            (
                "../../README.md#install",
                "https://github.com/django-retrytasks/django-retrytasks/blob/main/README.md#install",
            ),
        ],
    )
    def test_links_to_its_own_pages_and_to_other_files_on_the_forge(
        self, conf: dict[str, Any], target: str, there: str
    ) -> None:
        assert conf["on_the_site"](DOCS / "how-to", target) == f"]({there})"
