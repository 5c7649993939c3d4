"""Let ``mock.patch`` replace methods of an object of a frozen class."""

from __future__ import annotations

import inspect
from typing import Any, TypeVar

C = TypeVar("C")


def patchable(frozen: type[C]) -> type[C]:
    """Let methods, but not fields, of a frozen class be replaced on one object.

    So a test can patch ``"orders.tasks.send_email.delay"``, as with Celery's tasks.
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
