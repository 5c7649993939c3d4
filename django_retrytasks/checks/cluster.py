"""Checks of django-q2's cluster: its broker, its processes, its schedule."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.checks import Error, Tags, Warning, register
from django.db import DEFAULT_DB_ALIAS, connections
from django.utils.module_loading import import_string

from django_retrytasks.broker import sweep_schedule
from django_retrytasks.values.checked import nearest

from . import common
from .common import Cluster, Found, alternatives, clusters, is_sync, q_cluster, registered

ORM_BROKER = "django_q.brokers.orm.ORM"
# With these values the guard's float32 timer reaches exactly 0 (django-q2 1.11 cluster.py).
GUARD_CYCLES = (0.25, 0.5, 1)


@register(common.TAG)
def check_apps(**kwargs: Any) -> Found:
    """Check that django-q2 is installed, before or after this app."""
    if not apps.is_installed("django_q"):
        yield Error(
            '"django_q" is not in INSTALLED_APPS: no cluster runs Tasks.',
            hint='Add "django_q" to INSTALLED_APPS and run manage.py migrate.',
            id="retrytasks.E001",
        )


@registered
def check_broker() -> Found:
    """Check that every cluster reads its wake-ups from the database they are written to."""
    yield from _no_dicts()
    alias = q_cluster().get("orm")
    for cluster in clusters("orm", "broker_class", "iron_mq", "sqs"):
        if key := _other_broker(cluster.config):
            yield Error(
                f'{cluster.setting}["{key}"] replaces the ORM broker of django-q2, but '
                "only that broker reads wake-ups.",
                hint=f'Remove "{key}" from {cluster.setting} and set "orm" instead.',
                id="retrytasks.E003",
            )
        elif not cluster.config.get("orm"):
            yield Error(
                f'{cluster.setting}["orm"] is not set: no cluster looks for Tasks.',
                hint=f'Set {cluster.setting}["orm"] to the alias of the database that keeps your '
                'Tasks, such as "default".',
                id="retrytasks.E002",
            )
        elif alias and cluster.config["orm"] != alias:
            yield Error(
                f'{cluster.setting}["orm"] is "{cluster.config["orm"]}", but Q_CLUSTER["orm"] is '
                f'"{alias}": this cluster looks for Tasks in the wrong database.',
                hint=f'Remove "orm" from {cluster.setting}.',
                id="retrytasks.E005",
            )


def _no_dicts() -> Found:
    given = getattr(settings, "Q_CLUSTER", None)
    others = q_cluster().get("ALT_CLUSTERS")
    for setting, value in (("Q_CLUSTER", given), ('Q_CLUSTER["ALT_CLUSTERS"]', others)):
        if value is not None and not isinstance(value, Mapping):
            # Its value may hold a password.
            yield Error(
                f"{setting} must be a dict, not a {type(value).__name__}: it is not read.",
                hint=f"Make {setting} a dict.",
                id="retrytasks.E002",
            )


@registered
def check_listening() -> Found:
    """Check that clusters listen only where the database sends notifications."""
    from django_retrytasks.broker.listening import is_listening_broker

    alias = q_cluster().get("orm") or DEFAULT_DB_ALIAS
    if alias not in connections or connections[alias].vendor == "postgresql":
        return
    for cluster in clusters("broker_class"):
        if (path := cluster.config.get("broker_class")) and is_listening_broker(path):
            yield Error(
                f'{cluster.setting}["broker_class"] is "{path}", which needs PostgreSQL, but the '
                f'database "{alias}" is {connections[alias].display_name}: the cluster only polls.',
                hint=f'Remove "broker_class" from {cluster.setting}: django-q2\'s own broker polls '
                "too.",
                id="retrytasks.E016",
            )


@registered
def check_cluster() -> Found:
    """Check the settings of django-q2's processes."""
    for cluster in clusters("guard_cycle"):
        yield from _guard(cluster)
    for cluster in clusters("timeout", "retry"):
        yield from _redelivery(cluster)
    for cluster in clusters("save_limit"):
        yield from _saving(cluster)
    if not is_sync():
        yield from _sweeper()
        yield from _cluster_of_this_process()


