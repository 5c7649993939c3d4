"""pytest's plugin: its fixtures import what needs Django on first use only.

pytest imports this module in every run of a site that has the package installed, perhaps without
Django's settings.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .clusters import RunningCluster
    from .kit import RetryTasksKit


@pytest.fixture
def retrytasks(db: None) -> RetryTasksKit:
    """Return the kit: ``drain``, ``step``, ``advance``, ``failing`` and the assertions."""
    from .kit import RetryTasksKit

    return RetryTasksKit()


@pytest.fixture
def retrytasks_cluster(transactional_db: None) -> Iterator[RunningCluster]:
    """Run a real cluster on the test's database; see :func:`running_cluster`."""
    from .clusters import running_cluster

    with running_cluster() as cluster:
        yield cluster
