"""The catalogs of translated texts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from babel.messages.catalog import Catalog
from babel.messages.mofile import read_mo
from babel.messages.pofile import read_po

import django_retrytasks

PACKAGE = Path(django_retrytasks.__file__).parent
COMPLETE = ("de", "zh_Hans")
PLACEHOLDER = re.compile(r"%\(\w+\)[a-z]|%%|%[a-z]")

Key = tuple[str | None, str]
"""A text's context and its English, in the singular."""


def catalog(language: str, kind: str = "po") -> Catalog:
    path = PACKAGE / "locale" / language / "LC_MESSAGES" / f"django.{kind}"
    with path.open("rb") as file:
        read: Catalog = read_po(file, locale=language) if kind == "po" else read_mo(file)
    return read


def entries(of: Catalog) -> dict[Key, tuple[list[str], list[str]]]:
    """Return the English and the translations of each entry, its plural forms among them."""
    return {
        (message.context, listed(message.id)[0]): (listed(message.id), listed(message.string))
        for message in of
        if message.id
    }


def listed(text: Any) -> list[str]:
    return [text] if isinstance(text, str) else list(text)
