"""What is read from the stored text of a traceback."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from django_retrytasks.errors import tracebacks
from django_retrytasks.errors.reports import report

HEAD = "Traceback (most recent call last):\n"


def stored(act: Callable[[], object]) -> str:
    with pytest.raises((Exception, ExceptionGroup)) as caught:
        act()
    return report(caught.value).traceback


def through_the_library() -> None:
    json.loads("nothing")


def effect() -> None:
    try:
        through_the_library()
    except ValueError as error:
        raise RuntimeError("the effect\nin two lines") from error


def group() -> None:
    try:
        through_the_library()
    except ValueError as error:
        raise ExceptionGroup("several", [error]) from None


class TestOwnPart:
    def test_leaves_out_the_frames_of_others(self) -> None:
        text = stored(through_the_library)

        own = tracebacks.own_part(text)

        assert json.__file__ in text
        assert json.__file__ not in own
        assert own.startswith(f'{HEAD}  File "{__file__}", line ')
        assert '    json.loads("nothing")\n' in own
        assert own.splitlines()[-1] == text.splitlines()[-1]

    def test_keeps_what_led_to_it_and_whole_messages(self) -> None:
        own = tracebacks.own_part(stored(effect))

        assert own.count(HEAD) == 2
        assert "The above exception was the direct cause of the following exception" in own
        assert own.endswith("RuntimeError: the effect\nin two lines\n")
        assert json.__file__ not in own

    def test_keeps_the_form_of_a_group(self) -> None:
        own = tracebacks.own_part(stored(group))

        assert "  | ExceptionGroup: several (1 sub-exception)\n" in own
        assert f'    |   File "{__file__}", line ' in own
        assert json.__file__ not in own

    def test_leaves_out_what_belongs_to_a_frame(self) -> None:
        foreign = '  File "/usr/lib/python3/site-packages/x.py", line 3, in f\n'
        source = "    f(\n    ^^\n      1)\n"
        again = "  [Previous line repeated 991 more times]\n"
        own = '  File "/srv/shop/mail.py", line 1, in send\n    f(1)\n'
        last = "RecursionError: too deep\n"

        text = HEAD + own + foreign + source + again + last

        assert tracebacks.own_part(text) == HEAD + own + last

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "ValueError: no\n",
            HEAD + '  File "/srv/shop/mail.py", line 1, in send\n    f(1)\nValueError: no\n',
            HEAD + '  File "<string>", line 1, in send\nValueError: no\n',
        ],
        ids=["nothing", "no frame", "own frames alone", "foreign frames alone"],
    )
    def test_is_empty_where_it_would_tell_nothing_else(self, text: str) -> None:
        assert tracebacks.own_part(text) == ""
