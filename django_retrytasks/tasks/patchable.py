"""Frozen classes whose methods ``mock.patch`` may replace on one object."""

from __future__ import annotations

import inspect
from typing import Any, TypeVar

C = TypeVar("C")


def patchable(frozen: type[C]) -> type[C]:
    """Let the methods of a frozen class be replaced on one object, its fields not.

    So a test patches ``"orders.tasks.send_email.delay"``, as it does with Celery's tasks.
    """
    set_field, delete_field = frozen.__setattr__, frozen.__delattr__

    def is_method(name: str) -> bool:
        return inspect.isfunction(getattr(frozen, name, None))

    def set_method(self: Any, name: str, value: Any) -> None:
        (object.__setattr__ if is_method(name) else set_field)(self, name, value)

    def delete_method(self: Any, name: str) -> None:
        (object.__delattr__ if is_method(name) else delete_field)(self, name)

    type.__setattr__(frozen, "__setattr__", set_method)
    type.__setattr__(frozen, "__delattr__", delete_method)
    return frozen
