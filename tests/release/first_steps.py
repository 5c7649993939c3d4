"""Follow the README in an empty folder, with the wheel that is installed, until a Task has failed.

`tox run -m site` runs it in environments that hold the wheel and Django alone.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.docs.fences import blocks

README = Path(__file__).parents[2] / "README.md"
# Seconds from the start of the cluster. The README says "within 20 seconds", of an idle machine.
DEADLINE = 90
TOLD = [*["Task will be retried"] * 3, "Task failed"]
LOOK_AT_THE_ADMIN = """
from django.contrib.auth.models import User
from django.test import Client
from django_retrytasks.models import Task

client = Client(headers={"host": "127.0.0.1"})
client.force_login(User.objects.create_superuser("ann"))
task = Task.objects.get(internal=False)
assert client.get("/admin/retrytasks/task/").status_code == 200
page = client.get(f"/admin/retrytasks/task/{task.pk}/change/").content.decode()
assert page.count("Connection refused") >= 4, page
print("status is", task.status, "after", task.attempts.count(), "attempts")
"""


def main() -> None:
    """Raise an error where a step does not do what the README says."""
    began = time.monotonic()
    with TemporaryDirectory() as folder:
        site = Path(folder)
        check_that_it_is_the_wheel(site)
        enqueue = begin_project(site)
        with cluster_of(site) as log:
            manage(site, "shell", "-c", enqueue)
            wait_until_told(log)
        found = manage(site, "shell", "-c", LOOK_AT_THE_ADMIN)
    assert "status is FAILED after 4 attempts" in found, found
    print(f"The README's example failed after three retries, {time.monotonic() - began:.0f} s.")


def check_that_it_is_the_wheel(site: Path) -> None:
    """Refuse a checkout: what is tested is what was built."""
    code = "import django, django_retrytasks as ours; print(django.__version__, ours.__file__)"
    version, path = finished(site, "-c", code).split(maxsplit=1)
    assert Path(path).is_relative_to(sys.prefix), f"{path} is not installed in {sys.prefix}"
    print(f"Django {version}, Python {sys.version.split()[0]}, {path.strip()}")


def begin_project(site: Path) -> str:
    """Take the README's steps up to `migrate`; return the code that enqueues."""
    finished(site, "-m", "django", "startproject", "shop", ".")
    manage(site, "startapp", "orders")
    found = [block for block in blocks(README) if block.language == "python"]
    settings = [block.code for block in found if block.path == "settings"]
    [example] = [block.code for block in found if block.path == "orders.tasks"]
    [enqueue] = [block.code for block in found if not block.path]
    with (site / "shop" / "settings.py").open("a") as file:
        file.write("\n".join([*settings, 'INSTALLED_APPS += ["orders"]']))
    (site / "orders" / "tasks.py").write_text(example)
    manage(site, "check", "--fail-level", "WARNING")
    manage(site, "migrate", "--verbosity", "0")
    return enqueue


@contextmanager
def cluster_of(site: Path) -> Iterator[Path]:
    """Run `qcluster` while the body runs; yield its log."""
    log = site / "qcluster.log"
    with log.open("w") as output:
        cluster = subprocess.Popen(
            [sys.executable, "manage.py", "qcluster"],
            cwd=site,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield log
    finally:
        cluster.terminate()
        try:
            cluster.wait(timeout=20)
        finally:
            end_what_is_left(cluster.pid)


def end_what_is_left(group: int) -> None:
    """End what a cluster has left behind in its process group."""
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return


def wait_until_told(log: Path) -> None:
    """Wait for the README's four lines, each with its exception."""
    until = time.monotonic() + DEADLINE
    while (told := lines_about_failures(log)) != TOLD:
        assert time.monotonic() < until, f"told {told}\n{log.read_text()}"
        time.sleep(0.1)


def lines_about_failures(log: Path) -> Sequence[str]:
    lines = (line for line in log.read_text().splitlines() if line.startswith("Task "))
    refused = (line for line in lines if "exception=builtins.ConnectionRefusedError" in line)
    return [line.partition(": ")[0] for line in refused]


def manage(site: Path, *arguments: str) -> str:
    return finished(site, "manage.py", *arguments)


def finished(site: Path, *arguments: str) -> str:
    """Run Python in the site; return what it prints."""
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=site, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


if __name__ == "__main__":
    main()
