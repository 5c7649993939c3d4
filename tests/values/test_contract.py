"""The contract is found wherever it is: in Django, or in either spelling of its backport."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BACKPORT = {
    "__init__": (
        "DEFAULT_TASK_BACKEND_ALIAS = DEFAULT_TASK_QUEUE_NAME = 'default'\n"
        "class TaskContext: ...\n"
        "class TaskResult: ...\n"
        "class TaskResultStatus: ...\n"
        "task_backends = {}\n"
    ),
    "backends/__init__": "",
    "backends/base": "class BaseTaskBackend: ...\n",
    "base": "TASK_REFRESH_ATTRS = set()\nclass Task: ...\nclass TaskError: ...\n",
    "exceptions": "class TaskResultDoesNotExist(Exception): ...\nTaskResultMismatch = Exception\n",
    "signals": "task_enqueued = task_finished = task_started = None\n"
    "log_task_enqueued = log_task_finished = log_task_started = logger = None\n",
}
# As on Django 5.2, which has no django.tasks.
READ = (
    "import sys\n"
    "sys.modules['django.tasks'] = None\n"
    "from django_retrytasks.values.contract import InvalidTask\n"
    "print(InvalidTask.__module__, InvalidTask.__name__)\n"
)


@pytest.mark.parametrize("name", ["InvalidTaskError", "InvalidTask"])
def test_backport_names_its_error_as_it_did_or_as_django_does(name: str, tmp_path: Path) -> None:
    write_backport(tmp_path, f"class {name}(Exception): ...\n")

    done = python(READ, path=tmp_path)

    assert (done.stdout.split(), done.stderr) == (["django_tasks.exceptions", name], "")


def test_neither_django_nor_its_backport_is_an_error_that_names_the_package() -> None:
    done = python("import sys; sys.modules['django_tasks'] = None\n" + READ, path=ROOT)

    assert "pip install 'django-retrytasks[django52]'" in done.stderr.splitlines()[-1]


def write_backport(folder: Path, error: str) -> None:
    for module, text in BACKPORT.items():
        file = folder / "django_tasks" / f"{module}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + (error if module == "exceptions" else ""))


def python(code: str, *, path: Path) -> subprocess.CompletedProcess[str]:
    found = os.pathsep.join(map(str, (path, ROOT)))
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": found},
        capture_output=True,
        text=True,
        timeout=60,
    )
