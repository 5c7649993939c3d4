"""A secret is found in a text however it is written there."""

from __future__ import annotations

import html
import json
import re
import string
import time
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from django_retrytasks import retry_task
from django_retrytasks.errors.reports import MESSAGE_LIMIT, TRACEBACK_LIMIT, storable
from django_retrytasks.tasks.redaction import secrets_of, without
from tests.support.driver import Driver
from tests.tasks.secret_arguments import STARS, refund, row

Spell = Callable[[str], str]

SPELLINGS: dict[str, Spell] = {
    "as it is": str,
    "repr": repr,
    "repr of repr": lambda text: repr(repr(text)),
    "repr thrice": lambda text: repr(repr(repr(text))),
    "repr beside an apostrophe": lambda text: repr([f"'{text}", f'"{text}', f"'\"{text}"]),
    "ascii": ascii,
    "repr of ascii": lambda text: repr(ascii(text)),
    "bytes": lambda text: repr(text.encode()),
    "repr of bytes": lambda text: repr(repr(text.encode())),
    "latin-1": lambda text: repr(text.encode("latin-1", "replace")) + f" {text}",
    "json": json.dumps,
    "readable json": lambda text: json.dumps(text, ensure_ascii=False),
    "json of json": lambda text: json.dumps(json.dumps(text)),
    "json of repr": lambda text: json.dumps(repr(text)),
    "slashes of json escaped": lambda text: json.dumps(text).replace("/", r"\/"),
    "quote": quote,
    "quote of all": lambda text: quote(text, safe=""),
    "quote of quote": lambda text: quote(quote(text, safe=""), safe=""),
    "quote in lower case": lambda text: re.sub(
        "%..", lambda escape: escape[0].lower(), quote(text, safe="")
    ),
    "quote plus": quote_plus,
    "each byte quoted": lambda text: "".join(f"%{byte:02x}" for byte in text.encode()),
    "html": html.escape,
    "html without quotes": lambda text: html.escape(text, quote=False),
    "html of html": lambda text: html.escape(html.escape(text)),
    "numbers of html": lambda text: "".join(f"&#{ord(each)};" for each in text),
    "html of repr": lambda text: html.escape(repr(text)),
    "html of json": lambda text: html.escape(json.dumps(text)),
    "json of html": lambda text: json.dumps(html.escape(text)),
    "quote of json": lambda text: quote(json.dumps(text), safe=""),
    "json of quote": lambda text: json.dumps(quote(text, safe="")),
    "repr of html of quote": lambda text: repr(html.escape(quote(text, safe="'&"))),
}
# What remains of what was around a secret.
QUOTES = re.compile(
    r"""(?: [][,b'"\\\s] | %(?:25)*(?:22|27|5C|20) | &(?:amp;)*(?:quot|\#x27|\#39); )*""",
    re.VERBOSE | re.IGNORECASE,
)
secret_texts = (
    st.text(min_size=4) | st.text(alphabet="aé注😀 +%&<>'\"\\/\n\t\0\x1b\x85;#x25nu0", min_size=4)
).map(str.strip)


@retry_task(sensitive=("value",), max_retries=0)
def quotes(how: str, value: str) -> None:
    raise ValueError(f"refused: {SPELLINGS[how](value)}")


def told(text: str, *secrets: str) -> str:
    """Return a text as it is recorded, these being the hidden arguments."""
    return without(text, secrets_of(row(refund, 7, list(secrets))))


