"""The admin's pages: where each is, how it reads, and who looks at it."""

from __future__ import annotations

import html
import re
from typing import Any

from django.contrib.auth.models import Permission, User
from django.test import Client

from django_retrytasks.models import FailureGroup, Task

LIST = "/admin/retrytasks/task/"
GROUPS = "/admin/retrytasks/failuregroup/"


def page_of(of: Any, verb: str = "change") -> str:
    """Return the address of a page of a Task; its row or its result will do."""
    return f"{LIST}{of.pk if isinstance(of, Task) else of.id}/{verb}/"


def group_page() -> str:
    """Return the address of the page of the only failure group."""
    return f"{GROUPS}{FailureGroup.objects.get().pk}/change/"


def raw(client: Client, url: str) -> str:
    """Return the markup of a page."""
    response = client.get(url)
    assert response.status_code == 200, (url, response)
    return response.content.decode()


def text_of(markup: str) -> str:
    """Return the text of markup, as it reads."""
    # \s takes the no-break spaces of durations, too.
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", markup))).strip()


def shown(client: Client, url: str) -> str:
    """Return the text of a page's main part, as it reads."""
    return text_of(raw(client, url).partition('id="content"')[2])


def says(page: str, words: str) -> bool:
    """Whether a page says this, but for its number of seconds: they pass while a test runs."""
    pattern = re.sub(r"\d+\\ s(?!\w)", r"\\d+ s", re.escape(words))
    return re.search(pattern, page) is not None


def rows(client: Client, query: str = "") -> list[str]:
    """Return the text of each row of the list."""
    table = raw(client, LIST + query).partition('id="result_list"')[2].partition("</table>")[0]
    return [text_of(row) for row in table.split("<tr>")[2:]]


def user_who_may(*codenames: str) -> Client:
    """Return the browser of a user of the staff with these permissions, and no others."""
    user = User.objects.create_user("ada", is_staff=True)
    ours = Permission.objects.filter(content_type__app_label="retrytasks")
    user.user_permissions.set(ours.filter(codename__in=codenames))
    assert user.user_permissions.count() == len(codenames)
    return logged_in(user)


def logged_in(user: User) -> Client:
    """Return the browser of a user."""
    client = Client()
    client.force_login(user)
    return client
