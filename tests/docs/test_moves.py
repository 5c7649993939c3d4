"""What the pages about a move, and about the admin, say of a site that is there already."""

from __future__ import annotations

from pathlib import Path

import pytest
from django_q.tasks import async_task, result

from tests.checks.sites import bare_site
from tests.docs.book import DOCS
from tests.docs.fences import Block, blocks
from tests.docs.project import django_admin, manage

APPS = ["django.contrib.contenttypes", "django_q", "django_retrytasks"]
FROM_DJANGO_Q2 = DOCS / "how-to" / "from-django-q2.md"


def block_of(page: Path, path: str, *, holding: str = "") -> Block:
    """Return the page's first block of code for this module, of those that hold a text."""
    return next(one for one in blocks(page) if one.path == path and holding in one.code)


@pytest.mark.django_db
def test_save_limit_of_the_readme_saves_what_a_call_asks_to_save_alone() -> None:
    unsaved = async_task("math.hypot", 3, 4, sync=True)
    saved = async_task("math.hypot", 3, 4, sync=True, save=True)

    assert (result(unsaved), result(saved)) == (None, 5.0)


class TestOldBroker:
    def test_is_an_error_in_the_settings_of_the_site(self, tmp_path: Path) -> None:
        site = bare_site(tmp_path, apps=APPS)
        with (tmp_path / "bare.py").open("a") as file:
            file.write("\ndel Q_CLUSTER['orm']; Q_CLUSTER['redis'] = {'host': '127.0.0.1'}")

        assert "(retrytasks.E002)" in site("check")

    def test_may_be_emptied_by_settings_of_its_own(self, tmp_path: Path) -> None:
        site = bare_site(tmp_path, apps=APPS)
        shop = tmp_path / "shop"
        shop.mkdir()
        (shop / "__init__.py").touch()
        (tmp_path / "bare.py").rename(shop / "settings.py")
        drain = block_of(FROM_DJANGO_Q2, "shop.settings_drain")
        (shop / "settings_drain.py").write_text(drain.code)

        output = site("check", "--settings", "shop.settings_drain")

        assert output == "System check identified no issues (2 silenced).\n"


def test_admin_class_of_the_page_is_registered_by_an_app(tmp_path: Path) -> None:
    page = DOCS / "how-to" / "admin.md"
    django_admin(tmp_path, "startproject", "shop", ".")
    django_admin(tmp_path, "startapp", "orders")
    with (tmp_path / "shop" / "settings.py").open("a") as file:
        file.write('\nINSTALLED_APPS += ["django_q", "django_retrytasks", "orders"]\n')
        file.write('Q_CLUSTER = {"orm": "default"}\n')
    for path, holding in [("orders.admin_classes", "get_links"), ("orders.admin", "unregister")]:
        block = block_of(page, path, holding=holding)
        (tmp_path / f"{path.replace('.', '/')}.py").write_text(block.code)

    registered = manage(
        tmp_path,
        "shell",
        "-c",
        "from django.contrib import admin; from django_retrytasks.models import Task; "
        "print(type(admin.site._registry[Task]))",
    )

    assert "<class 'orders.admin_classes.ShopTaskAdmin'>" in registered
