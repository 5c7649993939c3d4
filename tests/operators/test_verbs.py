"""The table of an operator's verbs, and what derives from it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from django.contrib.admin import site
from django.contrib.auth.models import User
from django.http import HttpRequest

from django_retrytasks.admin import TaskAdmin
from django_retrytasks.models import Operation, Task
from django_retrytasks.operators import verbs
from django_retrytasks.operators.verbs import VERBS, Verb


def test_models_have_the_name_of_each_verb_and_the_permission_to_do_it() -> None:
    codenames = [codename for codename, _ in Task._meta.permissions]

    assert list(VERBS) == Operation.VerbName.values
    assert [f"{verb.slug}_task" for verb in VERBS.values()] == codenames[: len(VERBS)]


def test_a_verb_that_is_none_is_refused_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"there is no verb 'SNOZE'\. Did you mean \"SNOOZE\"\?"):
        verbs.find("SNOZE")


@pytest.fixture(scope="module")
def sixth() -> dict[str, Any]:
    """What a site shows whose table has one more entry."""
    run = subprocess.run(
        [sys.executable, "-m", "tests.operators.sixth_verb"],
        capture_output=True,
        text=True,
        check=True,
    )
    shown: dict[str, Any] = json.loads(run.stdout)
    return shown


class TestSixthVerb:
    def test_is_an_action_for_those_with_its_permission(self, sixth: dict[str, Any]) -> None:
        assert sixth["actions"] == ["promote"]
        assert sixth["permissions"] == [False, True]

    def test_has_a_button_and_a_page_that_asks_and_does_it(self, sixth: dict[str, Any]) -> None:
        assert (sixth["button"], sixth["asked"], sixth["done"]) == (True, True, True)

    def test_is_a_subcommand(self, sixth: dict[str, Any]) -> None:
        assert "    promote " in sixth["help"]
        assert "Pending Tasks overtake others." in sixth["help"]
        assert sixth["command"] == "1 promoted, 0 skipped"
        assert sixth["priorities"] == [7, 7]

    def test_is_done_by_an_operation(self, sixth: dict[str, Any]) -> None:
        assert sixth["operation"] == [2, "PROMOTE"]


class Reluctant(TaskAdmin):
    def has_redrive_permission(self, request: HttpRequest) -> bool:
        return False


class Lenient(TaskAdmin):
    def has_verb_permission(self, request: HttpRequest, verb: Verb) -> bool:
        return verb.name == "SNOOZE" or super().has_verb_permission(request, verb)


class TestPermissionMethods:
    def test_one_verb_is_refused_by_its_own_method(self) -> None:
        request: Any = HttpRequest()
        request.user = User(is_superuser=True, is_active=True)
        pages = Reluctant(Task, site)

        allowed = [verb.slug for verb in VERBS.values() if pages.may(request, verb)]

        assert allowed == ["run_now", "snooze", "discard", "cancel"]

    @pytest.mark.django_db
    def test_all_verbs_ask_one_method(self) -> None:
        request: Any = HttpRequest()
        request.user = User.objects.create_user("ada")
        pages: Any = Lenient(Task, site)

        assert pages.has_snooze_permission(request)
        assert not pages.has_discard_permission(request)