class TestASecret:
    @example("hunter2's own")
    @example('a "quoted" \\ and\nbroken\tline')
    @example("über注😀 <b>&amp;</b> 50%25 +1")
    @example("\\\\server\\share$\\x41\\u0041")
    @example("\\\\\\a b")
    @example("0%\x080 &\x07mp;")
    @given(secret_texts)
    @pytest.mark.parametrize("how", SPELLINGS)
    def test_is_replaced_whole_however_it_is_spelled(self, how: str, secret: str) -> None:
        assume(len(secret) >= 4)
        # Of backslashes alone nothing is left to be found by; a plus may be a blank around it.
        assume(secret.strip("\\+ "))
        # Nor is it looked for in the words around it, and in the quotes that spell it.
        around = [f"before {quotes} after" for quotes in ("", '""', "''", "\"'", "'\"")]
        assume(all(told(text, secret) == text for text in around))

        text = told(f"before {SPELLINGS[how](secret)} after", secret)

        assert STARS in text
        middle = text.removeprefix("before ").removesuffix(" after")
        # One of quotes and blanks alone may be seen in those around it.
        if how != "latin-1" and any(map(str.isalnum, secret)):
            assert QUOTES.fullmatch(middle.replace(STARS, "")), text

    @given(secret_texts, st.sets(st.sampled_from(string.punctuation + "é 注")))
    def test_is_replaced_in_a_url_whatever_is_safe(self, secret: str, safe: set[str]) -> None:
        assume(len(secret) >= 4)
        assume(secret.strip("\\"))
        assume(told("GET /find?q=!&n=1", secret) == "GET /find?q=!&n=1")
        quoted = quote(secret, safe="".join(each for each in safe if each.isascii()))

        assert told(f"GET /find?q={quoted}&n=1", secret) == f"GET /find?q={STARS}&n=1"

    @pytest.mark.parametrize(
        ("secret", "spelled"),
        [
            ("p@ss word/é", "p%40ss%20word%2F%C3%A9"),
            ("p@ss word/é", "p@ss+word/%c3%a9"),
            ("it's <b>", "it&#x27;s &lt;b&gt;"),
            ("it's <b>", "it&#39;s &#60;b&#x3E;"),
            ("it's", r"it\\\'s"),
            ("größe", r"gr\xc3\xb6\xc3\x9fe"),
            ("größe", r"gr\xf6\xdfe"),
            ("größe", r"gr\\u00f6\\u00DFe"),
            ("a 😀 face", r"a \ud83d\ude00 face"),
            ("a 😀 face", r"a \U0001f600 face"),
            ("a 😀 face", r"a \xf0\x9f\x98\x80 face"),
            (" \n hunter2\t ", "hunter2"),
            ("a\nkey\n in lines", r"a\nkey\n in lines"),
            ("tab\tand\0nul", r"tab\tand\x00nul"),
        ],
    )
    def test_is_found_as_others_write_it(self, secret: str, spelled: str) -> None:
        assert told(f"<{spelled}>", secret) == f"<{STARS}>"

    @pytest.mark.parametrize("before", ["C:\\", "%", "50%", "&#x", "\\x", "\\u00", "&", "é"])
    @pytest.mark.parametrize("secret", ["nancy's key", "41deadbeef", "xe9abcdef", "u0041u0041"])
    def test_is_found_after_what_looks_like_an_escape(self, before: str, secret: str) -> None:
        assert secret not in told(f"{before}{secret} refused", secret)

    def test_is_found_beside_others_each_with_stars_of_its_own(self) -> None:
        text = told("it%27s+me it's me hunter2hunter2", "it's me", "hunter2")

        assert text == f"{STARS} {STARS} {STARS}{STARS}"

    @pytest.mark.parametrize(
        ("secret", "text"),
        [
            ("a\\bc", "abc is shorter than the secret"),
            ("hunter2", "hunter 2, %68unter, hunter&#51;"),
            ("50 % off", "50 off"),
        ],
    )
    def test_is_not_seen_where_it_is_not(self, secret: str, text: str) -> None:
        assert told(text, secret) == text

    def test_a_text_around_it_stays_as_it_is(self) -> None:
        around = 'File "C:\\new\\x41.py", 100%25 &amp; \\"ü\\" é %zz &#9999999; \\ud800 '

        assert told(f"{around}hunter2{around}", "hunter2") == f"{around}{STARS}{around}"


@pytest.mark.django_db
class TestAnAttempt:
    @pytest.mark.parametrize("how", SPELLINGS)
    def test_records_no_spelling_of_a_secret(self, driver: Driver, how: str) -> None:
        result = quotes.enqueue(how, '  it\'s a <größe> & "hunter2" +\n')

        driver.attempt(result)

        [attempt] = driver.attempts(result)
        assert attempt.exception_message.startswith("refused: ")
        assert STARS in attempt.exception_message
        assert "hunter2" not in attempt.exception_message + attempt.traceback
        assert "gr" not in attempt.exception_message


class TestALongText:
    @pytest.mark.parametrize("how", ["quote of all", "json", "bytes", "numbers of html", "html"])
    def test_keeps_no_half_of_a_secret_beside_its_gap(self, how: str) -> None:
        secret = "ÄÖÜ<ABCDEFGHIJKLMNOPQRSTUVWXYZ>äöü"
        spelled = SPELLINGS[how](secret).strip("b'\"")
        halved = 0
        for beside in range(1800, 2300, 3):
            for parts in ((beside, 5000), (5000, beside)):
                cut = storable(spelled.join("." * times for times in parts), MESSAGE_LIMIT)
                halved += spelled not in cut and bool(re.search(r"[^.]\n\[|\]\n[^.]", cut))

                rest = told(cut, secret)

                before, after = re.split(r"\n\[\.\.\. \d+ characters left out \.\.\.\]\n", rest)
                assert set(before + after) <= {".", "*"}
        assert halved

    @given(st.text(), st.lists(st.text(min_size=4), min_size=1), st.integers(0, 100))
    def test_never_raises_and_stays_text(self, text: str, secrets: list[str], at: int) -> None:
        cut = f"{text[:at]}\n[... 12 characters left out ...]\n{text[at:]}\ud83d"

        assert "characters left out" in without(cut, secrets)


class TestTime:
    """All of it takes a time that grows as the texts do: seconds of a processor."""

    LIMIT = 10.0

    @pytest.mark.parametrize(
        "secrets",
        [
            ["x" * 60_000],
            ["é%20\\'&" * 7_000],
            ["%25" * 20_000],
            ["&amp;" * 12_000],
            ["\\" * 60_000],
            ["%25" * 300_000],
            [f"the key of {number}" for number in range(50_000)],
            [f"{number:04}" for number in range(10_000)],
            ["a" * number for number in range(4, 1_400)],
        ],
        ids=lambda secrets: f"{len(secrets)} of {secrets[0][:8]!r}",
    )
    @pytest.mark.parametrize(
        "text", ["a", "%25", "&amp;", "\\", "\\u", "the key of ", "0123456789 ", "é'<\\x"]
    )
    def test_is_bounded_for_many_and_long_secrets(self, secrets: list[str], text: str) -> None:
        long = (text * TRACEBACK_LIMIT)[:TRACEBACK_LIMIT]
        begun = time.process_time()

        without(long, secrets)

        assert time.process_time() - begun < self.LIMIT
