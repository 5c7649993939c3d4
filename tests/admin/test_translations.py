"""The languages in which pages, stored texts and alerts are read."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any

import pytest
from django.test import Client
from django.utils.translation import get_language_info, override

from django_retrytasks import Retry, RetryPolicy
from django_retrytasks.alerts import Alert, sinks
from django_retrytasks.alerts.notices import NoticeKind
from django_retrytasks.database import DatabaseNow
from django_retrytasks.lifecycle import breakers, cancel, groups, pauses
from django_retrytasks.models import FailureGroup, OpenBreaker, Operation, Pause, Status, Task
from django_retrytasks.operators import operations
from django_retrytasks.policy import Failure, FailureKind
from django_retrytasks.values.texts import translated
from tests.admin.catalogs import COMPLETE, PLACEHOLDER, catalog, entries
from tests.support import service, tasks
from tests.support.driver import Driver
from tests.support.outage import NAME, let_the_probe_come
from tests.support.outage import new_worker as new_worker
from tests.support.service import Overloaded, down

ADMIN = "/admin/retrytasks/"


class Words(HTMLParser):
    """Collects what is read on a page: its text, and the attributes that are shown or spoken."""

    SPOKEN = ("title", "aria-label", "placeholder", "data-label", "data-rt-copy")

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._hidden = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._hidden = tag in ("script", "style")
        given = dict(attrs)
        shown = [given.get(name) for name in self.SPOKEN]
        if given.get("type") == "submit":
            shown.append(given.get("value"))
        self.found += filter(None, shown)

    def handle_endtag(self, tag: str) -> None:
        self._hidden = False

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.found.append(data)


def read(markup: str) -> str:
    words = Words()
    words.feed(markup)
    return re.sub(r"\s+", " ", " ".join(words.found))


def ask(client: Client, url: str, language: str) -> str:
    response = client.get(url, headers={"accept-language": language})
    assert response.status_code == 200, (url, response)
    return response.content.decode()


def sentences(language: str) -> dict[str, re.Pattern[str]]:
    """Return the English texts of three words and more that the language has others for."""
    english = [
        text
        for texts, translated in entries(catalog(language)).values()
        for text in texts
        if texts != translated and len(PLACEHOLDER.sub("", text).split()) > 2
    ]
    return {text: _pattern(text) for text in english}


def _pattern(text: str) -> re.Pattern[str]:
    literal = map(re.escape, PLACEHOLDER.split(text))
    return re.compile(r"(?<!\w)" + r"\S.{0,80}?".join(literal) + r"(?!\w)")


@pytest.fixture
def languages(settings: Any) -> Iterator[None]:
    sessions, *others = settings.MIDDLEWARE
    settings.MIDDLEWARE = [sessions, "django.middleware.locale.LocaleMiddleware", *others]
    settings.RETRYTASKS = {"ALERTS": []}
    # The middleware leaves the language of the last request behind.
    with override("en"):
        yield


@pytest.fixture
def pages(driver: Driver, admin_client: Client, languages: None) -> list[str]:
    """Return the URLs of all kinds of pages, with Tasks and groups in all kinds of states."""
    rows = [driver.task_in(status) for status in Status]
    retried = tasks.always_fails.enqueue("no luck")
    driver.attempt(retried)
    exhausted = tasks.always_fails.enqueue("no luck")
    for _ in range(4):
        driver.attempt(exhausted)
    tasks.fails_once_for_all.enqueue()
    tasks.echoes.using(run_after=timedelta(days=3), max_retries=None).enqueue("later")
    driver.run_due()
    pauses.pause(queue_name="emails", by="ada", reason="moves")
    pauses.pause(name=tasks.succeeds.module_path)
    operation = operations.start(Operation.VerbName.SNOOZE, {"queue_name": "emails"}, countdown=5)
    operations.stop(operation.pk, "by ada: enough")
    breakers.open_breaker(NAME, probe_every=60, by="ada", reason="zieht um")
    FailureGroup.objects.create(
        fingerprint=uuid.uuid4(), kind=FailureGroup.Kind.RULE, message="zu spät",
        first_seen_at=DatabaseNow(), last_seen_at=DatabaseNow(),
    )  # fmt: skip
    muted, *_ = found = list(FailureGroup.objects.all())
    groups.mute([muted.pk])
    single = [*rows, *Task.objects.filter(pk__in=[retried.id, exhausted.id])]
    failed = Task.objects.filter(status=Status.FAILED).values_list("pk", flat=True)
    _do(admin_client, f"task/{failed[0]}/do/redrive/", reason="nochmal")
    return [
        "",
        "task/",
        "task/?chart=hour&status=FAILED",
        "failuregroup/",
        "operation/",
        "pause/",
        "pause/add/",
        "openbreaker/",
        f"openbreaker/{OpenBreaker.objects.get().pk}/change/",
        "worker/",
        "periodictask/",
        *(f"task/{task.pk}/change/" for task in single),
        *(f"failuregroup/{group.pk}/change/" for group in found),
        f"operation/{operation.pk}/change/",
        *(f"pause/{pk}/change/" for pk in Pause.objects.values_list("pk", flat=True)),
        *(f"task/{failed[1]}/do/{verb}/" for verb in ("redrive", "snooze", "cancel")),
        *(f"task/all/{verb}/?status=FAILED" for verb in ("redrive", "discard")),
    ]


def _do(client: Client, path: str, **form: str) -> None:
    assert client.post(ADMIN + path, form).status_code == 302


@pytest.mark.django_db
class TestPages:
    @pytest.mark.parametrize(
        ("language", "words"),
        [
            (
                "de",
                ["Fehlgeschlagen", "Warteschlange", "Erneut ausführen", "In 24 h fehlgeschlagen"],
            ),
            ("zh-hans", ["失败", "队列", "重新执行"]),
            ("ar", ["فشلت", "الطابور", "إعادة التشغيل"]),
        ],
    )
    def test_the_list_speaks_the_readers_language(
        self,
        driver: Driver,
        admin_client: Client,
        languages: None,
        language: str,
        words: list[str],
    ) -> None:
        driver.task_in(Status.FAILED)

        page = ask(admin_client, f"{ADMIN}task/", language)

        info = get_language_info(language)
        direction = "rtl" if info["bidi"] else "ltr"
        assert re.search(rf'<html lang="{language}" dir="{direction}"', page)
        assert [word for word in words if word not in read(page)] == []

    @pytest.mark.parametrize(
        ("language", "headline"),
        [
            ("de", "Versuch 1 von 4 ist fehlgeschlagen; nächste Wiederholung in"),
            ("zh-hans", "第 1/4 次尝试失败"),
            ("ar", "فشلت المحاولة 1 من 4؛ الإعادة التالية بعد"),
        ],
    )
    def test_the_headline_of_a_task_does(
        self,
        driver: Driver,
        admin_client: Client,
        languages: None,
        language: str,
        headline: str,
    ) -> None:
        result = tasks.always_fails.enqueue()
        driver.attempt(result)

        page = ask(admin_client, f"{ADMIN}task/{result.id}/change/", language)

        assert headline in read(page)

    @pytest.mark.parametrize("language", COMPLETE)
    def test_no_english_sentence_is_left(
        self, admin_client: Client, pages: list[str], language: str
    ) -> None:
        english = sentences(language)
        asked = language.lower().replace("_", "-")

        left = {
            (path, text)
            for path in pages
            for words in [read(ask(admin_client, ADMIN + path, asked))]
            for text, pattern in english.items()
            if pattern.search(words)
        }

        assert len(english) > 200
        assert left == set()

    def test_english_is_found_where_it_is(self, admin_client: Client, pages: list[str]) -> None:
        english = sentences("de")

        found = {
            text
            for path in pages
            for words in [read(ask(admin_client, ADMIN + path, "en"))]
            for text, pattern in english.items()
            if pattern.search(words)
        }

        assert len(found) > 100

    def test_numbers_are_written_as_the_language_writes_them(
        self, driver: Driver, admin_client: Client, languages: None
    ) -> None:
        result = tasks.echoes.enqueue()

        german = read(ask(admin_client, f"{ADMIN}task/{result.id}/change/", "de"))

        assert "2,5 bis 5 s" in german

    def test_a_moment_is_not_turned_where_one_reads_from_right_to_left(
        self, driver: Driver, admin_client: Client, languages: None
    ) -> None:
        result = tasks.always_fails.enqueue()
        driver.attempt(result)

        arabic = read(ask(admin_client, f"{ADMIN}task/{result.id}/change/", "ar"))

        assert re.search("\u2066[-\\d :]+\u2069", arabic)


def decisions() -> Iterator[str]:
    """Yield what the policy says of each kind of failure."""
    at, error = datetime(2026, 1, 1, tzinfo=UTC), ValueError("no")
    cases: list[tuple[RetryPolicy, dict[str, Any]]] = [
        (RetryPolicy(), {}),
        (RetryPolicy(max_retries=None), {}),
        (RetryPolicy(max_retries=1), {"retry_count": 1}),
        (RetryPolicy(), {"retry_count": 3}),
        (RetryPolicy(retry_for=1), {}),
        (RetryPolicy(backoff=lambda *_: None), {}),
        (RetryPolicy(backoff=lambda *_: 1 / 0), {}),
        (RetryPolicy(max_retries=None, backoff=lambda *_: 1 / 0), {}),
        (RetryPolicy(retry_on=KeyError), {}),
        (RetryPolicy(no_retry_on=ValueError), {}),
        (RetryPolicy(), {"kind": FailureKind.LOST, "crash_count": 3}),
        (RetryPolicy(), {"kind": FailureKind.NOT_STORABLE}),
        (RetryPolicy(), {"retry": Retry(exc=error, countdown=7)}),
    ]
    for policy, details in cases:
        failure = Failure(
            **{"exception": error, "kind": FailureKind.RAISED, "retry_count": 0, **details}
        )
        yield policy.decide(failure, now=at, random=lambda: 0.5).reason


class TestStored:
    def test_each_decision_is_told_in_german(self) -> None:
        said = list(decisions())

        with override("de"):
            german = [translated(decision) for decision in said]

        assert [one for one, other in zip(said, german, strict=True) if one == other] == []
        assert german[0] == "Wiederholung 1 von 3 in 3.75 s"

    def test_why_a_breaker_opened_is_told_in_german(
        self, driver: Driver, admin_client: Client, languages: None, db: None
    ) -> None:
        service.calls.using(max_retries=0).enqueue_many([()] * 3)
        with down():
            driver.run_due()
        service.calls_host.enqueue("a")
        with down(error=Overloaded(90)):
            driver.run_due()
        breakers.open_breaker(NAME, probe_every=60, by="ada", reason="a failure: mine")

        rows = OpenBreaker.objects.order_by("pk")
        paths = ["task/", "openbreaker/", *(f"openbreaker/{row.pk}/change/" for row in rows)]
        banner, listed, first, second = (
            read(ask(admin_client, ADMIN + path, "de")) for path in paths
        )

        for words in (banner, listed, first):
            assert "3 Fehlschläge in Folge: ConnectionError" in words
        for words in (banner, listed, second):
            assert "ein Fehlschlag: Overloaded, Retry-After 90 s" in words

    def test_why_an_operator_opened_one_is_told_as_it_is(
        self, driver: Driver, admin_client: Client, languages: None, db: None
    ) -> None:
        breakers.open_breaker(NAME, probe_every=60, by="ada", reason="a failure: mine")

        for path in ("task/", "openbreaker/"):
            assert "a failure: mine" in read(ask(admin_client, ADMIN + path, "de"))

    def test_the_decision_about_a_probe_is_told_in_german(self, driver: Driver, db: None) -> None:
        breakers.open_breaker(NAME, probe_every=60)
        result = service.calls.enqueue()
        let_the_probe_come()
        with down():
            driver.attempt(result)
        [attempt] = driver.attempts(result)

        with override("de"):
            german = translated(attempt.decision)

        assert german == (
            "Probelauf bei offenem Schutzschalter: erneut in 60 s, keine Wiederholung verbraucht"
        )

    def test_who_cancelled_a_task_is_told_in_german(
        self, driver: Driver, admin_client: Client, languages: None, db: None
    ) -> None:
        task = driver.task_in(Status.RUNNING)
        cancel([task.pk], by="ada", reason="falsche Datei")

        page = read(ask(admin_client, f"{ADMIN}task/{task.pk}/change/", "de"))

        assert page.count("bgebrochen von ada: falsche Datei") > 1
        assert "cancelled" not in page

    def test_what_is_no_phrase_is_told_as_it_is(self) -> None:
        with override("de"):
            assert translated("Retry-After, they said") == "Retry-After, they said"

    def test_of_the_log_only_the_verb_is_told(
        self, driver: Driver, admin_client: Client, languages: None, db: None
    ) -> None:
        task = driver.task_in(Status.FAILED)
        _do(admin_client, f"task/{task.pk}/do/redrive/", reason="Stop: it was (not) me")

        page = ask(admin_client, f"{ADMIN}task/{task.pk}/change/", "de")

        assert "Erneut ausführen: Stop: it was (not) me" in read(page)


class TestAlerts:
    def test_are_in_the_sites_language_and_logged_in_english(
        self, driver: Driver, db: None, caplog: pytest.LogCaptureFixture
    ) -> None:
        tasks.fails_once_for_all.enqueue()
        driver.run_due()
        group = FailureGroup.objects.get()
        at = group.last_seen_at
        alert = Alert(
            id="1", kind=NoticeKind.STILL_FAILING, group=group, task=None, attempt=None,
            count=10, new_count=9, since=at - timedelta(minutes=5), told_at=None, at=at,
        )  # fmt: skip

        with override("de"):
            subject = alert.subject
            sinks.log(alert)

        assert subject.startswith("10 Fehlschläge von fails_once_for_all in 5 min: ValueError")
        assert "Alert: 10 failures of fails_once_for_all in 5 min: ValueError" in caplog.text
