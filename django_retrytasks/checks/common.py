"""Shared by the checks: the site's Q_CLUSTER, and the registration of a check."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from django.apps import apps
from django.core.checks import CheckMessage, register
from django.db import connections

from django_retrytasks.backend import RetryTasksBackend

# Not from django-q2's Conf, which is frozen at its first import.
from django_retrytasks.conf import alternatives as alternatives
from django_retrytasks.conf import q_cluster as q_cluster
from django_retrytasks.policy import RetryPolicy
from django_retrytasks.tasks import site_options
from django_retrytasks.values.contract import task_backends

TAG = "retrytasks"
# Models without whose tables no check reads rows.
MODELS = ("retrytasks.Task", "retrytasks.PeriodicTask", "django_q.Schedule")

Found = Iterator[CheckMessage]


def registered(check: Callable[[], Found]) -> Callable[[], Found]:
    """Register a check that runs only with django-q2 installed."""

    def run(**kwargs: Any) -> Iterable[CheckMessage]:
        return check() if apps.is_installed("django_q") else ()

    register(run, TAG)
    return check


class Cluster(NamedTuple):
    """A cluster's settings, and their name for messages."""

    setting: str
    config: Mapping[str, Any]


def is_sync() -> bool:
    return bool(q_cluster().get("sync"))


def clusters(*keys: str) -> Iterator[Cluster]:
    """Yield the default cluster, and each of ALT_CLUSTERS that sets one of these keys."""
    if is_sync():
        return
    yield Cluster("Q_CLUSTER", q_cluster())
    for name, own in alternatives().items():
        if any(key in own for key in keys):
            setting = f'Q_CLUSTER["ALT_CLUSTERS"]["{name}"]'
            yield Cluster(setting, {**q_cluster(), **own})


def backends() -> list[RetryTasksBackend]:
    return [backend for backend in task_backends.all() if isinstance(backend, RetryTasksBackend)]


def backend_policy(backend: RetryTasksBackend) -> RetryPolicy:
    return RetryPolicy(**{**site_options(), **backend.policy_options})


def is_migrated(alias: str) -> bool:
    """Whether the tables exist: the first migrate runs this check before it creates them."""
    if alias not in connections or not apps.is_installed("django_q"):
        return False
    needed = {apps.get_model(m)._meta.db_table for m in MODELS}
    return needed <= set(connections[alias].introspection.table_names())


def problem_of(attempt: Callable[[], object]) -> str | None:
    """Return what is wrong with a value, None if it can be used."""
    try:
        attempt()
    except Exception as error:  # what a path leads to may raise anything when imported
        return str(error)
    return None
