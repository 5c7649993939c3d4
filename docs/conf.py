"""The documentation as a site: ``tox -e docs`` builds it from the same Markdown files."""

from __future__ import annotations

import os
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import django
from django.conf import settings

DOCS = Path(__file__).parent
ROOT = DOCS.parent
sys.path.insert(0, str(ROOT))
if not settings.configured:
    settings.configure(
        INSTALLED_APPS=["django.contrib.contenttypes", "django_retrytasks", "django_q"],
        Q_CLUSTER={"orm": "default", "timeout": 60, "retry": 90},
    )
    django.setup()

PACKAGE = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
FORGE = PACKAGE["urls"]["Source"]

project = PACKAGE["name"]
release = PACKAGE["version"]
project_copyright = PACKAGE["authors"][0]["name"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
# What docstrings and signatures name without a page of its own: types of Python and Django.
nitpick_ignore_regex = [("py:.*", ".*")]

# The fragments of headings, as on the forge.
myst_heading_anchors = 4

# Single backticks in docstrings are code, as in Markdown.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True

html_theme = "furo"
html_title = f"{project} {release}"
html_baseurl = os.environ.get("READTHEDOCS_CANONICAL_URL", "")
html_static_path = ["site"]
html_css_files = ["site.css"]
# Pages are also there as Markdown, for llms.txt.
html_sourcelink_suffix = ""
html_theme_options = {
    "source_repository": FORGE,
    "source_branch": "main",
    "source_directory": "docs/",
}

LINK_UPWARD = re.compile(r"\]\((?P<target>\.\./[^)]+)\)")
PAGE = re.compile(r"^- \[(?P<title>[^\]]+)\]\((?P<path>[\w/-]+\.\w+)\)(?P<note>.*)", re.MULTILINE)

EASED = (
    ("furo_navigation_tree", 'role="heading"', 'role="heading" aria-level="2"'),
    ("body", '<div class="table-wrapper', '<div tabindex="0" class="table-wrapper'),
    ("body", "<pre>", '<pre tabindex="0">'),
    ("body", "<p><img", '<p tabindex="0"><img'),
    ("body", '<th class="head"><p></p></th>', "<td></td>"),
)


def setup(app: Any) -> None:
    app.connect("source-read", read_page)
    # After furo, which makes the side bar at the same event.
    app.connect("html-page-context", ease_access, priority=900)
    app.connect("build-finished", write_llms_txt)


def read_page(app: Any, name: str, source: list[str]) -> None:
    """Make a page of the repository one of the site."""
    folder = (DOCS / name).parent
    source[0] = LINK_UPWARD.sub(lambda link: on_the_site(folder, link["target"]), source[0])
    if name == "index":
        source[0] += tables_of_contents(source[0])


def on_the_site(folder: Path, target: str) -> str:
    """Return the end of a link: to the forge if it leads out of the documentation."""
    file = Path(os.path.normpath(folder / target))
    if not file.is_relative_to(DOCS):
        target = f"{FORGE}/blob/main/{file.relative_to(ROOT)}"
    return f"]({target})"


def tables_of_contents(index: str) -> str:
    """Return a hidden table of contents for each part of the index: the side bar shows it."""
    lines = []
    for title, pages in parts(index):
        paths = [page["path"] for page in pages]
        lines += ["", "```{toctree}", ":hidden:", f":caption: {title}", "", *paths, "```"]
    return "\n".join(lines)


def parts(index: str) -> list[tuple[str, list[re.Match[str]]]]:
    """Return the title of each part of the index, and its links to pages."""
    texts = [part.partition("\n") for part in index.split("\n## ")[1:]]
    return [(title, [*PAGE.finditer(lines)]) for title, _, lines in texts]


def ease_access(app: Any, name: str, template: str, context: dict[str, Any], tree: Any) -> None:
    """Give headings their level, and let the keyboard reach what scrolls."""
    for part, old, new in EASED:
        if part in context:
            context[part] = context[part].replace(old, new)


def write_llms_txt(app: Any, error: Exception | None) -> None:
    """Write the index for language models (https://llmstxt.org), with links to Markdown."""
    if error is None and app.builder.format == "html":
        index = (DOCS / "index.md").read_text()
        (Path(app.outdir) / "llms.txt").write_text("\n".join(llms_txt(index)) + "\n")


def llms_txt(index: str) -> Iterator[str]:
    yield from (f"# {project}", "", f"> {PACKAGE['description']}")
    for title, pages in parts(index):
        yield from ("", f"## {title}", "")
        for page in pages:
            yield f"- [{page['title']}]({html_baseurl}_sources/{page['path']}){page['note']}"
