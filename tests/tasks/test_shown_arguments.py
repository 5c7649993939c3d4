"""Secrets among the arguments are not shown."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from django.views import debug
from hypothesis import example, given
from hypothesis import strategies as st

from django_retrytasks.errors.reports import report
from django_retrytasks.models import Encoded, Task
from django_retrytasks.tasks.redaction import secrets_of, shown_arguments, without
from tests.support.driver import Driver
from tests.tasks.secret_arguments import SECRET, STARS, raises, refund, row, takes_any

SITE = f"{__name__}.SiteFilter"
FOREIGN = f"{__name__}.ForeignFilter"


class SiteFilter(debug.SafeExceptionReporterFilter):
    """A site's own, as Django's documentation has it."""

    hidden_settings = re.compile("^order_id$")
    cleansed_substitute = "[hidden]"


class ForeignFilter:
    """One that is no subclass of Django's and has none of its attributes."""


@pytest.fixture
def use_filter(settings: Any) -> Iterator[Callable[[str], None]]:
    """Set DEFAULT_EXCEPTION_REPORTER_FILTER, which Django reads once for a process."""

    cached: Any = debug.get_default_exception_reporter_filter

    def use(path: str) -> None:
        settings.DEFAULT_EXCEPTION_REPORTER_FILTER = path
        cached.cache_clear()

    yield use
    cached.cache_clear()


class TestShownArguments:
    def test_sensitive_ones_are_hidden_however_they_were_passed(self) -> None:
        hidden = {"order_id": 7, "iban": STARS}

        assert shown_arguments(row(refund, 7, SECRET)) == hidden
        assert shown_arguments(row(refund, 7, iban={"of": [SECRET]})) == hidden

    def test_sensitive_names_count_at_any_depth_and_for_any_kind_of_parameter(self) -> None:
        nested = row(refund, 7, note=[{"iban": SECRET, "n": 1}], more={"deep": {"iban": SECRET}})
        of_any = row(takes_any, 1, SECRET, SECRET, pin=SECRET, other=2)

        assert shown_arguments(nested) == {
            "order_id": 7,
            "note": [{"iban": STARS, "n": 1}],
            "more": {"more": {"deep": {"iban": STARS}}},
        }
        assert shown_arguments(of_any) == {
            "first": 1,
            "rest": STARS,
            "named": {"pin": STARS, "other": 2},
        }

    def test_names_that_a_pattern_of_the_site_is_found_in_are_hidden(self, settings: Any) -> None:
        settings.RETRYTASKS = {"REDACT": ["^order", "TE$"]}

        shown = shown_arguments(row(refund, 7, note="n", x={"my_order": 1, "ORDER": 2}))

        assert shown == {
            "order_id": STARS,
            "note": STARS,
            "more": {"x": {"my_order": 1, "ORDER": STARS}},
        }

    @pytest.mark.parametrize("name", ["api_url", "Authorization", "csrf_token", "user_password"])
    def test_names_that_django_hides_are_hidden(self, name: str) -> None:
        shown = shown_arguments(row(refund, 7, note=[{name: SECRET, "n": 1}], **{name: SECRET}))

        assert shown == {
            "order_id": 7,
            "note": [{name: STARS, "n": 1}],
            "more": {name: STARS},
        }

    def test_the_sites_own_filter_is_asked(self, use_filter: Callable[[str], None]) -> None:
        use_filter(SITE)

        shown = shown_arguments(row(refund, 7, note={"token": 1}))

        assert shown == {"order_id": "[hidden]", "note": {"token": 1}}

    def test_djangos_rules_hold_where_the_sites_filter_has_none(
        self, use_filter: Callable[[str], None]
    ) -> None:
        use_filter(FOREIGN)

        assert shown_arguments(row(refund, 7, note={"token": 1}))["note"] == {"token": STARS}

    def test_where_the_code_is_gone_every_one_is_hidden(self) -> None:
        gone = row(SimpleNamespace(module_path="gone.tasks.refund"), 7, SECRET, iban=SECRET, note=1)

        shown = shown_arguments(gone)

        assert shown == {"args[0]": STARS, "args[1]": STARS, "iban": STARS, "note": STARS}

    def test_where_the_code_takes_other_arguments_now_sensitive_names_count_still(self) -> None:
        changed = row(raises, "a", "b", "c", value=SECRET, other=1)

        shown = shown_arguments(changed)

        assert shown == {f"args[{index}]": STARS for index in range(3)} | {
            "value": STARS,
            "other": 1,
        }

    def test_a_definition_that_the_caller_has_is_not_looked_up(self) -> None:
        gone = row(SimpleNamespace(module_path="gone.tasks.refund"), 7, SECRET)

        assert shown_arguments(gone, refund) == {"order_id": 7, "iban": STARS}

    @pytest.mark.parametrize("patterns", [["("], [1], 7])
    def test_all_are_hidden_where_the_sites_patterns_are_wrong(
        self, settings: Any, patterns: Any
    ) -> None:
        settings.RETRYTASKS = {"REDACT": patterns}
        task = row(refund, "the order", note=[SECRET])

        assert shown_arguments(task) == {"order_id": STARS, "note": STARS}
        assert set(secrets_of(task)) >= {"the order", SECRET}

    def test_all_are_hidden_where_the_sites_filter_cannot_be_imported(
        self, use_filter: Callable[[str], None]
    ) -> None:
        use_filter("gone.Filter")

        assert shown_arguments(row(refund, 7)) == {"order_id": STARS}

    @pytest.mark.django_db
    @pytest.mark.parametrize("field", ["args", "kwargs"])
    @pytest.mark.parametrize("text", ["no JSON", "7"])
    def test_what_is_not_readable_is_not_shown(self, driver: Driver, field: str, text: str) -> None:
        result = refund.enqueue(7, SECRET)
        Task.objects.filter(pk=result.id).update(**{field: Encoded(text)})

        assert shown_arguments(driver.row(result)) == {}
        assert secrets_of(driver.row(result)) == []


