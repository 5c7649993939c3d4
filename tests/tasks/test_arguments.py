"""What becomes of a call's arguments: bound, encoded, and an error that names the wrong one."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from inspect import signature
from typing import Any

import pytest

from django_retrytasks.tasks.arguments import bind, encode
from django_retrytasks.values.codec import loads
from tests.values.test_codec import BERLIN, Order, exactly, nested


def refusal(function: Any) -> str:
    with pytest.raises(TypeError) as refused:
        function()
    assert type(refused.value) is TypeError
    return str(refused.value)


class TestArguments:
    def test_they_are_kept_as_the_caller_passed_them(self) -> None:
        def send(order_id: int, email: str = "", *, copies: int = 1) -> None: ...

        stored = encode(signature(send), (42,), {"email": "a@b.c"}, owner="send")

        assert stored == ("[42]", '{"email":"a@b.c"}')

    def test_every_type_goes_through(self) -> None:
        def send(when: datetime, *, price: Decimal, **more: object) -> None: ...

        when = datetime(2030, 5, 17, tzinfo=BERLIN)
        kwargs = {"price": Decimal("1.10"), "__type__": "odd name"}
        args_text, kwargs_text = encode(signature(send), (when,), kwargs, owner="send")

        assert exactly(loads(args_text)) == exactly([when])
        assert exactly(loads(kwargs_text)) == exactly(kwargs)

    @pytest.mark.parametrize(
        ("args", "kwargs", "problem"),
        [
            ((), {}, "missing a required argument: 'order_id'"),
            ((1, 2), {}, "too many positional arguments"),
            ((1,), {"order_id": 1}, "multiple values for argument 'order_id'"),
            (
                (1,),
                {"odrer": 1},
                "got an unexpected keyword argument 'odrer'. No parameter is named 'odrer'. "
                'Did you mean "order_id"?',
            ),
            (
                (),
                {"odrer_id": 1},
                "missing a required argument: 'order_id'. No parameter is named 'odrer_id'. "
                'Did you mean "order_id"?',
            ),
            (
                (1,),
                {"countdown": 5},
                "got an unexpected keyword argument 'countdown'. countdown is an option: "
                "using(countdown=…).enqueue(…)",
            ),
            (
                (1,),
                {2: 3},
                "keywords must be strings. A keyword argument is named by a text, not by 2",
            ),
        ],
    )
    def test_a_wrong_call_fails_with_the_functions_name(
        self, args: tuple[Any, ...], kwargs: dict[Any, Any], problem: str
    ) -> None:
        def send_receipt(order_id: int) -> None: ...

        message = refusal(lambda: bind(signature(send_receipt), args, kwargs, owner="send_receipt"))

        assert message == f"send_receipt(): {problem}"

    def test_a_forgotten_bind_is_named(self) -> None:
        def send_receipt(self: object, order_id: int) -> None: ...

        message = refusal(lambda: bind(signature(send_receipt), (1,), {}, owner="send_receipt"))

        assert message == (
            "send_receipt(): missing a required argument: 'order_id'. To get the context as self, "
            "decorate with bind=True"
        )

    @pytest.mark.parametrize(
        ("args", "kwargs", "problem"),
        [
            (
                (1, {"items": [Order()]}),
                {},
                "argument 'order' cannot be stored: Order at order.items[0]; pass its primary key",
            ),
            (
                (1, 2, "a", b"b"),
                {},
                "argument 'files[1]' cannot be stored: bytes at files[1]; decode it",
            ),
            (
                (1,),
                {"order": {1: 2}},
                "argument 'order' cannot be stored: int key 1 at order; use str keys",
            ),
            (
                (1, 2),
                {"tags": {"x"}},
                "argument 'tags' cannot be stored: set at tags; pass a list",
            ),
        ],
    )
    def test_what_cannot_be_stored_is_named(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], problem: str
    ) -> None:
        def send(number: int, order: object, *files: object, **more: object) -> None: ...

        message = refusal(lambda: encode(signature(send), args, kwargs, owner="send"))

        assert message == f"send(): {problem}"

    def test_an_argument_nests_as_deep_as_a_value(self) -> None:
        def send(order: object) -> None: ...

        encode(signature(send), (nested(99),), {}, owner="send")
        message = refusal(lambda: encode(signature(send), (nested(101),), {}, owner="send"))

        assert message == (
            "send(): argument 'order' cannot be stored: list at order[0][0][0]…; "
            "nest at most 100 levels, without cycles"
        )
