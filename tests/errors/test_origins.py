"""A failure is of the line of the site's own code that it came from, wherever that code lies."""

import asyncio
import importlib.util
import os
import pickle
import py_compile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import pytest

from django_retrytasks import Retry, exceptions
from django_retrytasks.errors.fingerprints import origin_of
from tests.errors.failing_code import (
    HERE,
    are_apart,
    are_one,
    configure,
    deliver,
    execute,
    fetch,
    gather,
    gather_reads,
    group_of,
    pass_on,
    pay,
    pay_via,
    raised,
    read,
    refund,
    start_deeper,
    translate_errors,
)


class TestOwnLine:
    """With a line of the site's own, that line is the cause, whatever the message."""

    def test_it_is_told_by_module_function_and_text(self) -> None:
        assert origin_of(raised(pay, 0)) == f'{HERE}.pay: raise ValueError("nothing to pay")'

    def test_a_function_within_another_has_its_full_name(self) -> None:
        def sell() -> None:
            raise LookupError

        assert origin_of(raised(sell)) == f"{__name__}.{sell.__qualname__}: raise LookupError"

    def test_one_smtp_failure_for_two_recipients(self) -> None:
        failures = [raised(deliver, "ann@example.com"), raised(deliver, "bob@example.org")]

        assert str(failures[0]) != str(failures[1])
        assert are_one(failures)

    def test_one_http_failure_for_two_ids_raised_within_the_library(self) -> None:
        failures = [raised(fetch, 1), raised(fetch, 22)]

        assert origin_of(failures[0]).startswith(f"{HERE}.fetch: HTTPConnection(")
        assert str(failures[0]) != str(failures[1])
        assert are_one(failures)

    def test_a_library_innermost_leaves_the_cause_with_the_line_that_called_it(self) -> None:
        failures = [raised(read, "{"), raised(read, '["a" "b"]')]

        assert origin_of(failures[0]) == f"{HERE}.read: json.loads(text)"
        assert str(failures[0]) != str(failures[1])
        assert are_one(failures)

    def test_this_package_innermost_leaves_the_cause_with_the_line_that_called_it(self) -> None:
        origin = origin_of(raised(configure, -1))

        assert origin == f"{HERE}.configure: RetryPolicy(max_retries=count)"

    def test_code_without_a_file_leaves_the_cause_with_the_line_that_ran_it(self) -> None:
        assert origin_of(raised(execute, "1 / 0")) == f"{HERE}.execute: exec(source)"

    def test_a_caller_does_not_count(self) -> None:
        assert are_one([raised(pay, 1), raised(pay_via, 1)])

    def test_two_functions(self) -> None:
        failures = [raised(pay, 0), raised(refund, 0)]

        assert str(failures[0]) == str(failures[1])
        assert are_apart(failures)

    def test_two_lines_of_one_function(self) -> None:
        assert are_apart([raised(pay, 0), raised(pay, 1)])

    def test_two_tasks(self) -> None:
        failure = raised(pay, 0)

        assert group_of(failure, "shop.tasks.pay") != group_of(failure, "shop.tasks.pay_again")

    def test_two_classes_from_one_line(self) -> None:
        failures = [raised(execute, "1 / 0"), raised(execute, "[][0]")]

        assert origin_of(failures[0]) == origin_of(failures[1])
        assert are_apart(failures)

    def test_of_a_chain_the_last_exception_counts(self) -> None:
        failures = [raised(translate_errors, 1), raised(translate_errors, 2)]

        assert origin_of(failures[0]).startswith(f"{HERE}.translate_errors: raise RuntimeError(")
        assert are_one(failures)

    def test_an_exception_passed_on_is_still_of_the_line_that_raised_it(self) -> None:
        assert are_one([raised(pay, 1), raised(pass_on, 1)])

    def test_an_exception_from_another_process_is_of_the_line_that_raised_it_here(self) -> None:
        def result(failure: bytes) -> None:
            raise pickle.loads(failure)

        pickles = [pickle.dumps(raised(pay, amount)) for amount in (0, 1)]
        failures = [raised(result, each) for each in pickles]

        assert origin_of(failures[0]).endswith("result: raise pickle.loads(failure)")
        assert are_one(failures)

    def test_a_recursion_too_deep_wherever_it_began(self) -> None:
        failures = [raised(start_deeper, levels) for levels in (0, 1, 2, 7)]

        assert {type(each) for each in failures} == {RecursionError}
        assert origin_of(failures[0]) == f"{HERE}.descend: descend(depth + 1)"
        assert are_one(failures)

    def test_a_retry_without_a_cause_is_of_the_line_that_raised_it(self) -> None:
        def postpone(countdown: int) -> None:
            raise Retry(countdown=countdown)

        assert origin_of(raised(postpone, 1)).endswith("postpone: raise Retry(countdown=countdown)")


