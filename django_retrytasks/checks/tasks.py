"""Checks of the site's tasks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import partial
from typing import Any

from django.conf import settings
from django.core.checks import Error, Warning
from django.urls import get_resolver

from django_retrytasks.policy import RetryPolicy
from django_retrytasks.tasks import RetryTask, discovery, redaction, site_options, site_policy
from django_retrytasks.tasks.definition import names_of_unique, shown_names
from django_retrytasks.values.contract import DEFAULT_TASK_QUEUE_NAME

from .common import Found, alternatives, backend_policy, backends, problem_of, registered
from .settings import check_backends, check_settings, refuse_misfit

# Similarity of two queue names above which one looks misspelt; 1: equal.
SLIP = 0.85


@registered
def check_tasks() -> Found:
    """Check the site's tasks, and the policies they inherit."""
    if any(check_settings()) or any(check_backends()):
        return
    yield from _import_tasks()
    yield from _slips_of_queues()
    yield from _endless_policies()
    yield from _receivers_of_tasks()
    yield from _keys_of_tasks()


def _import_tasks() -> Found:
    """Import the tasks of each app and the site's URLs; report modules that do not import."""
    for path, problem in discovery.discover().items():
        yield Warning(
            f"{path} does not import, so its tasks are neither checked nor known to the admin: "
            f"{problem}",
            hint="Correct the module: a worker that cannot import it fails its Tasks. If the site "
            "does not use it, silence this check.",
            id="retrytasks.W015",
        )
    if getattr(settings, "ROOT_URLCONF", None):
        _ = get_resolver().url_patterns


def _slips_of_queues() -> Found:
    names = {name.casefold(): name for name in alternatives()}
    for queue_name, users in _queues().items():
        near = get_close_matches(queue_name.casefold(), names, n=1, cutoff=SLIP)
        if not near or queue_name in alternatives():
            continue
        meant = names[near[0]]
        yield Warning(
            f'The queue "{queue_name}" of {", ".join(users)} is served by the default cluster, '
            f'while Q_CLUSTER["ALT_CLUSTERS"] has "{meant}".',
            hint=f'Did you mean "{meant}"? If not, add "{queue_name}" to Q_CLUSTER["ALT_CLUSTERS"] '
            "or choose a more different name.",
            id="retrytasks.W010",
        )


def _queues() -> dict[str, list[str]]:
    """Return the queue names in use, each with its users, without "default"."""
    users: dict[str, list[str]] = defaultdict(list)
    for backend in backends():
        for queue_name in sorted(backend.queues):
            users[queue_name].append(f"TASKS[{backend.alias!r}]")
    for task in discovery.defined_tasks():
        users[task.queue_name].append(task.module_path)
    users.pop(DEFAULT_TASK_QUEUE_NAME, None)
    return users


def _endless_policies() -> Found:
    for owner, own, policy in _policies():
        bounds = {"max_retries", "retry_for"} & own.keys()
        if bounds and policy.max_retries is None and policy.retry_for is None:
            yield Warning(
                f"{owner} retries for ever: max_retries is None and retry_for sets no limit, so "
                "a failure that is retried never alerts.",
                hint="Set max_retries to a number, or retry_for to the seconds after the first "
                "start within which a retry may begin.",
                id="retrytasks.W011",
            )


def _receivers_of_tasks() -> Found:
    for task in discovery.defined_tasks():
        if problem := problem_of(partial(_refuse_on_failure, task)):
            yield Error(
                f"{task.module_path}: on_failure: "
                f"{problem.removeprefix(f'{task.name}: on_failure: ')}",
                hint="Give a callable that takes (task, attempt), or its dotted path.",
                id="retrytasks.E012",
            )


def _keys_of_tasks() -> Found:
    for task in discovery.defined_tasks():
        for option, name in shown_names(task).items():
            if redaction.hides(name):
                what = f"{option} names {name!r}, which is hidden: its values would be stored"
                yield _hidden_key(task, f"{what} and shown")
        for name in names_of_unique(task):
            if redaction.hides(name):
                what = f"unique uses {name!r}, which is hidden: its values could be guessed from"
                yield _hidden_key(task, f"{what} the stored key")


def _hidden_key(task: RetryTask[..., Any], what: str) -> Error:
    return Error(
        f"{task.module_path}: {what}.",
        hint='Choose another argument, or narrow RETRYTASKS["REDACT"].',
        id="retrytasks.E014",
    )


def _refuse_on_failure(task: RetryTask[..., Any]) -> None:
    if (receiver := task.failure_receiver) is not None:
        refuse_misfit(receiver, None, None)


def _policies() -> Iterator[tuple[str, Mapping[str, Any], RetryPolicy]]:
    """Yield each owner of a policy, the options set there, and the resulting policy."""
    yield 'RETRYTASKS["POLICY"]', site_options(), site_policy()
    for backend in backends():
        yield f"TASKS[{backend.alias!r}]", backend.policy_options, backend_policy(backend)
    for task in discovery.defined_tasks():
        yield task.module_path, task.options, task.policy
