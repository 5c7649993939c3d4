"""What installed code raises, and classes made at run time: one cause is one group."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from django_retrytasks import retry_task
from django_retrytasks.errors.fingerprints import fingerprint, origin_of
from django_retrytasks.errors.reports import known_class_path, report
from django_retrytasks.models import FailureGroup
from tests.support.driver import Driver
from tests.support.shop import heard
from tests.support.shop import shop_is_down as shop_is_down

pytestmark = pytest.mark.django_db

HERE = "tests.errors.test_installed_tasks"
TASKS = """
import json
from django_retrytasks import retry_task
from parcels.depot import find


@retry_task(max_retries=0)
def send(word):
    raise ValueError(f"no parcel for {word} today")


@retry_task(max_retries=0)
def look_up(word):
    find(word)


@retry_task(max_retries=0)
def read(word):
    json.loads(word)
"""
DEPOT = """
def find(word):
    raise LookupError(f"{word} is in no depot")
"""
WORDS = [first + second for first in "abcdefghijklmnopqrst" for second in "abcdefghij"]


class DeliveryError(Exception):
    class Late(Exception):
        """A class within another one is found at its path too."""


@retry_task(max_retries=0)
def raises_one_made_up(name: str) -> None:
    raise type(name, (DeliveryError,), {})("refused")


@pytest.fixture
def parcels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """Yield the tasks of an installed package."""
    package = tmp_path / "lib" / "site-packages" / "parcels"
    package.mkdir(parents=True)
    for name, source in (("__init__", ""), ("tasks", TASKS), ("depot", DEPOT)):
        (package / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(package.parent)
    yield import_module("parcels.tasks")
    for name in [name for name in sys.modules if name.partition(".")[0] == "parcels"]:
        del sys.modules[name]


def raised(error: type[BaseException]) -> BaseException:
    return error("refused")


class TestInstalledTask:
    def test_200_failures_of_different_words_are_one_group(
        self, driver: Driver, parcels: ModuleType
    ) -> None:
        parcels.send.enqueue_many([(word,) for word in WORDS])
        driver.drain()

        group = FailureGroup.objects.get()
        assert group.failure_count == 200
        assert group.origin == (
            'parcels.tasks.send: raise ValueError(f"no parcel for {word} today")'
        )
        assert len(heard) <= 3  # at the first failure, at the 10th and at the 100th

    def test_the_innermost_line_of_its_package_is_the_cause(
        self, driver: Driver, parcels: ModuleType
    ) -> None:
        parcels.look_up.enqueue_many([(word,) for word in WORDS[:9]])
        driver.drain()

        origin = 'parcels.depot.find: raise LookupError(f"{word} is in no depot")'
        assert FailureGroup.objects.get().origin == origin

    def test_a_library_innermost_leaves_the_cause_with_the_line_that_called_it(
        self, driver: Driver, parcels: ModuleType
    ) -> None:
        parcels.read.enqueue_many([(word,) for word in ("[1 2]", '["a" "b"]', "{")])
        driver.drain()

        assert FailureGroup.objects.get().origin == "parcels.tasks.read: json.loads(word)"

    def test_a_line_of_the_sites_own_goes_before_those_of_its_package(self) -> None:
        path = "/shop/lib/site-packages/parcels/x.py"
        code = compile("def call(): raise OSError('lost')", path, "exec")
        names: dict[str, Any] = {"__name__": "parcels.x"}
        exec(code, names)

        with pytest.raises(OSError, match="lost") as failure:
            names["call"]()

        origin = origin_of(failure.value, "parcels.tasks.send")
        assert origin.startswith(f"{HERE}.TestInstalledTask.")


class TestMadeUpClass:
    @pytest.mark.parametrize(
        "names",
        [
            [f"Error{number}" for number in range(30)],
            [f"{word.title()}Error" for word in WORDS[:30]],
        ],
        ids=["by number", "by word"],
    )
    def test_thirty_names_are_one_group(self, driver: Driver, names: list[str]) -> None:
        raises_one_made_up.enqueue_many([(name,) for name in names])
        driver.drain()

        group = FailureGroup.objects.get()
        assert group.failure_count == 30
        assert group.exception_class_path in {f"{HERE}.{name}" for name in names}

    def test_an_alert_shows_the_failure_it_is_about(self, driver: Driver) -> None:
        for number in range(10):
            raises_one_made_up.enqueue(f"Error{number}")
            driver.drain()

        assert [alert.count for alert in heard] == [1, 10]
        assert heard[-1].attempt is not None
        assert heard[-1].attempt.exception_class_path == f"{HERE}.Error9"
        assert heard[-1].error == f"{HERE}.Error9: refused"

    def test_one_defined_in_a_function_is_known_by_its_base(self) -> None:
        class Refused(DeliveryError):
            pass

        assert known_class_path(raised(Refused)) == f"{HERE}.DeliveryError"

    @pytest.mark.parametrize(
        ("made", "path"),
        [
            (DeliveryError, f"{HERE}.DeliveryError"),
            (DeliveryError.Late, f"{HERE}.DeliveryError.Late"),
            (type("Error7", (DeliveryError.Late, ValueError), {}), f"{HERE}.DeliveryError.Late"),
            (type("Error7", (type("Error8", (OSError,), {}),), {}), "builtins.OSError"),
            (type("Error7", (OSError,), {"__module__": "nowhere.at_all"}), "builtins.OSError"),
            (type("Error7", (OSError,), {"__module__": 7}), "builtins.OSError"),
            (
                FailureGroup.DoesNotExist,
                "django_retrytasks.models.failure_groups.FailureGroup.DoesNotExist",
            ),
        ],
    )
    def test_the_nearest_class_found_at_its_path_stands_for_it(
        self, made: type[BaseException], path: str
    ) -> None:
        assert known_class_path(raised(made)) == path

    def test_two_bases_are_two_causes(self) -> None:
        bases = (OSError, ValueError)
        paths = [known_class_path(raised(type("Error7", (base,), {}))) for base in bases]

        first, second = (fingerprint("shop.tasks.send", path, "line", "") for path in paths)

        assert first != second

    @pytest.mark.parametrize("name", ["__mro__", "__module__", "__name__"])
    def test_a_metaclass_that_raises_hides_nothing(self, name: str) -> None:
        def refuse(cls: type) -> Any:
            raise RuntimeError("nobody may know")

        meta = type("Meta", (type,), {name: property(refuse)})

        assert report(meta("Hostile", (OSError,), {})("refused")).class_path == f"{HERE}.Hostile"
