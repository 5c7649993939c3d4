"""``retrytasks top``: what the clusters do now."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError

from django_retrytasks import management
from django_retrytasks.database import DatabaseNow
from django_retrytasks.management.terminal import printable
from django_retrytasks.models import FailureGroup, Status, Task
from tests.checks.sites import ROOT, bare_site
from tests.management.running import run
from tests.support import tasks
from tests.support.driver import Driver

APPS = ["django.contrib.contenttypes", "django_q", "django_retrytasks"]
EVIL = "[red]\x1b[2J\x07[/red]"


@pytest.mark.django_db
class TestScreen:
    def test_shows_queues_running_tasks_and_failing_groups(self, driver: Driver) -> None:
        tasks.fails_once_for_all.enqueue()
        tasks.succeeds.using(expires=datetime(2026, 1, 1, tzinfo=UTC)).enqueue()
        driver.drain()
        driver.task_in(Status.RUNNING)
        tasks.succeeds.enqueue()
        claim = driver.claim(limit=1)
        tasks.echoes.using(queue_name="emails").enqueue(1)
        Task.objects.filter(pk=claim.tasks[0].pk).update(
            last_attempted_at=DatabaseNow() - timedelta(minutes=9)
        )

        screen = run("top")

        [name] = [task.name for task in claim.tasks]
        words = [line.split() for line in screen.splitlines()]
        assert "running 2" in screen
        assert "ended in a minute 2, of them failed 1, expired 1" in screen
        assert any(line[:2] == ["emails", "1"] for line in words)
        assert any(
            line[0] == name and "min" in line and "host:1:one" in line for line in words if line
        )
        assert "ValueError in tests.support.tasks.fails_once_for_all" in screen

    def test_is_drawn_so_many_times(self) -> None:
        assert run("top", "--times", "2", "--every", "0.2").count("last sweep") == 2

    def test_of_an_empty_site(self) -> None:
        assert run("top").startswith("due 0, the oldest for 0 s   running 0   ended in a minute 0")

    def test_shows_names_as_text(self, driver: Driver) -> None:
        tasks.fails_once_for_all.enqueue()
        driver.drain()
        FailureGroup.objects.update(name=EVIL)
        tasks.succeeds.using(queue_name=EVIL).enqueue()
        claimed = driver.claim().tasks
        Task.objects.filter(pk=claimed[0].pk).update(name=EVIL, worker=EVIL)

        screen = run("top")

        assert screen.count(r"[red]\x1b[2J\x07[/red]") == 4
        assert all(line == printable(line) for line in screen.splitlines())

    def test_takes_few_statements(self, django_assert_max_num_queries: Any) -> None:
        tasks.echoes.enqueue_many([(number,) for number in range(20)])

        with django_assert_max_num_queries(12):
            run("top")

    @pytest.mark.parametrize("words", [("--every", "0"), ("--times", "0"), ("--every", "x")])
    def test_wrong_options_are_refused(self, words: tuple[str, ...]) -> None:
        with pytest.raises(CommandError, match=r"is no (duration|count): give"):
            run("top", *words)


def test_says_what_to_install_without_rich(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "rich"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "rich", None)
    monkeypatch.delitem(sys.modules, "django_retrytasks.management.screen", raising=False)
    monkeypatch.delattr(management, "screen", raising=False)

    with pytest.raises(CommandError, match=r"top needs rich: pip install 'django-retrytasks\[cli"):
        run("top")


def test_draws_on_a_terminal(tmp_path: Path) -> None:
    bare_site(tmp_path, apps=APPS)("migrate")
    terminal, end = pty.openpty()
    ours = {"DJANGO_SETTINGS_MODULE": "bare", "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    words = ["retrytasks", "top", "--times", "2", "--every", "0.2"]
    with subprocess.Popen(
        [sys.executable, "-m", "django", *words],
        cwd=tmp_path,
        env={**os.environ, **ours, "TERM": "xterm"},
        stdout=end,
        stderr=subprocess.PIPE,
    ) as process:
        os.close(end)
        drawn = b"".join(read_all(terminal)).decode()
        assert process.stderr is not None
        assert (process.stderr.read(), process.wait()) == (b"", 0)

    # It takes the whole screen, and gives it back.
    assert drawn.startswith("\x1b[?1049h")
    assert "\x1b[?1049l" in drawn
    assert drawn.count("last sweep") == 2


def read_all(terminal: int) -> Iterator[bytes]:
    """Yield what is written to a terminal until its other end is closed."""
    with suppress(OSError):
        while part := os.read(terminal, 10_000):
            yield part
