"""The environment that makes django-q2 run one of the site's clusters."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from django_retrytasks.broker import clusters

SLOW = {"ALT_CLUSTERS": {"slow": {"workers": 1}}}
ASK = """
import django
django.setup()
from django_retrytasks.broker.clusters import own_key
print(own_key())
"""


@pytest.mark.parametrize(
    ("q_cluster", "key"),
    [
        ({}, "default"),
        ({"name": "shop"}, "shop"),
        ({"name": "shop", **SLOW}, "shop"),
        ({"name": "shop", **SLOW}, "slow"),
    ],
)
def test_environment_makes_qcluster_run_the_cluster(
    q_cluster: dict[str, Any],
    key: str,
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    q_cluster = {**q_cluster, "orm": "default", "timeout": 60, "retry": 120}
    settings.Q_CLUSTER = q_cluster
    monkeypatch.setenv("Q_CLUSTER_NAME", "of another process")
    site = tmp_path / "nameless.py"
    site.write_text(f"from tests.settings import *\nQ_CLUSTER = {q_cluster!r}\n")
    environment = {
        **clusters.environment_of(key),
        "DJANGO_SETTINGS_MODULE": site.stem,
        "PYTHONPATH": f"{tmp_path}:{Path.cwd()}",
    }

    asked = subprocess.run(
        [sys.executable, "-c", ASK], env=environment, capture_output=True, text=True, check=False
    )

    assert (asked.stdout.strip(), asked.stderr) == (key, "")