class TestExceptionGroup:
    def test_it_is_of_the_line_that_raised_the_first_of_its_exceptions(self) -> None:
        failure = raised(asyncio.run, gather(0))

        assert isinstance(failure, ExceptionGroup)
        assert origin_of(failure) == origin_of(raised(pay, 0))

    def test_two_lines_within(self) -> None:
        failures = [raised(asyncio.run, gather(0)), raised(asyncio.run, gather(1))]

        assert str(failures[0]) == str(failures[1])
        assert are_apart(failures)

    def test_one_line_within_for_one_or_many(self) -> None:
        assert are_one([raised(asyncio.run, gather(1)), raised(asyncio.run, gather(1, 2, 3))])

    def test_without_an_own_line_within_it_is_of_the_line_that_raised_the_group(self) -> None:
        failure = raised(asyncio.run, gather_reads("{"))

        assert isinstance(failure, ExceptionGroup)
        assert origin_of(failure).startswith(f"{HERE}.gather_reads: ")


BEFORE = """
def deliver(order):
    if not order:
        raise ValueError("no order")
    raise ValueError(f"order {order} has no address")
"""
MOVED = '''
"""Mail of the shop."""

def unrelated():
    return "new"


def deliver(order):
    # An order may be missing.
    if order is None or not order:

        raise ValueError("no order")
    if order:
            raise ValueError(f"order {order} has no address")
'''
REWORDED = BEFORE.replace("no address", "no street")
RENAMED = BEFORE.replace("def deliver", "def send")


class TestDeploys:
    """Each release of a module lies in a directory of its own."""

    @pytest.fixture
    def release(self, tmp_path: Path) -> Callable[[str], ModuleType]:
        def release(source: str) -> ModuleType:
            path = tmp_path / f"release-{len(list(tmp_path.iterdir()))}" / "shop_mail.py"
            path.parent.mkdir()
            path.write_text(source)
            return imported(path)

        return release

    @pytest.mark.parametrize("order", [0, 7])
    def test_lines_that_moved(self, release: Callable[[str], ModuleType], order: int) -> None:
        before, after = (raised(release(source).deliver, order) for source in (BEFORE, MOVED))

        assert line_number(before) != line_number(after)
        assert origin_of(before).startswith("shop_mail.deliver: raise ValueError(")
        assert are_one([before, after])

    def test_a_line_rewritten(self, release: Callable[[str], ModuleType]) -> None:
        before, after = release(BEFORE), release(REWORDED)

        assert are_apart([raised(before.deliver, 7), raised(after.deliver, 7)])
        assert are_one([raised(before.deliver, 0), raised(after.deliver, 0)])

    def test_a_function_renamed(self, release: Callable[[str], ModuleType]) -> None:
        before, after = release(BEFORE), release(RENAMED)

        assert are_apart([raised(before.deliver, 7), raised(after.send, 7)])

    def test_without_its_source_the_function_is_the_cause(self, tmp_path: Path) -> None:
        source = tmp_path / "shop_mail.py"
        source.write_text(BEFORE)
        compiled = py_compile.compile(str(source), str(tmp_path / "shop_mail.pyc"))
        source.unlink()

        module = imported(Path(cast(str, compiled)))

        assert origin_of(raised(module.deliver, 7)) == "shop_mail.deliver"

    @pytest.mark.parametrize(
        "directory", ["lib/python3/site-packages/shop", "lib/python3/dist-packages"]
    )
    def test_an_installed_package_is_not_the_sites_own(
        self, tmp_path: Path, directory: str
    ) -> None:
        path = tmp_path / directory / "shop_mail.py"
        path.parent.mkdir(parents=True)
        path.write_text(BEFORE)

        assert origin_of(raised(imported(path).deliver, 7)) == ""

    def test_a_directory_whose_name_begins_like_a_foreign_one_is_the_sites_own(self) -> None:
        for foreign in (os.path.dirname(os.__file__), os.path.dirname(exceptions.__file__)):
            code = compile("raise ValueError", f"{foreign}_of_the_site/mail.py", "exec")

            assert origin_of(raised(exec, code, {"__name__": "mail"})) == "mail.<module>"

    def test_the_frames_of_a_compiled_extension_are_not_the_sites_own(self) -> None:
        code = compile("raise ValueError", "lxml/etree.pyx", "exec")

        assert origin_of(raised(exec, code, {"__name__": "lxml.etree"})) == ""


