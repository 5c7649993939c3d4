"""System checks of whole sites, and the pages that list every check and every setting."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from django_retrytasks.conf import Settings
from tests.checks.sites import ROOT, bare_site, manage


class TestApps:
    def test_without_django_q_there_is_no_cluster(self, tmp_path: Path) -> None:
        site = bare_site(tmp_path, apps=["django_retrytasks"], orm=None)

        output = site("check", "--tag", "retrytasks")

        assert (
            '?: (retrytasks.E001) "django_q" is not in INSTALLED_APPS: no cluster runs Tasks.\n'
            '\tHINT: Add "django_q" to INSTALLED_APPS and run manage.py migrate.\n' in output
        )
        assert output.count("retrytasks.") == 1

    @pytest.mark.parametrize(
        "apps", [["django_q", "django_retrytasks"], ["django_retrytasks", "django_q"]]
    )
    def test_the_order_of_the_apps_does_not_matter(self, tmp_path: Path, apps: list[str]) -> None:
        site = bare_site(tmp_path, apps=["django.contrib.contenttypes", *apps])

        site("migrate", "contenttypes")
        site("migrate")
        output = site("check", "--database", "default", "--fail-level", "WARNING")

        assert output == "System check identified no issues (0 silenced).\n"


class TestSites:
    @pytest.mark.django_db(transaction=True)
    def test_the_tests_own_site_is_clean(self) -> None:
        # By tag: MariaDB has a warning of Django's own, about indexes with conditions.
        tags = ["--tag", "retrytasks", "--tag", "database"]

        output = manage("check", *tags, "--database", "default", "--fail-level", "WARNING")

        assert output == "System check identified no issues (0 silenced).\n"

    def test_the_example_is_clean(self, tmp_path: Path) -> None:
        output = manage(
            "check",
            "--fail-level",
            "WARNING",
            cwd=ROOT / "example_project",
            site="shop.settings",
            database_url=f"sqlite:///{tmp_path}/shop.sqlite3",
        )

        assert output == "System check identified no issues (0 silenced).\n"


class TestPages:
    def test_every_check_has_its_section(self) -> None:
        source = "".join(file.read_text() for file in (ROOT / "django_retrytasks").rglob("*.py"))
        page = (ROOT / "docs/reference/checks.md").read_text()

        ids = sorted(set(re.findall(r'id="(retrytasks\.[EW]\d{3})"', source)))

        assert re.findall(r"^## (retrytasks\.[EW]\d{3})", page, re.MULTILINE) == ids
        assert len(ids) == 35

    def test_every_setting_has_its_section(self) -> None:
        page = (ROOT / "docs/reference/settings.md").read_text()

        sections = re.findall(r"^## `([A-Z_]+)`", page, re.MULTILINE)

        assert sections == [field.name for field in fields(Settings)]
