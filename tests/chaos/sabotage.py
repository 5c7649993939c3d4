"""A saboteur for the negative control of a chaos run: it takes the guard off the claim."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.apps import AppConfig
from django.db.models import Q


class Sabotage(AppConfig):
    name = "tests.chaos.sabotage"
    path = str(Path(__file__).parent)

    def ready(self) -> None:
        from django_retrytasks.database import DatabaseNow
        from django_retrytasks.lifecycle import lanes
        from django_retrytasks.models import Status, TaskQuerySet

        def due_or_running(rows: TaskQuerySet) -> TaskQuerySet:
            return rows.filter(Q(run_after__lte=DatabaseNow()) | Q(status=Status.RUNNING))

        def held_by_anyone(rows: TaskQuerySet, claim_token: Any) -> TaskQuerySet:
            return rows.all()

        def any_lane(survey: lanes.Survey) -> lanes.Due:
            return lanes.best_first(survey.oldest)

        def any_of_lane(columns: str) -> str:
            lane, now = due_sql(columns).split("run_after <= ")
            return f"{lane}(status = 'RUNNING' OR run_after <= {now})"

        due_sql = lanes.due_sql
        setattr(TaskQuerySet, "due", due_or_running)  # noqa: B010
        setattr(TaskQuerySet, "held", held_by_anyone)  # noqa: B010
        setattr(lanes.Survey, "due", property(any_lane))  # noqa: B010
        setattr(lanes, "due_sql", any_of_lane)  # noqa: B010