def imported(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("shop_mail", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def line_number(exception: BaseException) -> int:
    assert exception.__traceback__ is not None
    return exception.__traceback__.tb_lineno


CODE = compile("raise ValueError", "/site/mail.py", "exec")


class TestStrange:
    """Whatever it is given, an origin is a text that a column of 255 characters stores."""

    def test_a_long_line_is_cut_at_its_end(self, tmp_path: Path) -> None:
        path = tmp_path / "shop_mail.py"
        path.write_text(f"def deliver(): raise ValueError({'x' * 300!r})")

        origin = origin_of(raised(imported(path).deliver))

        assert len(origin) == 255
        assert origin.startswith("shop_mail.deliver: def deliver(): raise ValueError('xxx")

    @pytest.mark.parametrize(
        ("name", "kept"),
        [
            ("a\0b", "a\\x00b.<module>"),
            ("a\ud800b", "a\\ud800b.<module>"),
            ("\0" * 300, "\\x00" * 63 + "\\x0"),
            ("😀" * 300, "😀" * 255),
            ("", ".<module>"),
        ],
    )
    def test_a_strange_module_name(self, name: str, kept: str) -> None:
        assert origin_of(raised(exec, CODE, {"__name__": name})) == kept

    def test_a_module_without_a_name(self) -> None:
        assert origin_of(raised(exec, CODE, {})) == "?.<module>"

    def test_a_module_name_that_is_no_text(self) -> None:
        class Refusing:
            def __format__(self, spec: str) -> str:
                raise RuntimeError("no text")

        assert origin_of(raised(exec, CODE, {"__name__": Refusing()})) == ""

    def test_an_exception_that_hides_its_traceback(self) -> None:
        class Hiding(Exception):
            def __getattribute__(self, name: str) -> Any:
                raise RuntimeError("not for you")

        assert origin_of(Hiding()) == ""

    def test_a_class_that_cannot_be_compared(self) -> None:
        class Incomparable(type):
            __hash__ = type.__hash__

            def __eq__(self, other: object) -> bool:
                raise RuntimeError("not with you")

        class Odd(Exception, metaclass=Incomparable):
            pass

        assert origin_of(Odd()) == ""

    def test_an_exception_without_a_text(self) -> None:
        class Broken(Exception):
            def __str__(self) -> str:
                raise RuntimeError("even this fails")

        assert are_one([Broken(1), Broken(2)])

    def test_a_message_that_no_database_stores(self) -> None:
        assert are_one([OSError("a\0b 1"), OSError("a\0b 2")])
        assert are_apart([OSError("a\ud800b"), OSError("a\udfffb"), OSError("ab")])

    def test_a_group_within_groups(self) -> None:
        group: BaseException = ValueError("x")
        for _ in range(10_000):
            group = BaseExceptionGroup("deep", [group])

        assert origin_of(group) == ""
