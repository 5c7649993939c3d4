"""The files that tools and the forge read agree with pyproject.toml and tox.ini."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docs.book import PAGES, REFERENCE, ROOT, table_after
from tests.support.house import PACKAGE

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
FORGE = ROOT / ".github"
WORKFLOWS = sorted((FORGE / "workflows").glob("*.yml"))
HOOK = "fancy-pypi-readme"
EXTRA = re.compile(r"django-retrytasks\[([\w,]+)\]")


class TestPyPI:
    def test_shows_the_readme_with_whole_links(self) -> None:
        readme = (ROOT / "README.md").read_text()
        for each in PYPROJECT["tool"]["hatch"]["metadata"]["hooks"][HOOK]["substitutions"]:
            readme = re.sub(each["pattern"], each["replacement"], readme)

        source = PYPROJECT["project"]["urls"]["Source"]
        targets = re.findall(r"\]\(([^)]+)\)", readme)
        assert [target for target in targets if not target.startswith("https://")] == []
        assert f"{source}/blob/main/CHANGELOG.md" in targets
        images = source.replace("github", "raw.githubusercontent")
        assert f"{images}/main/docs/images/tasks.png" in targets


class TestExtras:
    def test_are_all_documented_with_what_they_bring(self) -> None:
        lines = table_after((REFERENCE / "extras.md").read_text(), "| extra | brings")

        told = {name.strip("`"): brings.strip("`") for name, brings, _ in lines}
        assert told == {name: ", ".join(brought) for name, brought in extras().items()}

    @pytest.mark.parametrize("kind", ["pages", "sources"])
    def test_that_are_named_exist(self, kind: str) -> None:
        files = PAGES if kind == "pages" else [*PACKAGE.rglob("*.py")]

        named = {
            extra
            for file in files
            for names in EXTRA.findall(file.read_text())
            for extra in names.split(",")
        }

        assert named
        assert named <= extras().keys()


class TestPreCommit:
    def test_has_the_versions_that_are_pinned(self) -> None:
        config = read(ROOT / ".pre-commit-config.yaml")

        hooks = [hook for repository in config["repos"] for hook in repository["hooks"]]
        assert [hook["id"] for hook in hooks] == ["ruff-check", "ruff-format"]
        assert all(
            hook["additional_dependencies"] == PYPROJECT["dependency-groups"]["format"]
            for hook in hooks
        )


class TestWorkflows:
    def test_run_every_environment_that_a_change_must_pass(self) -> None:
        [job] = read(FORGE / "workflows" / "test.yml")["jobs"].values()

        run = job["strategy"]["matrix"]["environment"]
        assert sorted(run) == sorted(environments("env_list") | environments("labels"))

    @pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
    def test_pin_actions_by_commit_and_may_only_read(self, workflow: Path) -> None:
        config = read(workflow)

        actions = [step["uses"] for step in steps(config) if "uses" in step]
        assert actions
        assert [each for each in actions if not re.search(r"@[0-9a-f]{40}$", each)] == []
        assert config["permissions"] == {"contents": "read"}

    def test_only_the_job_that_publishes_may_ask_pypi(self) -> None:
        jobs = read(FORGE / "workflows" / "release.yml")["jobs"]

        allowed = {name: job["permissions"] for name, job in jobs.items() if "permissions" in job}
        assert allowed == {"publish": {"id-token": "write"}}
        assert set(jobs["publish"]["needs"]) == jobs.keys() - {"publish"}


class TestForge:
    def test_links_lead_to_the_projects_repository(self) -> None:
        source = PYPROJECT["project"]["urls"]["Source"]
        files = [*FORGE.rglob("*.yml"), *FORGE.rglob("*.md"), ROOT / "SECURITY.md"]

        links = [
            link
            for file in files
            for link in re.findall(r"https://github[^\s)]+", file.read_text())
        ]

        assert links
        assert [link for link in links if not link.startswith(f"{source}/")] == []


class TestReadTheDocs:
    def test_builds_with_the_group_of_the_documentation(self) -> None:
        config = read(ROOT / ".readthedocs.yaml")

        assert (ROOT / config["sphinx"]["configuration"]).exists()
        install = " ".join(config["build"]["jobs"]["install"])
        assert re.findall(r"--group (\S+)", install) == ["docs"]
        assert "docs" in PYPROJECT["dependency-groups"]


def extras() -> dict[str, list[str]]:
    found: dict[str, list[str]] = PYPROJECT["project"]["optional-dependencies"]
    return found


def environments(key: str) -> set[str]:
    """Return the names of environments in this value of tox's own section."""
    tox = ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini")
    _, _, names = tox["tox"][key].rpartition("=")
    return {name.strip() for name in names.split(",")}


def steps(workflow: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for job in workflow["jobs"].values():
        yield from job.get("steps", [])


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text())
    return found
