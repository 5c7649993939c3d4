"""A site with one more verb: an act, and an entry in the table. It prints what the site shows.

Run as a program of its own: the admin derives its methods from the table when it is imported.
"""

from __future__ import annotations

import json
import os
import sys
from io import StringIO
from typing import Any

import django
from django.conf import settings
from django.core.management import call_command
from django.db.models import TextChoices

from tests import settings as site

CONFIG = {name: value for name, value in vars(site).items() if name.isupper()} | {
    "DATABASES": {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    # The plain config imports no admin by itself, so the table can be filled first.
    "INSTALLED_APPS": [
        app.replace("contrib.admin", "contrib.admin.apps.SimpleAdminConfig")
        for app in site.INSTALLED_APPS
    ],
    "ALLOWED_HOSTS": ["testserver"],
}


def add_verb() -> None:
    from django_retrytasks.lifecycle.operating import Change, act
    from django_retrytasks.models import Status
    from django_retrytasks.operators import verbs

    @act("promoted", Status.PENDING)
    def promote() -> Change:
        return {"priority": 7}, None

    class Name(TextChoices):
        PROMOTE = "PROMOTE", "Promote"

    entry: Any = {"name": Name.PROMOTE}
    table: Any = verbs.VERBS
    table["PROMOTE"] = verbs.Verb(
        **entry,
        act=promote,
        meaning="Pending Tasks overtake others.",
        report="%(count)d promoted.",
        asks=("canary",),
    )


def told(*words: str) -> str:
    output = StringIO()
    call_command("retrytasks", *words, stdout=output)
    return output.getvalue().strip()


def faces() -> dict[str, Any]:
    from django.contrib import admin
    from django.contrib.auth.models import Permission, User
    from django.test import Client, RequestFactory

    from django_retrytasks.admin import TaskAdmin
    from django_retrytasks.models import Operation, Task
    from django_retrytasks.operators import operations
    from tests.support import tasks

    first, second = tasks.echoes.enqueue_many([(1,), (2,)])
    request: Any = RequestFactory().get("/")
    request.user = User.objects.create_user("ada", is_staff=True)
    pages: Any = TaskAdmin(Task, admin.site)
    may_not = pages.has_promote_permission(request)
    kind = Permission.objects.get(codename="redrive_task").content_type
    view = Permission.objects.get(codename="view_task", content_type=kind)
    own = Permission.objects.create(codename="promote_task", content_type=kind)
    request.user.user_permissions.add(view, own)
    request.user = User.objects.get()
    client = Client()
    client.force_login(request.user)
    url = f"/admin/retrytasks/task/{first.id}/"
    page = client.get(f"{url}change/").content.decode()
    asked = client.get(f"{url}do/promote/").content.decode()
    done = client.post(f"{url}do/promote/", {"reason": "late"}, follow=True).content.decode()
    by_command = told("promote", second.id)
    begun = operations.start("PROMOTE", {"name": tasks.echoes.module_path}, canary=1)
    return {
        "permissions": [may_not, pages.has_promote_permission(request)],
        "actions": list(pages.get_actions(request)),
        "button": f"{url}do/promote/" in page,
        "asked": "Pending Tasks overtake others." in asked,
        "done": "1 promoted." in done and "Promote: late" in done,
        "command": by_command,
        "priorities": list(Task.objects.filter(internal=False).values_list("priority", flat=True)),
        "operation": [begun.matched_count, Operation.objects.get().verb],
    }


def help_of_command() -> str:
    from django_retrytasks.management.commands.retrytasks import Command

    return Command().create_parser("manage.py", "retrytasks").format_help()


if __name__ == "__main__":
    os.environ["COLUMNS"] = "200"
    settings.configure(**CONFIG)
    django.setup()
    add_verb()
    import django_retrytasks.admin  # noqa: F401  # registers

    call_command("migrate", verbosity=0)
    json.dump({**faces(), "help": help_of_command()}, sys.stdout)
