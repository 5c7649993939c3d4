"""A function to decorate, made up for one test."""

from collections.abc import Callable
from typing import Any


def module_level(name: str = "made_up", **attributes: Any) -> Callable[..., None]:
    """Return a function that seems to stand at the top level of this module."""

    def function(*args: Any, **kwargs: Any) -> None:
        """Do nothing."""

    function.__name__ = function.__qualname__ = name
    for key, value in attributes.items():
        setattr(function, key, value)
    return function
