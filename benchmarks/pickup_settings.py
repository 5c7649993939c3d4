"""The benchmarks' site with the broker that ``PICKUP_BROKER`` names; if it is empty, without us."""

import os

from benchmarks.settings import *  # noqa: F403
from benchmarks.settings import INSTALLED_APPS, Q_CLUSTER

TASKS = {"default": {"BACKEND": "django_retrytasks.backend.RetryTasksBackend", "QUEUES": []}}
Q_CLUSTER = {**Q_CLUSTER, "save_limit": -1}

if broker := os.environ.get("PICKUP_BROKER", ""):
    Q_CLUSTER["broker_class"] = broker
else:
    INSTALLED_APPS = [app for app in INSTALLED_APPS if app != "django_retrytasks"]
    TASKS = {}
