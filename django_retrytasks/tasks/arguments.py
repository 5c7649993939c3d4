"""Bind a call's arguments to the signature, encode them, and derive the keys."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from inspect import BoundArguments, Parameter, Signature
from itertools import count, islice
from reprlib import repr as short_repr
from typing import Any
from uuid import UUID

from django_retrytasks.errors.reports import storable
from django_retrytasks.models import BREAKER_KEY_LENGTH, SEARCH_KEY_LENGTH, Encoded
from django_retrytasks.policy import PolicyOptions
from django_retrytasks.values import codec
from django_retrytasks.values.checked import nearest
from django_retrytasks.values.ids import digest_id

from .definition import RetryTask
from .options import CALL_OPTIONS

LARGEST = 1024 * 1024
# What `using` takes.
OPTIONS = frozenset((*CALL_OPTIONS, *PolicyOptions.__annotations__))
# Of the digest that tells long breaker keys apart.
DIGITS = 20


def stored(
    task: RetryTask[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """Return a row's fields for a call's arguments: args, kwargs and the keys made of them.

    Raises:
        TypeError: the arguments do not fit the signature, cannot be stored, or take more than
            1 MiB; or ``unique`` returns no text.
        ValueError: ``unique`` fails, or returns an empty text.
    """
    bound = bind(task.signature, args, kwargs, owner=task.name)
    texts = encode(task.signature, args, kwargs, owner=task.name)
    if (size := sum(map(len, texts))) > LARGEST:
        raise TypeError(
            f"{task.name}(): the arguments take {size} bytes, more than {LARGEST}: store them "
            "elsewhere and pass a key"
        )
    by = task.breaker.by if task.breaker else ""
    key = unique_key(task, bound) if task.unique else None
    return {
        "args": Encoded(texts[0]),
        "kwargs": Encoded(texts[1]),
        "search_key": as_search_key(value_of(bound, task.search_key)) if task.search_key else "",
        "breaker_key": as_breaker_key(value_of(bound, by)) if by else "",
        "unique_key": key,
        "held_key": key,
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
        raise TypeError(f"{owner}(): {error}{_hint(signature, kwargs)}") from None


def _hint(signature: Signature, kwargs: Mapping[Any, Any]) -> str:
    """Return what a call that does not fit may have meant; "" if that is not known."""
    names, first = signature.parameters, next(iter(signature.parameters), "")
    if other := next((name for name in kwargs if not isinstance(name, str)), None):
        return f". A keyword argument is named by a text, not by {short_repr(other)}"
    if unknown := next((name for name in kwargs if name not in names), ""):
        if unknown in OPTIONS:
            return f". {unknown} is an option: using({unknown}=…).enqueue(…)"
        return f". No parameter is named {unknown!r}. {nearest(unknown, names)}"
    return ". To get the context as self, decorate with bind=True" if first == "self" else ""


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


def value_of(bound: BoundArguments, name: str) -> Any:
    """Return the argument of this name, or its default; None if there is none."""
    return _named(bound).get(name)


def unique_key(task: RetryTask[..., Any], bound: BoundArguments) -> UUID:
    """Return a digest of the function's path and of what makes its Task unique.

    Raises:
        TypeError, ValueError: as :func:`stored`.
    """
    named = _named(bound)
    if callable(task.unique):
        text = _made_text(task.unique, named, owner=task.name)
    elif isinstance(task.unique, str):
        text = _canonical(named.get(task.unique))
    else:
        text = "\n".join(f"{name}={_canonical(named[name])}" for name in sorted(named))
    return digest_id(f"{task.module_path}\n{text}".encode(errors="surrogatepass"))


def _named(bound: BoundArguments) -> dict[str, Any]:
    """Return the arguments and the defaults by the names of the parameters."""
    bound.apply_defaults()
    return {**bound.kwargs, **bound.arguments}


def _made_text(make: Callable[[Mapping[str, Any]], str], named: Any, *, owner: str) -> str:
    try:
        text = make(named)
    except Exception as error:
        raise ValueError(f"{owner}(): unique raised {type(error).__name__}") from error
    if not isinstance(text, str):
        raise TypeError(f"{owner}(): unique must return a text, not a {type(text).__name__}")
    if not text:
        raise ValueError(f"{owner}(): unique returned an empty text")
    return text


def _canonical(value: Any) -> str:
    """Return a value as text, whatever the order in mappings; "" for what cannot be stored.

    Only a default cannot: no call can pass it.
    """
    try:
        plain = json.loads(codec.dumps(value), object_hook=_in_order)
        return json.dumps(plain, sort_keys=True)
    except codec.NotStorable:
        return ""


def _in_order(plain: dict[str, Any]) -> dict[str, Any]:
    """Sort the pairs of a mapping that the codec stores as a list."""
    return {**plain, "value": sorted(plain["value"])} if plain.get(codec.TAG) == "dict" else plain


def as_search_key(value: Any) -> str:
    """Return a value as text of at most 100 characters; "" for None and for containers.

    A container may hold secrets.
    """
    text = _as_text(value)[:SEARCH_KEY_LENGTH]
    # Escaping the characters that a database refuses may have lengthened the text.
    return storable(text, 10 * SEARCH_KEY_LENGTH)[:SEARCH_KEY_LENGTH]


def as_breaker_key(value: Any) -> str:
    """Return a value as text of at most 100 characters; of a longer text the end is a digest.

    "" for None and for containers.
    """
    text = _as_text(value)
    key = storable(text, LARGEST)
    if len(key) <= BREAKER_KEY_LENGTH:
        return key
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:DIGITS]
    return f"{key[: BREAKER_KEY_LENGTH - DIGITS - 1]} {digest}"


def _as_text(value: Any) -> str:
    return "" if value is None or isinstance(value, dict | list | tuple) else str(value).strip()


def _positional_names(signature: Signature) -> Iterator[str]:
    for parameter in signature.parameters.values():
        if parameter.kind is Parameter.VAR_POSITIONAL:
            yield from (f"{parameter.name}[{index}]" for index in count())
        yield parameter.name
