"""Bind a call's arguments to the signature, encode them, and derive the search key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from inspect import BoundArguments, Parameter, Signature
from itertools import count, islice
from typing import Any

from django_retrytasks.errors.reports import storable
from django_retrytasks.models import SEARCH_KEY_LENGTH, Encoded
from django_retrytasks.values import codec

from .definition import RetryTask

LARGEST = 1024 * 1024


def stored(
    task: RetryTask[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """Return a row's fields for a call's arguments: args, kwargs and search_key.

    Raises:
        TypeError: the arguments do not fit the signature, cannot be stored, or take more than
            1 MiB.
    """
    bound = bind(task.signature, args, kwargs, owner=task.name)
    texts = encode(task.signature, args, kwargs, owner=task.name)
    if (size := sum(map(len, texts))) > LARGEST:
        raise TypeError(
            f"{task.name}(): the arguments take {size} bytes, more than {LARGEST}: store them "
            "elsewhere and pass a key"
        )
    return {
        "args": Encoded(texts[0]),
        "kwargs": Encoded(texts[1]),
        "search_key": search_key(bound, task.search_key) if task.search_key else "",
    }


def bind(
    signature: Signature, args: Sequence[Any], kwargs: Mapping[str, Any], *, owner: str
) -> BoundArguments:
    """Return a call's arguments by the names of the parameters.

    Args:
        signature: the function's signature.
        owner: the function's name, for errors.

    Raises:
        TypeError: the arguments do not fit the signature.
    """
    try:
        return signature.bind(*args, **kwargs)
    except TypeError as error:
        raise TypeError(f"{owner}(): {error}") from None


def encode(
    signature: Signature, args: Sequence[Any], kwargs: Mapping[str, Any], *, owner: str
) -> tuple[str, str]:
    """Encode a call's arguments, without defaults, as two texts: a list and an object.

    Args:
        signature: the function's signature.
        owner: the function's name, for errors.

    Raises:
        TypeError: an argument cannot be stored; the message names it.
    """
    try:
        return codec.dumps(tuple(args), root=()), codec.dumps(dict(kwargs), root=())
    except codec.NotStorable as error:
        first, *inwards = error.path
        if isinstance(first, int):
            first = next(islice(_positional_names(signature), first, None))
        named = codec.NotStorable(error.what, (first, *inwards), error.fix)
        problem = f"argument '{first}' cannot be stored: {named.problem}"
        raise TypeError(f"{owner}(): {problem}") from None


def search_key(bound: BoundArguments, name: str) -> str:
    """Return the search key: the argument of this name, or its default, as text."""
    bound.apply_defaults()
    return as_search_key({**bound.kwargs, **bound.arguments}.get(name))


def as_search_key(value: Any) -> str:
    """Return a value as text of at most 100 characters; "" for None and for containers.

    A container may hold secrets.
    """
    if value is None or isinstance(value, dict | list | tuple):
        return ""
    text = str(value).strip()[:SEARCH_KEY_LENGTH]
    # Escaping the characters that a database refuses may have lengthened the text.
    return storable(text, 10 * SEARCH_KEY_LENGTH)[:SEARCH_KEY_LENGTH]


def _positional_names(signature: Signature) -> Iterator[str]:
    for parameter in signature.parameters.values():
        if parameter.kind is Parameter.VAR_POSITIONAL:
            yield from (f"{parameter.name}[{index}]" for index in count())
        yield parameter.name
