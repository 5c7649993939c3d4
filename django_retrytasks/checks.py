"""System checks: what in a site's settings loses Tasks, delays them or costs speed.

Every id has its section in docs/reference/checks.md.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import DEFAULT_DB_ALIAS, connections, router
from django.urls import get_resolver
from django.utils.module_loading import import_string

from . import checks_databases, conf, letters
from .exceptions import nearest
from .policy import RetryPolicy
from .values import POLICY_HINT, VALUES, refuse_misfit

if TYPE_CHECKING:
    from .backend import RetryTasksBackend
    from .tasks import RetryTask

# What imports django-q2's models is imported where it is used: without django-q2 only E001 runs.

TAG = "retrytasks"
ORM_BROKER = "django_q.brokers.orm.ORM"
# The values with which the guard's float32 timer comes to exactly 0 (django-q2 1.11 cluster.py).
GUARD_CYCLES = (0.25, 0.5, 1)
# How alike two names of queues are that look like one name and a slip of it; 1 is the same.
SLIP = 0.85

Found = Iterator[CheckMessage]


@register(TAG)
def check_apps(**kwargs: Any) -> Found:
    """Check that django-q2 is installed. It may stand before this app or after it."""
    if not apps.is_installed("django_q"):
        yield Error(
            '"django_q" is not in INSTALLED_APPS: there is no cluster to run Tasks.',
            hint='Add "django_q" to INSTALLED_APPS and run manage.py migrate.',
            id="retrytasks.E001",
        )


def _registered(check: Callable[[], Found]) -> Callable[[], Found]:
    """Register a check for sites that have django-q2."""

    def run(**kwargs: Any) -> Iterable[CheckMessage]:
        return check() if apps.is_installed("django_q") else ()

    register(run, TAG)
    return check


@_registered
def check_broker() -> Found:
    """Check that every cluster takes its wake-ups from the database they are written to."""
    alias = _q_cluster().get("orm")
    for cluster in _clusters("orm", "broker_class", "iron_mq", "sqs"):
        if key := _other_broker(cluster.config):
            yield Error(
                f'{cluster.setting}["{key}"] makes django-q2 use another broker than its ORM '
                "broker, but wake-ups are rows of its database table.",
                hint=f'Remove "{key}" from {cluster.setting} and set "orm" instead.',
                id="retrytasks.E003",
            )
        elif not cluster.config.get("orm"):
            yield Error(
                f'{cluster.setting}["orm"] is not set: no cluster would look for Tasks.',
                hint=f'Set {cluster.setting}["orm"] to the alias of the database that keeps your '
                'Tasks, such as "default".',
                id="retrytasks.E002",
            )
        elif alias and cluster.config["orm"] != alias:
            yield Error(
                f'{cluster.setting}["orm"] is "{cluster.config["orm"]}", but Q_CLUSTER["orm"] is '
                f'"{alias}": this cluster would look for Tasks where there are none.',
                hint=f'Remove "orm" from {cluster.setting}.',
                id="retrytasks.E005",
            )


@_registered
def check_database() -> Found:
    """Check the database that keeps the Tasks, and that it does keep them."""
    alias = _q_cluster().get("orm") or DEFAULT_DB_ALIAS
    if alias not in connections:
        yield Error(
            f'Q_CLUSTER["orm"] names "{alias}", which is no alias in DATABASES.',
            hint=nearest(alias, connections),
            id="retrytasks.E004",
        )
        return
    yield from _routing(alias)
    if not _is_sync():
        yield from checks_databases.check(alias)


@_registered
def check_cluster() -> Found:
    """Check the settings of django-q2's processes."""
    for cluster in _clusters("guard_cycle"):
        yield from _guard(cluster)
    for cluster in _clusters("timeout", "retry"):
        yield from _redelivery(cluster)
    for cluster in _clusters("save_limit"):
        yield from _saving(cluster)
    if not _is_sync():
        yield from _sweeper()
        yield from _cluster_of_this_process()


@_registered
def check_settings() -> Found:
    """Check the keys of RETRYTASKS and their values."""
    given = conf.raw()
    if not isinstance(given, Mapping):
        yield Error(
            f"RETRYTASKS must be a dict, not {given!r}.",
            hint=f"Its keys are: {', '.join(conf.NAMES)}.",
            id="retrytasks.E010",
        )
        return
    for key, value in given.items():
        if key not in conf.NAMES:
            yield Error(
                f'RETRYTASKS has the unknown key "{key}".',
                hint=nearest(str(key), conf.NAMES),
                id="retrytasks.E009",
            )
        elif problem := _problem(partial(VALUES[key].refuse, f'RETRYTASKS["{key}"]', value)):
            yield Error(problem, hint=VALUES[key].hint, id="retrytasks.E010")


