"""Find texts in another text in any spelling.

Spellings are: plain; percent-encoded with any safe set; escaped for HTML; quoted by Python or JSON,
once or several times, as text or as bytes. Both sides are folded: all spellings of a character
become one. Texts are UTF-8 with lone surrogates.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import cached_property, partial

Span = tuple[int, int]
"""Start and end of a part of a text, in bytes."""
Edge = tuple[int, int, int]
"""Start and end of an escape, and the number of bytes it is folded to."""
Layer = tuple[bytes, Sequence[Edge]]
"""A text with its escapes folded once, and the edges of these escapes."""

ESCAPE = re.compile(
    rb"""
    \\+ (?: u(?P<high>d[89ab][\da-f]{2}) \\+ u(?P<low>d[c-f][\da-f]{2})
        | (?-i:U)(?P<long>[\da-f]{8}) | u(?P<code>[\da-f]{4}) | x(?P<byte>[\da-f]{2})
        )?
    | %(?:25)*(?P<percent>[\da-f]{2})
    | &(?:amp;)*
        (?: (?P<name>amp|lt|gt|quot|apos) | \#(?P<decimal>\d{1,7}) | \#x(?P<hex>[\da-f]{1,6}) ) ;
    """,
    re.IGNORECASE | re.VERBOSE,
)
NAMES = {b"amp": b"&", b"lt": b"<", b"gt": b">", b"quot": b'"', b"apos": b"'"}
# Folding drops backslashes, so a newline becomes the letter of its escape; a plus may be a blank.
LETTERS = bytes.maketrans(b"\a\b\t\n\v\f\r+", b"abtnvfr ")
# Most layers of escapes to fold; repetitions of one kind, such as repr(repr()), are one layer.
LAYERS = 4
# From so many texts on, texts with a part that occurs nowhere are skipped.
MANY = 50
PART = 4


class Reading:
    """A text with its escapes folded, layer by layer; unchanged without layers."""

    def __init__(
        self, text: bytes, layers: Sequence[Layer] = (), fold: Callable[[bytes], bytes] = bytes
    ) -> None:
        self._text = text
        self._layers = layers
        self._fold = fold
        self._folded = layers[-1][0] if layers else text

    def find(self, wanted: Iterable[bytes]) -> Iterator[Span]:
        """Yield the places of these texts; of two overlapping texts only the longer."""
        rest = bytearray(self._folded)
        for text, spelled in self._folded_targets(wanted):
            at = rest.find(text)
            while at >= 0:
                after = at + len(text)
                start, end = self._span(at, after, spelled)
                if end - start >= len(spelled):
                    yield start, end
                    rest[at:after] = bytes(len(text))
                at = rest.find(text, after)

    def beside(self, gap: Span, count: int) -> tuple[Span, Span]:
        """Return the spans of the last ``count`` bytes before a gap and the first after it."""
        first = bisect_left(self._starts, gap[0]) - count
        beyond = bisect_left(self._starts, gap[1]) + count
        start = self._starts[first] if first > 0 else 0
        end = self._starts[beyond] if beyond < len(self._starts) else len(self._text)
        return (start, gap[0]), (gap[1], max(end, gap[1]))

    @cached_property
    def _starts(self) -> list[int]:
        """Return, for each byte of the folded text, the start of its spelling."""
        return _carried(list(range(len(self._text))), self._layers, first=True)

    @cached_property
    def _ends(self) -> list[int]:
        return _carried(list(range(1, len(self._text) + 1)), self._layers, first=False)

    def _span(self, at: int, after: int, spelled: bytes) -> Span:
        """Return the span of a part of the folded text, with backslashes around it if spelled."""
        start, end = self._starts[at], self._ends[after - 1]
        if self._layers and spelled.startswith(b"\\"):
            start = self._ends[at - 1] if at else 0
        if self._layers and spelled.endswith(b"\\"):
            end = self._starts[after] if after < len(self._starts) else len(self._text)
        return start, end

    def _folded_targets(self, wanted: Iterable[bytes]) -> list[tuple[bytes, bytes]]:
        """Return pairs of a folded text to find and its original, the longest first."""
        # A spelling is never shorter than its text.
        targets = {self._fold(text): text for text in wanted if len(text) <= len(self._text)}
        targets.pop(b"", None)
        if len(targets) >= MANY:
            parts = {self._folded[at : at + PART] for at in range(len(self._folded))}
            targets = {fold: text for fold, text in targets.items() if _is_made_of(parts, fold)}
        return sorted(targets.items(), key=lambda item: len(item[0]), reverse=True)


def readings(text: bytes) -> Iterator[Reading]:
    """Yield a text unchanged, and folded twice: ``\\xe9`` as a character and as a byte."""
    yield Reading(text)
    for is_bytewise in (False, True):
        layers = list(_layers(text, is_bytewise))
        yield Reading(text, layers, partial(_folded, is_bytewise=is_bytewise))


def _is_made_of(parts: Collection[bytes], text: bytes) -> bool:
    """Whether all parts of a text are among these, so that it may occur in their text."""
    return all(text[at : at + PART] in parts for at in range(0, len(text) - PART + 1, PART))


def _folded(text: bytes, is_bytewise: bool) -> bytes:
    return list(_layers(text, is_bytewise))[-1][0]


def _layers(text: bytes, is_bytewise: bool) -> Iterator[Layer]:
    """Yield a text with its escapes folded, one layer after another, until none is left."""
    for _ in range(LAYERS):
        edges: list[Edge] = []

        def fold(escape: re.Match[bytes], edges: list[Edge] = edges) -> bytes:
            unescaped = _unescaped(escape, is_bytewise)
            edges.append((*escape.span(), len(unescaped)))
            return unescaped

        before, text = text, ESCAPE.sub(fold, text).translate(LETTERS)
        yield text, edges
        if text == before:
            return


def _carried(places: list[int], layers: Iterable[Layer], *, first: bool) -> list[int]:
    """Return the place of each byte of the folded text.

    Args:
        places: the starts, or the ends, of each byte of the text.
        layers: from :func:`_layers`.
        first: whether a folded escape has the place of its first byte; else of its last.
    """
    for _, edges in layers:
        carried: list[int] = []
        done = 0
        for start, end, size in edges:
            carried += places[done:start]
            carried += [places[start if first else end - 1]] * size
            done = end
        places = carried + places[done:]
    return places


def _unescaped(escape: re.Match[bytes], is_bytewise: bool) -> bytes:
    """Return the bytes that an escape encodes; b"" for backslashes; an invalid one unchanged."""
    kind = escape.lastgroup
    if kind is None:
        return b""
    value = escape[kind]
    if kind == "name":
        return NAMES[value.lower()]
    number = int(value, 10 if kind == "decimal" else 16)
    if kind == "percent" or (kind == "byte" and is_bytewise):
        return bytes([number])
    if kind == "low":
        high = int(escape["high"], 16)
        number = 0x10000 + ((high - 0xD800) << 10) + (number - 0xDC00)
    return chr(number).encode("utf-8", "surrogatepass") if number <= 0x10FFFF else escape[0]
