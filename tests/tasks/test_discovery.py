"""Which tasks a process knows: those of the apps' own modules, and never what a row names."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from django.core.checks import run_checks
from django.test import Client
from django.utils import timezone

from django_retrytasks.alerts import Alert
from django_retrytasks.alerts.notices import NoticeKind
from django_retrytasks.checks.common import TAG
from django_retrytasks.models import Encoded, FailureGroup, Status, Task
from django_retrytasks.operators import operations
from django_retrytasks.tasks import discovery
from django_retrytasks.tasks.redaction import shown_arguments
from tests.support import tasks
from tests.support.driver import Driver

ADMIN = "/admin/retrytasks"
STARS = "********************"
TASKS = """
    from django_retrytasks import retry_task

    @retry_task(sensitive=("iban",), max_retries=None)
    def refund(order, iban, *, note=""):
        raise LookupError("no such account")
"""

Write = Callable[[str, str], None]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Write modules that can be imported; they are gone afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)

    def write(path: str, source: str) -> None:
        file = tmp_path.joinpath(*path.split(".")).with_suffix(".py")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.with_name("__init__.py").touch()
        file.write_text(dedent(source))

    yield write
    for name in set(sys.modules) - before:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def install(write: Write, settings: Any) -> Write:
    """Write the tasks of an app, and install it."""

    def install(app: str, source: str) -> None:
        write(f"{app}.tasks", source)
        settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, app]

    return install


def row(name: str, *args: Any, **kwargs: Any) -> Task:
    return Task(name=name, args=list(args), kwargs=kwargs)


def put(name: str, args: list[Any], **kwargs: Any) -> None:
    """Store a Task of this function, whether it is there or not."""
    stored = tasks.echoes.enqueue(1)
    Task.objects.filter(pk=stored.id).update(
        name=name, args=Encoded(json.dumps(args)), kwargs=Encoded(json.dumps(kwargs))
    )


def text_of(client: Client, url: str) -> str:
    response = client.get(url)
    assert response.status_code == 200, url
    return response.content.decode()


def said(check_id: str) -> list[str]:
    return [str(message.msg) for message in run_checks(tags=[TAG]) if message.id == check_id]


class TestWhatARowNames:
    @pytest.mark.django_db
    def test_is_imported_by_no_page(
        self, driver: Driver, admin_client: Client, write: Write
    ) -> None:
        write("planted.evil", "raise SystemExit('it ran')")
        result = tasks.fails_once_for_all.enqueue()
        driver.drain()
        task = driver.row(result)
        Task.objects.filter(pk=task.pk).update(name="planted.evil.runs")
        FailureGroup.objects.update(name="planted.evil.runs")
        group, running = FailureGroup.objects.get(), operations.start("REDRIVE", {}, by="ada")
        one = f"{ADMIN}/task/{task.pk}"

        for url in (
            f"{ADMIN}/task/",
            f"{ADMIN}/task/?name=planted.evil.runs",
            f"{ADMIN}/task/?q=planted.evil",
            f"{one}/change/",
            f"{one}/do/redrive/",
            f"{ADMIN}/task/all/redrive/?name=planted.evil.runs",
            f"{ADMIN}/failuregroup/",
            f"{ADMIN}/failuregroup/{group.pk}/change/",
            f"{ADMIN}/operation/",
            f"{ADMIN}/operation/{running.pk}/change/",
            f"{ADMIN}/pause/add/",
        ):
            text_of(admin_client, url)
        admin_client.post(f"{ADMIN}/pause/add/", {"name": "planted.evil.runs"})
        admin_client.post(f"{one}/do/redrive/", {"reason": ""})

        assert "planted" not in sys.modules
        assert driver.row(task).status == Status.PENDING

    def test_is_not_looked_up_by_what_a_module_does_on_access(self, write: Write) -> None:
        write("lazy.module", "def __getattr__(name):\n    raise SystemExit(name)")
        __import__("lazy.module")

        assert discovery.find("lazy.module.anything") is None
        assert discovery.find("django_retrytasks.RetryTask") is None

    @pytest.mark.parametrize(
        "name", ["", ".", "nothing", "a..b", "os.path.join", "tests.support.tasks"]
    )
    def test_is_no_task_unless_one_stands_there(self, name: str) -> None:
        assert discovery.find(name) is None

    def test_is_hidden_where_it_is_not_known_though_it_could_be_imported(
        self, write: Write
    ) -> None:
        write("shop.jobs", TASKS)
        task = row("shop.jobs.refund", 7, iban="DE02", note="n")

        hidden = shown_arguments(task)
        __import__("shop.jobs")
        shown = shown_arguments(task)

        assert hidden == {"args[0]": STARS, "iban": STARS, "note": STARS}
        assert shown == {"order": 7, "iban": STARS, "note": "n"}

    def test_is_imported_where_a_worker_sends_an_alert(self, write: Write) -> None:
        write("shop.jobs", TASKS)
        now = timezone.now()
        alert = Alert(
            id="1", kind=NoticeKind.FAILING, group=FailureGroup(), attempt=None,
            task=row("shop.jobs.refund", 7, iban="DE02"),
            count=1, new_count=1, since=now, told_at=None, at=now,
        )  # fmt: skip

        assert alert.arguments == [("order", "7"), ("iban", f'"{STARS}"')]
        assert "shop.jobs" in sys.modules


class TestTasksOfAnApp:
    @pytest.mark.django_db
    def test_are_known_to_the_admin_though_no_url_imports_them(
        self, admin_client: Client, install: Write
    ) -> None:
        install("shop", TASKS)
        put("shop.tasks.refund", [4711, "DE02"], note="now")
        assert "shop.tasks" not in sys.modules

        text = text_of(admin_client, f"{ADMIN}/task/")

        assert "order=4711" in text
        assert "DE02" not in text
        assert "?name=shop.tasks.refund" in text

    def test_are_checked_though_no_url_imports_them(self, install: Write) -> None:
        install("shop", TASKS)
        assert "shop.tasks" not in sys.modules

        [warning] = said("retrytasks.W011")

        assert warning.startswith("shop.tasks.refund retries for ever: ")

    def test_are_imported_once(self, install: Write) -> None:
        install("counted", "import builtins; builtins.times = getattr(builtins, 'times', 0) + 1")

        for _ in range(3):
            discovery.discover()
            discovery.own_names()

        assert sys.modules["builtins"].times == 1
        del sys.modules["builtins"].times

    @pytest.mark.parametrize(
        ("source", "problem"),
        [
            ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
            ("def (", "SyntaxError: "),
            ("raise SystemExit(3)", "SystemExit: 3"),
            ("from django_retrytasks import retry_task\nretry_task(7)", "InvalidTask"),
        ],
    )
    @pytest.mark.django_db
    def test_that_do_not_import_are_said_by_a_check_and_break_no_page(
        self,
        admin_client: Client,
        install: Write,
        source: str,
        problem: str,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        install("broken", source)
        install("shop", TASKS)
        put("broken.tasks.any", ["hunter2"], note="hunter2")
        put("shop.tasks.refund", [4711, "DE02"])

        pages = [text_of(admin_client, f"{ADMIN}/task/") for _ in range(2)]
        [warning] = said("retrytasks.W015")

        assert "hunter2" not in pages[0]
        assert "order=4711" in pages[0]
        assert warning.startswith(
            "broken.tasks does not import, so its tasks are neither checked nor known to the "
            f"admin: {problem}"
        )
        lines = [line.getMessage() for line in caplog.records if "broken" in line.getMessage()]
        assert lines == ["broken.tasks does not import: its tasks are not known"]

    def test_of_an_app_without_any_are_no_problem(self) -> None:
        assert discovery.discover() == {}
        assert said("retrytasks.W015") == []