@_registered
def check_backends() -> Found:
    """Check the policies in TASKS. Done here, for the backport checks none unless installed."""
    if any(check_settings()):
        return
    for backend in _backends():
        setting = f"TASKS[{backend.alias!r}]"
        if problem := _problem(partial(_backend_policy, backend)):
            yield Error(
                f"{setting}: {problem.removeprefix(f'{setting}: ')}",
                hint=POLICY_HINT,
                id="retrytasks.E011",
            )


@_registered
def check_tasks() -> Found:
    """Check the tasks that the site defines, and the policies they inherit."""
    if any(check_settings()) or any(check_backends()):
        return
    yield from _import_tasks()
    yield from _slips_of_queues()
    yield from _endless_policies()
    yield from _receivers_of_tasks()
    yield from _search_keys_of_tasks()


@_registered
def check_rules() -> Found:
    """Check that Tasks are kept for as long as the alert rules look back."""
    if any(check_settings()):
        return
    from .rules import Rule

    for index, entry in enumerate(conf.get().ALERT_RULES):
        for status, seconds in Rule.of(entry).looks_back().items():
            kept = conf.get().retention(status)
            if kept is not None and kept < seconds:
                yield Error(
                    f'RETRYTASKS["ALERT_RULES"][{index}] looks back {seconds:.15g} s, but '
                    f"{status} Tasks are kept for {kept:.15g} s.",
                    hint='Lower its "within", or raise '
                    f'RETRYTASKS["RETENTION"]["{status}"] to as much or more.',
                    id="retrytasks.E013",
                )


@register(Tags.database)
def check_sweep(databases: Sequence[str] | None = None, **kwargs: Any) -> Found:
    """Check that the sweep is scheduled; only where ``--database`` names its database."""
    alias = _q_cluster().get("orm") or DEFAULT_DB_ALIAS
    if alias not in (databases or ()) or not _is_migrated(alias):
        return
    from . import wakeups

    if not wakeups.has_sweep():
        yield Warning(
            f'The schedule "{wakeups.SWEEP_NAME}" is missing or switched off: lost wake-ups are '
            "not replaced, and old Tasks are not pruned.",
            hint="Run manage.py migrate, which makes it; if it is there, set its repeats to -1 in "
            "the admin.",
            id="retrytasks.W012",
        )


class Cluster(NamedTuple):
    """The settings a cluster runs with."""

    setting: str
    config: Mapping[str, Any]


def _q_cluster() -> Mapping[str, Any]:
    # Not from django-q2's own Conf, which is frozen when it is first imported.
    return getattr(settings, "Q_CLUSTER", None) or {}


def _is_sync() -> bool:
    return bool(_q_cluster().get("sync"))


def _alternatives() -> Mapping[str, Any]:
    return _q_cluster().get("ALT_CLUSTERS") or {}


def _clusters(*keys: str) -> Iterator[Cluster]:
    """Yield the default cluster, and each in ALT_CLUSTERS that sets one of these keys itself."""
    if _is_sync():
        return
    yield Cluster("Q_CLUSTER", _q_cluster())
    for name, own in _alternatives().items():
        if isinstance(own, Mapping) and any(key in own for key in keys):
            setting = f'Q_CLUSTER["ALT_CLUSTERS"]["{name}"]'
            yield Cluster(setting, {**_q_cluster(), **own})


def _other_broker(config: Mapping[str, Any]) -> str | None:
    """Return the key that makes django-q2 use another broker, in its own order of choice."""
    if path := config.get("broker_class"):
        return None if _is_orm_broker(path) else "broker_class"
    if config.get("iron_mq"):
        return "iron_mq"
    return "sqs" if isinstance(config.get("sqs"), dict) else None


def _is_orm_broker(path: str) -> bool:
    try:
        found = import_string(path)
    except ImportError:
        return False
    return isinstance(found, type) and issubclass(found, import_string(ORM_BROKER))


def _routing(alias: str) -> Found:
    ours = apps.get_app_config("retrytasks").get_models()
    models = [*ours, apps.get_model("django_q", "Schedule")]
    elsewhere: dict[str, set[str]] = defaultdict(set)
    for model in models:
        elsewhere[router.db_for_write(model)].add(model._meta.app_label)
    for other, labels in elsewhere.items():
        if other != alias:
            yield Error(
                f'{_apps(labels)} written to the database "{other}", but Q_CLUSTER["orm"] names '
                f'"{alias}".',
                hint=f'Set Q_CLUSTER["orm"] to "{other}", or have DATABASE_ROUTERS send the apps '
                f'django_q and retrytasks to "{alias}".',
                id="retrytasks.E006",
            )
    models.append(apps.get_model("django_q", "OrmQ"))
    barred = {m._meta.app_label for m in models if not router.allow_migrate_model(alias, m)}
    if barred:
        yield Error(
            f'{_apps(barred)} kept out of the database "{alias}" by allow_migrate() of '
            'DATABASE_ROUTERS, but Q_CLUSTER["orm"] names it.',
            hint="Have allow_migrate() return True for the apps django_q and retrytasks on "
            f'"{alias}", then run manage.py migrate --database {alias}.',
            id="retrytasks.E007",
        )


