"""The reference names all that is public, and the picture of the lifecycle is its table."""

from __future__ import annotations

import logging
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.db.models import Model
from django.dispatch import Signal
from django.utils.module_loading import import_string

import django_retrytasks
from django_retrytasks import RetryPolicy, RetryTask, RetryTaskContext, exceptions, signals, testing
from django_retrytasks.backend import RetryTasksBackend
from django_retrytasks.models import Attempt, Status
from django_retrytasks.policy import StopReason
from django_retrytasks.tasks.options import TaskOptions
from docs.pictures.gallery import drawn
from docs.pictures.lifecycle import EDGES
from tests.docs.book import DOCS, REFERENCE, documented, run_to_the_end, table_after


class TestReference:
    def test_names_all_that_the_package_exports(self) -> None:
        pages = ("decorator", "policy", "context", "exceptions")

        assert set(django_retrytasks.__all__) <= documented(*pages)

    def test_names_every_option_of_a_policy(self) -> None:
        options = {field.name for field in fields(RetryPolicy)} | {"max_attempts"}

        assert options <= documented("policy")

    def test_names_every_option_of_the_decorator(self) -> None:
        page = (REFERENCE / "decorator.md").read_text()
        section = page[page.index("### Options") : page.index("## `RetryTask`")]

        assert set(TaskOptions.__annotations__) | {"bind"} <= set(re.findall(r"`(\w+)`", section))

    @pytest.mark.parametrize(
        ("kind", "page"),
        [(RetryTask, "decorator"), (RetryPolicy, "policy"), (RetryTaskContext, "context")],
    )
    def test_names_every_public_attribute(self, kind: type, page: str) -> None:
        own = {name for name in vars(kind) if not name.startswith("_")}
        inherited = {"enqueue", "aenqueue", "get_result"} if kind is RetryTask else set()

        assert own | inherited <= documented(page)

    def test_names_every_backend(self) -> None:
        ours = {name for name in testing.__all__ if is_backend(getattr(testing, name))}

        assert ours == {"DummyBackend", "ImmediateBackend"}
        assert ours <= documented("backend")

    def test_names_all_of_the_test_kit(self) -> None:
        kit = {name for name in vars(testing.RetryTasksKit) if not name.startswith("_")}

        assert set(testing.__all__) | kit <= documented("testing")
        assert kit <= set(testing.__all__)

    def test_names_every_exception(self) -> None:
        public = (getattr(exceptions, name) for name in exceptions.__all__)
        raised = [one for one in public if is_exception(one)]

        assert raised
        assert {one.__name__ for one in raised} <= documented("exceptions")

    def test_names_every_signal(self) -> None:
        ours = all_signals()

        assert ours == {
            *("attempt_failed", "task_retrying", "task_succeeded", "task_failed"),
            *("breaker_opened", "breaker_closed"),
        }
        assert ours <= documented("signals")

    @pytest.mark.parametrize("model", [*apps.get_app_config("retrytasks").get_models()])
    def test_gives_every_field_with_its_help_text(self, model: type[Model]) -> None:
        page = (REFERENCE / "models.md").read_text()

        lines = table_after(page, f"\n## {model.__name__}\n")

        told = {name.strip("`"): text for name, _, text in lines}
        columns = {field.name: str(field.help_text) for field in model._meta.concrete_fields}
        assert list(told) == list(columns)
        assert {name: text for name, text in told.items() if columns[name]} == {
            name: text for name, text in columns.items() if text
        }
        assert all(told.values())

    @pytest.mark.parametrize(
        ("choices", "page", "heading"),
        [
            (Status, "models", "### Statuses"),
            (Attempt.Outcome, "models", "### Outcomes"),
            (StopReason, "policy", "## Stop reasons"),
        ],
    )
    def test_explains_every_choice(self, choices: Any, page: str, heading: str) -> None:
        lines = table_after((REFERENCE / f"{page}.md").read_text(), heading)

        assert [name.strip("`") for name, *_ in lines] == choices.values

    def test_prints_schedules_as_policies_have_them(self) -> None:
        page = (REFERENCE / "policy.md").read_text()

        marks = re.findall(r"<!-- schedule: (.+) -->", page)

        assert len(marks) == 2
        for options in marks:
            policy = eval(f"RetryPolicy({options})")
            printed = table_after(page, options)
            assert [[float(cell) for cell in line] for line in printed] == with_sum(policy)

    @pytest.mark.django_db
    def test_names_what_log_lines_carry(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG, logger="django_retrytasks")
        import_string("tests.support.tasks.fails_at_once_again").enqueue()

        run_to_the_end()

        ours = [record for record in caplog.records if record.name == "django_retrytasks"]
        standard = vars(logging.makeLogRecord({})).keys() | {"message", "asctime", "taskName"}
        carried = {key for record in ours for key in vars(record).keys() - standard}
        page = (REFERENCE / "logging.md").read_text()
        begun = [cell[0].strip("`") for cell in table_after(page, "| line begins with")]
        assert carried == {cell[0].strip("`") for cell in table_after(page, "## `extra`")}
        assert {record.levelname for record in ours} >= {"DEBUG", "INFO", "WARNING", "ERROR"}
        assert [r.getMessage() for r in ours if not r.getMessage().startswith(tuple(begun))] == []

    def test_has_the_docstring_of_every_public_name(self) -> None:
        page = (REFERENCE / "api.rst").read_text()
        public = {
            "django_retrytasks": set(django_retrytasks.__all__),
            "django_retrytasks.exceptions": set(exceptions.__all__) - {*django_retrytasks.__all__},
            "django_retrytasks.signals": all_signals(),
            "django_retrytasks.testing": set(testing.__all__),
        }

        shown = re.findall(r"^\.\. auto\w+:: (\S+)$", page, re.MULTILINE)

        expected = [f"{module}.{name}" for module, names in public.items() for name in names]
        assert sorted(shown) == sorted(expected)
        assert [path for path in shown if not import_string(path).__doc__] == []


def all_signals() -> set[str]:
    return {name for name, value in vars(signals).items() if isinstance(value, Signal)}


def is_backend(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, RetryTasksBackend)


def is_exception(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, BaseException)


def with_sum(policy: RetryPolicy) -> list[list[float]]:
    rows, total = [], 0.0
    for number, least, most in policy.schedule():
        total += most
        rows.append([float(number), least, most, total])
    return rows


class TestLifecyclePage:
    PAGE = DOCS / "explanation" / "lifecycle.md"

    def test_draws_the_edges_that_its_table_has(self) -> None:
        arrows = [(edge.start, edge.end) for edge in EDGES]

        told = {(line[0], line[1]) for line in table_after(self.PAGE.read_text(), "| from | to |")}
        assert sorted(arrows) == sorted(told)
        assert {state for edge in told for state in edge} == {"", *Status.values}


class TestPictures:
    @pytest.mark.parametrize("file", drawn(), ids=lambda file: file.name)
    def test_are_what_the_code_draws(self, file: Path) -> None:
        assert file.read_text() == drawn()[file], "run python -m docs.pictures"
