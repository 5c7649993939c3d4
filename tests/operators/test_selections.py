"""Finding Tasks by a search, and by the key that each may have."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.db import connection

from django_retrytasks import RetryTask, lifecycle, retry_task
from django_retrytasks.models import Status, Task
from django_retrytasks.operators import selections
from django_retrytasks.tasks import arguments
from tests.support import tasks
from tests.support.driver import Driver

pytestmark = pytest.mark.django_db


def found(term: str, **more: str) -> set[str]:
    """Return the ids of what a search finds."""
    rows = selections.select(Task.objects.all(), {"search": term, **more})
    return {str(pk) for pk in rows.values_list("pk", flat=True)}


def key_of(result: Any) -> str:
    return str(Task.objects.values_list("search_key", flat=True).get(pk=result.id))


class TestSearchKey:
    @pytest.mark.parametrize(
        ("order", "key"),
        [
            (4711, "4711"),
            ("  A-7 ", "A-7"),
            (uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007"),
            (None, ""),
            ("", ""),
            ("注" * 101, "注" * 100),
            ("nul \0, half \ud800", "nul \\x00, half \\ud800"),
            ({"password": "hunter2"}, ""),
            (["hunter2"], ""),
        ],
    )
    def test_is_the_argument_in_words(self, order: Any, key: str) -> None:
        assert key_of(tasks.ships.enqueue(order)) == key
        assert key_of(tasks.ships.enqueue(order=order)) == key

    def test_of_many_each_has_its_own(self) -> None:
        results = tasks.ships.enqueue_many([(1,), {"order": 2}])

        assert [key_of(result) for result in results] == ["1", "2"]

    def test_a_default_counts_and_a_task_without_has_none(self) -> None:
        noted, any_named = keyed_by("note", with_default), keyed_by("sku", with_any)

        assert key_of(tasks.echoes.enqueue("4711")) == ""
        assert tasks.ships.using(priority=3).search_key == "order"
        assert arguments.stored(noted, (), {})["search_key"] == "none"
        assert arguments.stored(any_named, (), {"sku": 5})["search_key"] == "5"

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"search_key": "note "}, "search_key names 'note ', which is no parameter. Did you"),
            ({"search_key": ("note",)}, "search_key must be a string, not ('note'"),
            ({"search_key": "note", "sensitive": ("note",)}, "names 'note', which is sensitive"),
        ],
    )
    def test_what_cannot_be_one_is_refused(self, options: Any, message: str) -> None:
        decorator: Any = retry_task

        with pytest.raises(TypeError) as caught:
            decorator(**options)(with_default)

        assert message in str(caught.value)

    def test_stays_when_the_task_is_redriven_with_other_arguments(self, driver: Driver) -> None:
        task = driver.attempt(tasks.ships.enqueue("A-7", fails=True))

        lifecycle.redrive([task.pk], arguments=('["A-8"]', "{}"))

        assert driver.row(task).args == ["A-8"]
        assert found("A-7") == {str(task.pk)}


class TestSearch:
    @pytest.mark.skipif(
        connection.vendor != "sqlite", reason="other databases choose plans by the rows there are"
    )
    def test_a_key_is_found_by_its_index(self) -> None:
        tasks.ships.enqueue("A-7")

        plan = selections.select(Task.objects.all(), {"search": "key: A-7"}).explain()

        assert "retrytasks_searched" in plan

    @pytest.mark.parametrize("term", ["key: josé", "josé"])
    def test_a_key_is_found_with_its_case_and_accents(self, term: str) -> None:
        one = tasks.ships.enqueue("josé").id
        tasks.ships.enqueue_many([("jose",), ("JOSÉ",), ("Josè",)])

        assert found(term) == {one}
        with pytest.raises(ValueError, match="no Task matches 'key: jOSÉ'"):
            selections.as_of_now({"search": "key: jOSÉ"})

    @pytest.mark.parametrize("column", ["queue_name", "name"])
    def test_a_name_is_met_with_its_case_accents_and_blanks(self, column: str) -> None:
        results = tasks.succeeds.enqueue_many([()] * 4)
        for result, name in zip(results, ("mail", "Mail", "máil", "mail "), strict=True):
            Task.objects.filter(pk=result.id).update(**{column: name})

        rows = selections.select(Task.objects.all(), {column: "mail"})

        assert [str(row.pk) for row in rows] == [results[0].id]

    def test_a_function_search_meets_no_name_in_another_case(self) -> None:
        results = tasks.succeeds.enqueue_many([(), ()])
        for result, name in zip(results, ("mail", "Mail"), strict=True):
            Task.objects.filter(pk=result.id).update(name=name)

        assert results[1].id not in found("function: mail")

    def test_an_error_is_met_with_its_case(self, driver: Driver) -> None:
        driver.attempt(tasks.ships.enqueue("A-7", fails=True))

        told = [
            selections.select(Task.objects.all(), {"error": error}).count()
            for error in ("builtins.LookupError", "builtins.lookupError")
        ]

        assert told == [1, 0]

    def test_finds_by_id_key_function_or_error(self, driver: Driver) -> None:
        one = tasks.ships.enqueue("A-7").id
        other = tasks.succeeds.enqueue().id
        failed = tasks.ships.enqueue("B-8", fails=True)
        driver.attempt(failed)

        assert found(other) == found(other.replace("-", "")) == {other}
        assert found(" A-7 ") == {one}
        assert found("tests.support.tasks.succ") == found("succ") == {other}
        assert found("lookuperror") == found("No stock") == {failed.id}
        assert found("nothing has this") == set()

    def test_what_is_found_first_is_all_that_is_found(self, driver: Driver) -> None:
        keyed = tasks.ships.enqueue("succ").id
        named = tasks.succeeds.enqueue().id

        assert found("succ") == found("key: succ") == {keyed}
        assert found("function:succ") == {named}

    @pytest.mark.parametrize(
        "term", ["id: 7", "id:", "key:", "key: A", "function: nope", "error: nope", "error: "]
    )
    def test_by_one_thing_alone(self, term: str) -> None:
        tasks.ships.enqueue("A-7")

        assert found(term) == set()
        with pytest.raises(ValueError, match=f"no Task matches '{term}'"):
            selections.as_of_now({"search": term})

    @pytest.mark.parametrize("term", ["", " "])
    def test_for_nothing_is_no_search(self, term: str) -> None:
        with pytest.raises(ValueError, match="the search is empty"):
            found(term)

    def test_a_key_may_look_like_an_id_and_be_longer_than_is_kept(self) -> None:
        key = uuid.uuid4()
        one, other = (tasks.ships.enqueue(order).id for order in (key, "7" * 150))

        assert found(str(key)) == {one}
        assert found("7" * 150) == {other}

    def test_a_colon_may_belong_to_what_is_search(self) -> None:
        one = tasks.ships.enqueue("order: 7").id

        assert found("order: 7") == {one}

    def test_holds_together_with_filters(self) -> None:
        tasks.ships.enqueue("A-7")
        other = tasks.ships.using(queue_name="mail").enqueue("A-7").id

        assert found("A-7", queue_name="mail") == {other}
        assert found("A-7", status=Status.FAILED) == set()

    def test_finds_internal_tasks_too_unless_told_not_to(self, driver: Driver) -> None:
        driver.attempt(tasks.fails_once_for_all.enqueue())

        assert len(found("announce_failures")) == 1
        assert found("announce_failures", internal="no") == set()

    def test_one_that_is_stored_goes_on_finding_by_the_same(self) -> None:
        named = tasks.succeeds.enqueue().id
        stored = selections.as_of_now({"search": "succ"})
        keyed = tasks.ships.enqueue("succ").id

        assert stored == {"search": "function: succ"}
        assert found(stored["search"]) == {named}
        assert found("succ") == {keyed}

    def test_for_an_error_goes_on_finding_the_same_groups(
        self, driver: Driver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(selections, "GROUPS", 1)
        failed = driver.attempt(tasks.ships.enqueue("A-7", fails=True))
        stored = selections.as_of_now({"search": "no stock"})

        driver.attempt(tasks.fails_once_for_all.enqueue())

        assert stored == {"failure_group": str(failed.failure_group_id)}
        assert found("no stock") == set()
        rows = selections.select(Task.objects.all(), stored)
        assert [task.pk for task in rows] == [failed.pk]


class TestAmong:
    @pytest.mark.parametrize(
        ("here", "asked", "both"),
        [
            ({}, {}, {}),
            ({}, {"name": "a"}, {"name": "a"}),
            (
                {"name": "a"},
                {"status": "FAILED"},
                {"name": "a", "status": "FAILED", "internal": "no"},
            ),
            ({"internal": "no"}, {"name": "a"}, {"name": "a", "internal": "no"}),
            ({"internal": "no"}, {"status": "FAILED"}, {"status": "FAILED"}),
            ({"internal": "all"}, {"queue_name": "q"}, {"queue_name": "q"}),
            ({"queue_name": "q"}, {"internal": "yes"}, {"queue_name": "q", "internal": "yes"}),
        ],
    )
    def test_is_what_both_select(self, here: Any, asked: Any, both: Any) -> None:
        assert selections.intersection(here, asked) == both

    @pytest.mark.parametrize(
        ("here", "asked"),
        [
            ({"name": "a"}, {"name": "b"}),
            ({"internal": "yes"}, {"status": "FAILED"}),
            ({"internal": "no"}, {"internal": "yes"}),
        ],
    )
    def test_what_contradicts_is_refused(self, here: Any, asked: Any) -> None:
        with pytest.raises(ValueError, match=r"^here (name|internal) is "):
            selections.intersection(here, asked)


def keyed_by(name: str, function: Any) -> RetryTask[..., Any]:
    decorated: RetryTask[..., Any] = retry_task(search_key=name)(function)
    return decorated


def with_default(note: str = "none") -> None: ...


def with_any(**kwargs: Any) -> None: ...
