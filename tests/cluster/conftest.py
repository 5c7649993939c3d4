"""Clusters that a class of tests shares."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.cluster import is_idle, running_cluster, wait_for

# Short, so that what a dead worker held is soon due again.
LEASE = 5


@pytest.fixture(scope="class")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of a class's cluster: its log, its mail, modules it can import."""
    return tmp_path_factory.mktemp("cluster")


@pytest.fixture(scope="class")
def cluster(django_db_setup: None, home: Path) -> Iterator[None]:
    path = os.pathsep.join(filter(None, (str(home), os.environ.get("PYTHONPATH"))))
    with running_cluster(
        home / "log",
        RETRYTASKS_LEASE=str(LEASE),
        MAIL_DIRECTORY=str(home / "mail"),
        PYTHONPATH=path,
    ):
        yield


@pytest.fixture(scope="class")
def hasty_cluster(django_db_setup: None, home: Path) -> Iterator[None]:
    """A cluster that gives its packages 3 s and delivers them again after 4 s."""
    with running_cluster(
        home / "log", RETRYTASKS_LEASE=str(LEASE), Q_CLUSTER_TIMEOUT="3", Q_CLUSTER_RETRY="4"
    ):
        yield


@pytest.fixture(scope="class")
def three_clusters(django_db_setup: None, home: Path) -> Iterator[None]:
    with ExitStack() as stack:
        for number in range(3):
            stack.enter_context(running_cluster(home / f"log{number}"))
        yield


@pytest.fixture
def rest(transactional_db: None) -> Iterator[None]:
    """Let the cluster come to rest before the tables are emptied under it."""
    yield
    wait_for(is_idle)


@pytest.fixture
def tell(capfd: pytest.CaptureFixture[str], pytestconfig: pytest.Config) -> Callable[[str], None]:
    """Return a function that shows a measurement, though the test passes."""
    reporter: Any = pytestconfig.pluginmanager.get_plugin("terminalreporter")

    def write(line: str) -> None:
        with capfd.disabled():
            reporter.write_line(line)

    return write
