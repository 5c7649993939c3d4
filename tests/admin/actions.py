"""What operators do in the admin: the forms that they fill in, and what is logged of it."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from typing import Any

from django.contrib.admin.models import LogEntry
from django.test import Client

from django_retrytasks import retry_task
from django_retrytasks.models import Status, Task
from tests.admin.pages import LIST

OPERATIONS = "/admin/retrytasks/operation/"
PAUSES = "/admin/retrytasks/pause/"
# The verbs, and a status in which each changes a Task.
VERBS = {
    "redrive": Status.FAILED,
    "run_now": Status.RETRYING,
    "snooze": Status.PENDING,
    "discard": Status.FAILED,
    "cancel": Status.RUNNING,
}
mood = {"fails": True}


@retry_task(max_retries=0)
def sends(number: int) -> None:
    if mood["fails"]:
        raise ConnectionError(f"refused: {number}")


def text_of(response: Any) -> str:
    """Return the text of a page, as it reads."""
    assert response.status_code == 200, response
    page = re.sub(r"<style.*?</style>|<script.*?</script>", "", response.content.decode())
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", page)))


def choose(client: Client, verb: str, chosen: Sequence[Task], query: str = "", **form: Any) -> Any:
    """Tick Tasks in the list, choose an action and press Go; return what comes."""
    ids = [str(task.pk) for task in chosen]
    data = {"action": verb, "index": "0", "select_across": "0", "_selected_action": ids, **form}
    return client.post(LIST + query, data)


def filled_in(response: Any, **form: Any) -> dict[str, Any]:
    """Return what a page's form sends: its hidden fields, and what is filled in."""
    hidden = re.findall(r'name="_selected_action" value="([^"]+)"', response.content.decode())
    return {"_selected_action": hidden, **form}


def offered(page: str, field: str) -> list[str]:
    """Return what a page suggests for a field, without a script."""
    assert f'list="rt-{field}"' in page
    [choices] = re.findall(rf'<datalist id="rt-{field}">(.*?)</datalist>', page, re.DOTALL)
    return re.findall(r'<option value="([^"]*)">', choices)


def target_of(response: Any) -> str:
    """Return where the form of a page that asks posts to."""
    found = re.search(r'<form method="post" action="([^"]+)"', response.content.decode())
    assert found
    return html.unescape(found.group(1))


def act(client: Client, verb: str, chosen: Sequence[Task], **form: Any) -> str:
    """Go the whole way from the list: tick, choose, confirm; return the page at its end."""
    asked = choose(client, verb, chosen)
    form = ({"countdown": "60"} if verb == "snooze" else {}) | form
    return text_of(client.post(target_of(asked), filled_in(asked, **form), follow=True))


def do_url(task: Task, verb: str) -> str:
    return f"{LIST}{task.pk}/do/{verb}/"


def logged() -> list[tuple[str, str]]:
    return [(str(e.object_id), e.change_message) for e in LogEntry.objects.order_by("pk")]