def _apps(labels: Iterable[str]) -> str:
    named = sorted(labels)
    return f"The tables of {' and '.join(named)} are"


def _guard(cluster: Cluster) -> Found:
    cycle = cluster.config.get("guard_cycle", 0.5)
    if cycle not in GUARD_CYCLES:
        yield Warning(
            f'{cluster.setting}["guard_cycle"] is {cycle}: with this value django-q2\'s guard '
            "never ends a worker that hangs.",
            hint=f'Set {cluster.setting}["guard_cycle"] to 0.25, 0.5 (the default) or 1.',
            id="retrytasks.W004",
        )


def _redelivery(cluster: Cluster) -> Found:
    timeout, retry = cluster.config.get("timeout"), cluster.config.get("retry", 60)
    if not timeout:
        yield Warning(
            f'{cluster.setting}["timeout"] is not set: a task of django-q2\'s own that hangs holds '
            "its worker for ever.",
            hint=f'Set {cluster.setting}["timeout"] to the seconds such a task may take, and '
            '"retry" to more. Tasks of @retry_task have timeouts of their own.',
            id="retrytasks.W005",
        )
    elif timeout >= retry:
        yield Warning(
            f'{cluster.setting}["timeout"] is {timeout} and "retry" {retry}: what still runs after '
            f"{retry} s is delivered again, and a task of django-q2's own runs twice.",
            hint=f'Set {cluster.setting}["retry"] above "timeout", with room for the time that a '
            f"delivery waits in the cluster: {2 * timeout} or more.",
            id="retrytasks.W005",
        )


def _saving(cluster: Cluster) -> Found:
    limit = cluster.config.get("save_limit", 250)
    if limit > 0:
        yield Warning(
            f'{cluster.setting}["save_limit"] is {limit}: for every result it saves django-q2 '
            "locks and reads all saved ones, which makes it about three times slower.",
            hint=f'Set {cluster.setting}["save_limit"] to 0 (save all) or, where nothing asks for '
            "result(id) of async_task, to -1 (save none). Attempts are kept either way.",
            id="retrytasks.W006",
        )


def _sweeper() -> Found:
    config = _q_cluster()
    if not config.get("scheduler", True):
        yield Warning(
            'Q_CLUSTER["scheduler"] is off: no schedule runs, and the sweep only when a worker '
            "finds it overdue, not every minute.",
            hint='Remove "scheduler" from Q_CLUSTER, or set it to True.',
            id="retrytasks.W007",
        )
    name = config.get("name", "default")
    cluster_name = config.get("cluster_name", name)
    if cluster_name != name:
        yield Warning(
            f'Q_CLUSTER["cluster_name"] is "{cluster_name}" and "name" "{name}": no cluster runs '
            "schedules that name none. The sweep is one: it waits until it is overdue.",
            hint='Remove "cluster_name" from Q_CLUSTER: "name" is the cluster\'s name too.',
            id="retrytasks.W008",
        )


def _cluster_of_this_process() -> Found:
    started = os.environ.get("Q_CLUSTER_NAME")
    name = _q_cluster().get("name", "default")
    known = [name, _q_cluster().get("cluster_name", name), *_alternatives()]
    if started and started not in known:
        yield Warning(
            f'The environment variable Q_CLUSTER_NAME is "{started}", which is not in '
            'Q_CLUSTER["ALT_CLUSTERS"]: no wake-up is written for such a cluster.',
            hint=nearest(started, dict.fromkeys(known)),
            id="retrytasks.W009",
        )


@_registered
def check_mail() -> Found:
    """Check that alerts by mail reach somebody."""
    if settings.DEBUG or any(check_settings()):
        return
    if letters.alerts_reach_nobody():
        yield Warning(letters.NOBODY, hint=letters.NOBODY_HINT, id="retrytasks.W014")