class TestSecrets:
    def test_are_the_hidden_values_the_longest_first(self) -> None:
        task = row(refund, 7, [SECRET, {"of": f"{SECRET}-and-more"}], password="hunter2")

        assert secrets_of(task) == [f"{SECRET}-and-more", SECRET, "hunter2"]

    @pytest.mark.parametrize("value", [123, "abc", " \n  \t ", True, False, None, [], {}, "é"])
    def test_are_not_what_would_mangle_everything(self, value: Any) -> None:
        assert secrets_of(row(refund, 7, [value])) == []

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (1234, "at 1234 €"),
            (12.34, "at 12.34 €"),
            (Decimal("12.340"), "Decimal('12.340')"),
            (date(2026, 1, 2), "on 2026-01-02"),
            (datetime(2026, 1, 2, tzinfo=UTC), "at 2026-01-02T00:00:00+00:00"),
            (datetime(2026, 1, 2, tzinfo=UTC), "at 2026-01-02 00:00:00+00:00"),
            (datetime(2026, 1, 2), "at datetime.datetime(2026, 1, 2, 0, 0)"),
            (UUID(int=7), "of 00000000-0000-0000-0000-000000000007"),
            (UUID(int=7), "of 00000000000000000000000000000007"),
        ],
    )
    def test_may_be_of_any_type_that_can_be_stored(self, value: Any, text: str) -> None:
        told = without(text, secrets_of(row(refund, 7, value)))

        assert STARS in told
        assert not any(digit in told for digit in "1234567")

    @given(st.text(min_size=4).filter(lambda text: len(text.strip()) >= 4))
    def test_are_found_however_a_text_may_quote_them(self, value: str) -> None:
        secrets = secrets_of(row(refund, 7, value))

        for spell in (str, repr, json.dumps):
            for quoted in (value, f"'{value}\"", [value], {"of": value}):
                text = f"before {spell(quoted)} after"
                inner = spell(value)[1:-1] if spell is not str else value
                rest = without(text, secrets)
                assert rest.startswith("before ")
                assert rest.endswith(" after")
                assert inner not in rest.replace(STARS, "")

    @example("one half \ud83d of a character")
    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        )
    )
    def test_can_be_found_in_any_value(self, value: Any) -> None:
        secrets = secrets_of(row(refund, 7, value))

        assert secrets == sorted(secrets, key=len, reverse=True)
        assert without("", secrets) == ""


class TestWithout:
    def test_leaves_a_text_alone_that_quotes_no_secret(self) -> None:
        assert without("nothing \0 to see", []) == "nothing \0 to see"
        assert without("nothing to see", [SECRET]) == "nothing to see"

    def test_hides_the_longer_of_two_where_one_is_in_the_other(self) -> None:
        secrets = secrets_of(row(refund, 7, ["hunter", "hunter2-and-more"]))

        told = without("hunter2-and-more, hunter, hunter2", secrets)

        assert told == f"{STARS}, {STARS}, {STARS}2"

    def test_uses_the_sites_own_substitute(self, use_filter: Callable[[str], None]) -> None:
        use_filter(SITE)

        assert without(f"not {SECRET}", [SECRET]) == "not [hidden]"

    def test_uses_djangos_where_the_sites_filter_cannot_be_imported(
        self, use_filter: Callable[[str], None]
    ) -> None:
        use_filter("gone.Filter")

        assert without(f"not {SECRET}", [SECRET]) == f"not {STARS}"

    @pytest.mark.parametrize("around", ["x", "é", "\0"])
    def test_leaves_no_half_of_a_secret_beside_the_gap_of_a_long_text(self, around: str) -> None:
        secret = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
        halved = 0
        for beside in range(0, 2200, 7):
            for parts in ((beside, 5000), (5000, beside)):
                message = secret.join(around * times for times in parts)
                cut = report(ValueError(message)).message
                halved += secret not in cut and not set(secret).isdisjoint(cut)
                told = without(cut, [secret])
                assert set(secret).isdisjoint(told)
                assert "characters left out" in told
        assert halved