@register(Tags.database)
def check_sweep(databases: Sequence[str] | None = None, **kwargs: Any) -> Found:
    """Check that the sweep is scheduled, if ``--database`` names its database."""
    alias = q_cluster().get("orm") or DEFAULT_DB_ALIAS
    if alias not in (databases or ()) or not common.is_migrated(alias):
        return
    if not sweep_schedule.has_sweep():
        yield Warning(
            f'The schedule "{sweep_schedule.SWEEP_NAME}" is missing or switched off: lost wake-ups '
            "are not replaced, and old Tasks are not pruned.",
            hint="Run manage.py migrate to create it. If it exists, set its repeats to -1 in the "
            "admin.",
            id="retrytasks.W012",
        )


def _other_broker(config: Mapping[str, Any]) -> str | None:
    """Return the key that selects another broker, in django-q2's order of precedence."""
    if path := config.get("broker_class"):
        return None if _is_orm_broker(path) else "broker_class"
    if config.get("iron_mq"):
        return "iron_mq"
    return "sqs" if isinstance(config.get("sqs"), dict) else None


def _is_orm_broker(path: str) -> bool:
    try:
        broker = import_string(path)
    except ImportError:
        return False
    return isinstance(broker, type) and issubclass(broker, import_string(ORM_BROKER))


def _guard(cluster: Cluster) -> Found:
    cycle = cluster.config.get("guard_cycle", 0.5)
    if cycle not in GUARD_CYCLES:
        yield Warning(
            f'{cluster.setting}["guard_cycle"] is {cycle}: with this value django-q2\'s guard '
            "never ends a hanging worker.",
            hint=f'Set {cluster.setting}["guard_cycle"] to 0.25, 0.5 (the default) or 1.',
            id="retrytasks.W004",
        )


def _redelivery(cluster: Cluster) -> Found:
    timeout, retry = cluster.config.get("timeout"), cluster.config.get("retry", 60)
    if not timeout:
        yield Warning(
            f'{cluster.setting}["timeout"] is not set: a hanging task of django-q2\'s own '
            "blocks its worker for ever.",
            hint=f'Set {cluster.setting}["timeout"] to the seconds such a task may take, and '
            '"retry" to more. Tasks of @retry_task have timeouts of their own.',
            id="retrytasks.W005",
        )
    elif timeout >= retry:
        yield Warning(
            f'{cluster.setting}["timeout"] is {timeout} and "retry" {retry}: after {retry} s '
            "django-q2 delivers a running task of its own again, and it runs twice.",
            hint=f'Set {cluster.setting}["retry"] above "timeout" plus the time that a delivery '
            f"waits in the cluster: {2 * timeout} or more.",
            id="retrytasks.W005",
        )


def _saving(cluster: Cluster) -> Found:
    limit = cluster.config.get("save_limit", 250)
    if limit > 0:
        yield Warning(
            f'{cluster.setting}["save_limit"] is {limit}: for every result that it saves, '
            "django-q2 locks and reads all saved results. It is about three times slower.",
            hint=f'Set {cluster.setting}["save_limit"] to 0 (save all) or, if your code never '
            "calls result(id), to -1 (save none). Attempts are kept either way.",
            id="retrytasks.W006",
        )


def _sweeper() -> Found:
    config = q_cluster()
    if not config.get("scheduler", True):
        yield Warning(
            'Q_CLUSTER["scheduler"] is off: no schedule runs. The sweep runs only when a worker '
            "finds it overdue.",
            hint='Remove "scheduler" from Q_CLUSTER, or set it to True.',
            id="retrytasks.W007",
        )
    name = config.get("name", "default")
    cluster_name = config.get("cluster_name", name)
    if cluster_name != name:
        yield Warning(
            f'Q_CLUSTER["cluster_name"] is "{cluster_name}" and "name" "{name}": no cluster runs '
            "schedules without a cluster of their own. So the sweep runs only when it is overdue.",
            hint='Remove "cluster_name" from Q_CLUSTER: "name" is the cluster\'s name too.',
            id="retrytasks.W008",
        )


def _cluster_of_this_process() -> Found:
    started = os.environ.get("Q_CLUSTER_NAME")
    name = q_cluster().get("name", "default")
    known = [name, q_cluster().get("cluster_name", name), *alternatives()]
    if started and started not in known:
        yield Warning(
            f'The environment variable Q_CLUSTER_NAME is "{started}", which is not in '
            'Q_CLUSTER["ALT_CLUSTERS"]: no wake-up is written for this cluster.',
            hint=nearest(started, dict.fromkeys(known)),
            id="retrytasks.W009",
        )