def _import_tasks() -> Found:
    """Import each app's tasks and what the site's URLs lead to; tell what does not import."""
    from . import discovery

    for path, problem in discovery.discover().items():
        yield Warning(
            f"{path} does not import, so its tasks are neither checked nor known to the admin: "
            f"{problem}",
            hint="Mend it: a worker that cannot import it fails its Tasks. If the site does not "
            "use it, silence this check.",
            id="retrytasks.W015",
        )
    if getattr(settings, "ROOT_URLCONF", None):
        _ = get_resolver().url_patterns


def _slips_of_queues() -> Found:
    names = {name.casefold(): name for name in _alternatives()}
    for queue_name, users in _queues().items():
        near = get_close_matches(queue_name.casefold(), names, n=1, cutoff=SLIP)
        if not near or queue_name in _alternatives():
            continue
        meant = names[near[0]]
        yield Warning(
            f'The queue "{queue_name}" of {", ".join(users)} is served by the default cluster, '
            f'while Q_CLUSTER["ALT_CLUSTERS"] has "{meant}".',
            hint=f'Did you mean "{meant}"? If not, add "{queue_name}" to Q_CLUSTER["ALT_CLUSTERS"] '
            "or give one of them a name less alike.",
            id="retrytasks.W010",
        )


def _queues() -> dict[str, list[str]]:
    """Return the names of queues in use, each with who uses it; "default" aside."""
    from .contract import DEFAULT_TASK_QUEUE_NAME
    from .tasks import defined_tasks

    users: dict[str, list[str]] = defaultdict(list)
    for backend in _backends():
        for queue_name in sorted(backend.queues):
            users[queue_name].append(f"TASKS[{backend.alias!r}]")
    for task in defined_tasks():
        users[task.queue_name].append(task.module_path)
    users.pop(DEFAULT_TASK_QUEUE_NAME, None)
    return users


def _endless_policies() -> Found:
    for owner, own, policy in _policies():
        bounds = {"max_retries", "retry_for"} & own.keys()
        if bounds and policy.max_retries is None and policy.retry_for is None:
            yield Warning(
                f"{owner} retries for ever: max_retries is None and retry_for sets no limit, so "
                "its failures are never announced.",
                hint="Set max_retries to a number, or retry_for to the seconds after the first "
                "start within which a retry may begin.",
                id="retrytasks.W011",
            )


def _receivers_of_tasks() -> Found:
    from .tasks import defined_tasks

    for task in defined_tasks():
        if problem := _problem(partial(_refuse_on_failure, task)):
            yield Error(
                f"{task.module_path}: on_failure: "
                f"{problem.removeprefix(f'{task.name}: on_failure: ')}",
                hint="Give a callable that takes (task, attempt), or its dotted path.",
                id="retrytasks.E012",
            )


def _search_keys_of_tasks() -> Found:
    from .redaction import hides
    from .tasks import defined_tasks

    for task in defined_tasks():
        if task.search_key and hides(task.search_key):
            yield Error(
                f"{task.module_path}: search_key names {task.search_key!r}, which is hidden here: "
                "its values would be stored for everybody to see.",
                hint='Find its Tasks by another argument, or narrow RETRYTASKS["REDACT"].',
                id="retrytasks.E014",
            )


def _refuse_on_failure(task: RetryTask[..., Any]) -> None:
    if (receiver := task.failure_receiver) is not None:
        refuse_misfit(receiver, None, None)


def _policies() -> Iterator[tuple[str, Mapping[str, Any], RetryPolicy]]:
    """Yield who has a policy, the options given there, and the policy in force."""
    from .tasks import defined_tasks, site_options, site_policy

    yield 'RETRYTASKS["POLICY"]', site_options(), site_policy()
    for backend in _backends():
        yield f"TASKS[{backend.alias!r}]", backend.policy_options, _backend_policy(backend)
    for task in defined_tasks():
        yield task.module_path, task.options, task.policy


def _backends() -> list[RetryTasksBackend]:
    from .backend import RetryTasksBackend
    from .contract import task_backends

    return [backend for backend in task_backends.all() if isinstance(backend, RetryTasksBackend)]


def _backend_policy(backend: RetryTasksBackend) -> RetryPolicy:
    from .tasks import site_options

    return RetryPolicy(**{**site_options(), **backend.policy_options})


def _is_migrated(alias: str) -> bool:
    """Tell whether the tables are there: a first migrate runs this check before it makes them."""
    if alias not in connections or not apps.is_installed("django_q"):
        return False
    needed = {apps.get_model(m)._meta.db_table for m in ("retrytasks.Task", "django_q.Schedule")}
    return needed <= set(connections[alias].introspection.table_names())


def _problem(attempt: Callable[[], object]) -> str | None:
    """Return what is wrong with a value, None if it can be used."""
    try:
        attempt()
    except Exception as error:  # what a path leads to may raise anything when imported
        return str(error)
    return None
