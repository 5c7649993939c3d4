"""The code of the README and of the documentation runs, and does what they say."""

from __future__ import annotations

import re
import unittest
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from django.core import mail
from django.test import RequestFactory
from django.utils.module_loading import import_string
from pytest_django import Settings
from standardwebhooks import Webhook

from django_retrytasks import Cancelled
from django_retrytasks.models import Attempt, Status, Task
from django_retrytasks.policy import StopReason
from tests.docs.book import (
    DOCS,
    IDS,
    PAGES,
    README,
    ROOT,
    NewBook,
    run_to_the_end,
    settings_of,
    table_after,
)
from tests.docs.fences import blocks
from tests.support.http_receiver import receiving

# Their code runs in tests of their own.
APART = (DOCS / "tutorial" / "first-task.md", DOCS / "how-to" / "testing.md")


class TestCode:
    @pytest.mark.django_db
    @pytest.mark.parametrize(
        "page",
        [page for page in PAGES if page not in APART],
        ids=lambda page: str(page.relative_to(ROOT)),
    )
    def test_of_every_page_runs(self, page: Path, new_book: NewBook) -> None:
        new_book(page).read()

    # A TestCase closes the connection when it is through, so none of ours may be in a transaction.
    @pytest.mark.django_db(transaction=True)
    def test_of_the_page_about_tests_passes(self, new_book: NewBook) -> None:
        book = new_book(DOCS / "how-to" / "testing.md")
        book.read()

        result = unittest.TestResult()
        unittest.TestLoader().loadTestsFromModule(book.module("orders.tests")).run(result)

        assert "\n".join(text for _, text in result.failures + result.errors) == ""
        assert result.testsRun == 6

    @pytest.mark.parametrize("page", PAGES, ids=IDS)
    def test_is_marked_with_a_language_that_the_tests_know(self, page: Path) -> None:
        languages = {block.language for block in blocks(page)}
        fences = re.findall(r"^ *```\w*$", page.read_text(), re.MULTILINE)

        assert languages <= {"python", "pycon", "console", "text", "ini"}
        assert len(fences) == 2 * len(blocks(page))


class TestReadme:
    def test_fits_on_two_screens(self) -> None:
        lines = README.read_text().splitlines()

        assert len(lines) <= 120

    def test_advises_the_settings_that_the_tutorial_tries(self) -> None:
        tutorial = settings_of(DOCS / "tutorial" / "first-task.md", "CONN_MAX_AGE")

        assert settings_of(README, "Q_CLUSTER")["Q_CLUSTER"] == tutorial["Q_CLUSTER"]
        assert settings_of(README, "CONN_MAX_AGE")["DATABASES"] == tutorial["DATABASES"]

    @pytest.mark.django_db
    def test_table_of_attempts_is_what_its_code_does(
        self, new_book: NewBook, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        book = new_book(README)
        book.read()
        fail_in_turn(monkeypatch, book.module("orders.tasks"), "SMTP")

        run_to_the_end()

        table = table_after(README.read_text(), "The rows tell the story")
        task = Task.objects.get(internal=False)
        attempts = list(task.attempts.all())
        assert [told(attempt) for attempt in attempts] == [row[:3] for row in table]
        assert [waited(attempt) for attempt in attempts] == ["5 s", "5 s", "5 s", ""]
        assert [row[3] for row in table[:3]] == ["retry after 5 s"] * 3
        assert table[3][3] == "max retries reached: FAILED, log and alert"
        assert (task.status, task.stop_reason) == (Status.FAILED, StopReason.MAX_RETRIES)
        assert alerts() == ["send_email failed: SMTPServerError (attempt 4)"]


class TestAlertsPage:
    PAGE = DOCS / "how-to" / "alerts.md"

    @pytest.mark.django_db
    def test_has_a_receiver_and_a_sink_that_hear_of_a_failure(self, new_book: NewBook) -> None:
        book = new_book(self.PAGE)
        book.read()
        import_string("tests.support.tasks.fails_once_for_all").enqueue()

        run_to_the_end()

        failure = "tests.support.tasks.fails_once_for_all"
        assert book.module("orders.receivers").heard == [f"{failure}: builtins.ValueError"]
        assert alerts() == ["fails_once_for_all failed: ValueError (attempt 1)"]
        assert mail.outbox[-1].to == ["ops@shop.example"]

    @pytest.mark.django_db
    def test_verifies_what_is_signed(self, new_book: NewBook, settings: Settings) -> None:
        book = new_book(self.PAGE)
        book.read()
        is_genuine = book.module("ops.hooks").is_genuine
        secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

        with receiving() as receiver:
            sink = {"sink": "django_retrytasks.alerts.webhook", "url": receiver.url()}
            settings.RETRYTASKS = {"ALERTS": [{**sink, "secret": secret}]}
            import_string("tests.support.tasks.fails_once_for_all").enqueue()
            run_to_the_end()

        [posted] = receiver.posted
        headers = {name: text for name, text in posted.headers.items() if "Webhook" in name}
        request, forged = (
            RequestFactory().post("/", body, content_type="application/json", headers=headers)
            for body in (posted.body, posted.body + b" ")
        )
        Webhook(secret).verify(posted.body, headers)
        assert is_genuine(request, secret)
        assert not is_genuine(forged, secret)
        assert not is_genuine(request, "whsec_AAAA")


class TestAroundPage:
    @pytest.mark.django_db
    def test_has_a_manager_that_sets_the_language(self, new_book: NewBook) -> None:
        new_book(DOCS / "how-to" / "around.md").read()

        run_to_the_end()

        assert Task.objects.get(internal=False).return_value == "Ann: Ja"


class TestCancelPage:
    PAGE = DOCS / "how-to" / "cancel.md"

    @pytest.mark.django_db
    def test_has_a_task_that_is_cancelled_and_one_that_looks(self, new_book: NewBook) -> None:
        book = new_book(self.PAGE)
        book.read()

        task = Task.objects.get(internal=False)
        assert (task.status, task.stop_note) == ("DISCARDED", "cancelled by anna: wrong file")
        module: Any = book.module("orders.tasks")
        forgotten: list[str] = []
        module.load, module.forget = stopped, forgotten.append
        with pytest.raises(Cancelled):
            module.import_orders("orders.csv")
        assert forgotten == ["orders.csv"]
        billed: list[int] = []
        module.bill = billed.append
        looks = SimpleNamespace(is_cancelled=iter([False, False, True]).__next__)
        assert module.bill_customers.func(looks, [1, 2, 3]) == 2
        assert billed == [1, 2]


def stopped(path: str) -> None:
    raise Cancelled


def alerts() -> list[str]:
    """Return the subjects of our letters; Django's logging may have sent one as well."""
    subjects = [letter.subject.removeprefix("[Django] ") for letter in mail.outbox]
    return [subject for subject in subjects if not subject.startswith("ERROR")]


class SMTPServerError(Exception):
    """What the README's mail server answers with."""


def fail_in_turn(monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str) -> None:
    errors: list[Exception] = [ConnectionError(), TimeoutError()]
    errors += [SMTPServerError(), SMTPServerError()]

    def fails(*args: Any) -> None:
        raise errors.pop(0)

    monkeypatch.setattr(module, name, fails)


def told(attempt: Attempt) -> list[str]:
    error = attempt.exception_class_path.rpartition(".")[2]
    return [str(attempt.number), error, str(attempt.retry_count)]


def waited(attempt: Attempt) -> str:
    if attempt.next_run_after is None:
        return ""
    return f"{round((attempt.next_run_after - attempt.finished_at).total_seconds())} s"
