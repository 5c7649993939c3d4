"""The example project: its own tests pass, and its demo tells the story as its reader runs it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.servers import run_once

pytestmark = [run_once, pytest.mark.timeout(600)]

EXAMPLE = Path(__file__).parents[2] / "example_project"
DEMO = EXAMPLE / "demo.py"
# Every process of the demo has this folder in its command line.
HOME = EXAMPLE / ".demo" / f"python{sys.version_info.major}.{sys.version_info.minor}"
COMMAND = [sys.executable, str(DEMO), "--countdown", "1"]
STORM = [sys.executable, str(DEMO), "--storm"]


def test_tests_of_the_shop_pass() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]

    tests = run(command, cwd=EXAMPLE, PYTHONPATH=str(EXAMPLE.parent))

    assert tests.returncode == 0, tests.stdout + tests.stderr


@pytest.mark.cluster
def test_demo_tells_the_story_and_prints_it_from_the_rows() -> None:
    demo = run(COMMAND)

    lines = [line.strip().split(maxsplit=3) for line in demo.stdout.splitlines()]
    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert ["1", "ConnectionRefusedError", "0", "retry after 1 s"] in lines
    assert ["2", "TimeoutError", "1", "retry after 1 s"] in lines
    assert ["3", "SMTPDataError", "2", "retry after 1 s"] in lines
    assert ["4", "SMTPDataError", "3", "max_retries reached: FAILED, log and alert"] in lines
    assert processes() == []


@pytest.mark.cluster
@pytest.mark.timed
def test_storm_of_500_failures_is_told_in_a_handful_of_letters() -> None:
    demo = run(STORM)

    cells = [line.split() for line in demo.stdout.splitlines() if "[shop]" in line]
    told = [int(row[-2]) for row in cells if row[-1].isdigit()]
    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert {1, 10, 100, 500} <= set(told)
    assert told == sorted(told)
    assert len(told) < 20
    assert "500 Tasks FAILED, 1 FailureGroup (failure_count 500)" in demo.stdout
    assert processes() == []


@pytest.mark.cluster
@pytest.mark.parametrize(("signum", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_to_the_demo_leaves_no_process_behind(
    begun: subprocess.Popen[str], signum: signal.Signals, exit_code: int
) -> None:
    assert any("qcluster" in line for line in processes())

    begun.send_signal(signum)

    assert begun.wait(30) == exit_code
    assert processes() == []


@pytest.mark.cluster
def test_demo_that_is_killed_takes_its_processes_with_it(begun: subprocess.Popen[str]) -> None:
    assert any("qcluster" in line for line in processes())

    begun.kill()

    deadline = time.monotonic() + 30
    while processes() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert processes() == []


@pytest.fixture
def begun() -> Iterator[subprocess.Popen[str]]:
    """A demo whose first attempt has been made."""
    with subprocess.Popen(
        [*COMMAND, "--keep"], env=environment(), stdout=subprocess.PIPE, text=True
    ) as demo:
        assert demo.stdout is not None
        assert any("attempt 1" in line for line in demo.stdout)
        yield demo
        demo.kill()


def run(
    command: list[str], cwd: Path | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    environ = environment() | variables
    return subprocess.run(command, cwd=cwd, env=environ, capture_output=True, text=True)


def environment() -> dict[str, str]:
    """Return the environment of a terminal: nothing of the test run's own settings."""
    foreign = ("DATABASE_URL", "DJANGO_SETTINGS_MODULE", "PYTHONPATH")
    return {name: value for name, value in os.environ.items() if name not in foreign}


def processes() -> list[str]:
    """Return the command lines of the demo's processes."""
    table = subprocess.run(
        ["ps", "-A", "-ww", "-o", "command="], capture_output=True, text=True, check=True
    )
    return [line for line in table.stdout.splitlines() if f"{HOME}{os.sep}" in line]
