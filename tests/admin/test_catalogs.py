"""The catalogs of translated texts against the sources."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from io import BytesIO

import pytest
from babel.messages.extract import DEFAULT_KEYWORDS, extract
from babel.messages.mofile import read_mo, write_mo
from django.utils.translation.template import templatize

from django_retrytasks.models import Operation, Status
from tests.admin.catalogs import COMPLETE, PACKAGE, PLACEHOLDER, Key, catalog, entries, listed

PARTIAL = ("ar",)
KEYWORDS = {
    **DEFAULT_KEYWORDS,
    "gettext_lazy": None,
    "gettext_noop": None,
    "ngettext_lazy": (1, 2),
    "pgettext_lazy": ((1, "c"), 2),
    "npgettext_lazy": ((1, "c"), 2, 3),
}


def in_sources() -> set[Key]:
    """Return the texts that are marked in the package's modules and templates."""
    found: set[Key] = set()
    for path in sorted(PACKAGE.rglob("*")):
        if path.suffix == ".py":
            found |= set(_marked(path.read_bytes()))
        elif "templates" in path.parts and path.is_file():
            # On one line it has no indentation that a tokenizer could refuse.
            line = " ".join(templatize(path.read_text()).split("\n")).strip()
            found |= set(_marked(line.encode()))
    return found


def _marked(source: bytes) -> Iterator[Key]:
    for _line, text, _comments, context in extract("python", BytesIO(source), keywords=KEYWORDS):
        yield context, listed(text)[0]


class TestCatalogs:
    @pytest.mark.parametrize("language", [*COMPLETE, *PARTIAL])
    def test_have_the_texts_of_the_sources_and_no_others(self, language: str) -> None:
        marked, known = in_sources(), set(entries(catalog(language)))

        assert len(marked) > 400
        assert (sorted(map(str, marked - known)), sorted(map(str, known - marked))) == ([], [])

    @pytest.mark.parametrize("language", COMPLETE)
    def test_of_german_and_chinese_leave_nothing_out(self, language: str) -> None:
        pairs = entries(catalog(language))

        assert [english for english, words in pairs.values() if not all(words)] == []

    def test_of_arabic_have_what_the_list_says(self) -> None:
        pairs = entries(catalog("ar"))
        needed: list[Key] = [
            (None, str(label)) for label in [*Status.labels, *Operation.VerbName.labels]
        ]

        assert [key for key in needed if not all(pairs[key][1])] == []

    @pytest.mark.parametrize("language", [*COMPLETE, *PARTIAL])
    def test_have_nothing_fuzzy_and_nothing_obsolete(self, language: str) -> None:
        read = catalog(language)

        assert [message.id for message in read if message.fuzzy] == []
        assert list(read.obsolete) == []

    @pytest.mark.parametrize("language", [*COMPLETE, *PARTIAL])
    def test_have_the_plural_forms_of_their_language(self, language: str) -> None:
        read = catalog(language)
        forms = {"de": 2, "zh_Hans": 1, "ar": 6}[language]

        plural = [message for message in read if not isinstance(message.id, str)]

        assert plural
        assert read.num_plurals == forms
        assert {len(listed(message.string)) for message in plural} == {forms}

    @pytest.mark.parametrize("language", [*COMPLETE, *PARTIAL])
    def test_keep_the_placeholders(self, language: str) -> None:
        wrong = [
            words
            for english, translated in entries(catalog(language)).values()
            for words in translated
            if words and sorted(PLACEHOLDER.findall(words)) not in _placeholders(english)
        ]

        assert wrong == []

    @pytest.mark.parametrize("language", [*COMPLETE, *PARTIAL])
    def test_are_compiled(self, language: str) -> None:
        written, compiled = catalog(language), BytesIO()
        for message in list(written):
            if not all(listed(message.string)):
                written.delete(message.id, message.context)
        write_mo(compiled, written)
        compiled.seek(0)

        assert entries(catalog(language, "mo")) == entries(read_mo(compiled))


def _placeholders(english: Iterable[str]) -> list[list[str]]:
    return [sorted(PLACEHOLDER.findall(text)) for text in english]
