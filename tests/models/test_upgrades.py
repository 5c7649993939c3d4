"""What an older release has stored and still stores, while a site is upgraded.

The rule behind: a migration adds what an older release need not know, and a name that rows hold
stays. `python -m tests.chaos --upgrade-from CHECKOUT` tries it with the older release itself.
"""

from __future__ import annotations

import inspect
import uuid
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, models
from django.db.migrations.loader import MigrationLoader
from django.utils import timezone
from django.utils.module_loading import import_string

import django_retrytasks.migrations
from django_retrytasks.alerts.notices import Notice
from django_retrytasks.tasks.stored import resolve
from django_retrytasks.values.entries import SWEEP_ENTRY, WORKER_ENTRY

MIGRATIONS = sorted(
    path.stem for path in Path(django_retrytasks.migrations.__path__[0]).glob("0*.py")
)
# What a row needs beyond a value of its type, by model.
NEEDED: dict[str, dict[str, Any]] = {
    "task": {"run_after": timezone.now()},
    "pause": {"queue_name": "slow", "name": ""},
}
# Arguments as rows of older releases hold them, by the dotted path that they hold.
CALLED: dict[str, list[Any]] = {
    "django_retrytasks.worker.run": ["default", None],
    "django_retrytasks.worker.sweep": [],
}
INTERNAL: dict[str, list[Any]] = {
    "django_retrytasks.alerts.announcements.announce_failures": [[[str(uuid.UUID(int=1)), 1]]],
    "django_retrytasks.alerts.announcements.call_receiver": ["a.b", str(uuid.UUID(int=1)), 1],
    "django_retrytasks.alerts.announcements.call_on_failure": [str(uuid.UUID(int=1)), 1],
    "django_retrytasks.alerts.breakers.announce_breaker": [
        *("opened", "a.b", "", timezone.now(), "3 failures in a row", ""),
    ],
    "django_retrytasks.alerts.sending.send_alert": ["log", {}],
    "django_retrytasks.operators.operations.run_operation": [str(uuid.UUID(int=1))],
}
NOTICE: dict[str, Any] = {
    "kind": "FAILING",
    "fingerprint": uuid.UUID(int=1),
    "sample_id": None,
    "count": 1,
    "new_count": 1,
    "since": timezone.now(),
    "told_at": None,
    "at": timezone.now(),
}


def models_of(migration: str) -> list[Any]:
    """Return the models as the release of this migration had them."""
    state = MigrationLoader(connection).project_state(("retrytasks", migration))
    return list(state.apps.get_app_config("retrytasks").get_models())


def row_of(model: Any, others: dict[str, Any]) -> Any:
    """Return a new row that gives each of its columns a value."""
    given = NEEDED.get(model._meta.model_name, {})
    return model(**{f.name: given.get(f.name, value_of(f, others)) for f in model._meta.fields})


def value_of(field: Any, others: dict[str, Any]) -> Any:
    if isinstance(field, models.ForeignKey):
        return others.get(str(field.related_model._meta.model_name))
    if field.has_default() or field.null or field.auto_created:
        return field.get_default()
    if isinstance(field, models.DateTimeField):
        return timezone.now()
    if isinstance(field, models.UUIDField):
        return uuid.UUID(int=1)
    if isinstance(field, models.IntegerField | models.FloatField):
        return 1
    return field.choices[0][0] if field.choices else "x"


@pytest.mark.django_db
@pytest.mark.parametrize("migration", MIGRATIONS)
def test_the_tables_take_and_give_what_an_older_release_has_columns_for(migration: str) -> None:
    stored: dict[str, Any] = {}
    for model in models_of(migration):
        stored[model._meta.model_name] = row_of(model, stored)
        stored[model._meta.model_name].save(force_insert=True)

    for row in stored.values():
        [same] = type(row).objects.filter(pk=row.pk)
        same.save(force_update=True)

    assert {"task", "attempt"} <= stored.keys()


@pytest.mark.parametrize("path", CALLED)
def test_what_wake_ups_and_schedules_name_can_be_called_so(path: str) -> None:
    inspect.signature(import_string(path)).bind(*CALLED[path])

    assert {WORKER_ENTRY, SWEEP_ENTRY} <= CALLED.keys()


@pytest.mark.parametrize("path", INTERNAL)
def test_internal_tasks_of_an_older_release_can_be_run(path: str) -> None:
    bound = resolve(path).signature.bind(*INTERNAL[path])

    assert list(bound.args) == INTERNAL[path]


def test_an_alert_that_an_older_release_has_decided_on_can_be_sent() -> None:
    assert Notice(**NOTICE).count == 1


def test_an_older_release_can_send_an_alert_of_this_one() -> None:
    assert Notice(**NOTICE).as_stored() == NOTICE
