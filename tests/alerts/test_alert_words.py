"""Alerts are in the site's language and time zone, and ring nobody by what they quote."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.core import mail
from django.utils import timezone, translation
from django.utils.translation import get_language

from django_retrytasks import retry_task
from django_retrytasks.alerts import Alert, sending
from django_retrytasks.alerts.chats import quiet
from django_retrytasks.models import FailureGroup, Task
from tests.support.driver import Driver
from tests.support.http_receiver import Receiver

pytestmark = [
    pytest.mark.django_db,
    # apprise imports it before Python 3.13.
    pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning"),
]

HERE = "tests.alerts.test_alert_words"
SINKS = "django_retrytasks.alerts"
heard: list[str] = []


@retry_task(max_retries=0)
def breaks(message: str = "450 too busy") -> None:
    raise ConnectionError(message)


def hear(alert: Alert) -> None:
    heard.append(f"{get_language()} {timezone.get_current_timezone_name()} {alert.subject}")


async def hear_asynchronously(alert: Alert) -> None:
    hear(alert)


@pytest.fixture(autouse=True)
def _in_german(settings: Any) -> Iterator[None]:
    """Have a German site, in a process where something has left another language active."""
    settings.LANGUAGE_CODE = "de"
    settings.TIME_ZONE = "Europe/Vienna"
    heard.clear()
    with translation.override("zh-hans"), timezone.override("Asia/Tokyo"):
        yield


class TestLanguage:
    def test_of_a_letter_is_the_sites(self, driver: Driver, settings: Any) -> None:
        settings.RETRYTASKS = {"ALERTS": [f"{SINKS}.mail_admins"]}
        breaks.enqueue()

        driver.drain()

        [letter] = mail.outbox
        assert letter.subject.endswith("breaks ist fehlgeschlagen: ConnectionError (Versuch 1)")
        assert "Fehlgeschlagen am: " in letter.body
        assert re.search(r"\d\d:\d\d:\d\d CES?T", str(letter.body))

    def test_of_a_post_and_a_page_is_the_sites(
        self, driver: Driver, settings: Any, receiver: Receiver
    ) -> None:
        settings.RETRYTASKS = {
            "ALERTS": [
                {"sink": f"{SINKS}.webhook", "url": receiver.url()},
                {"sink": f"{SINKS}.webhook", "name": "chat", "url": receiver.url(), "form": "text"},
                f"{HERE}.hear",
                f"{HERE}.hear_asynchronously",
            ]
        }
        breaks.enqueue()

        driver.drain()

        subject = "breaks ist fehlgeschlagen: ConnectionError (Versuch 1)"
        chat, posted = sorted((post.content for post in receiver.posted), key=len)
        assert posted["subject"] == subject
        assert chat["text"].startswith(f"{subject}\n")
        assert heard == [f"de Europe/Vienna {subject}"] * 2

    def test_of_a_breached_rule_is_the_sites(self, driver: Driver, settings: Any) -> None:
        settings.RETRYTASKS = {"ALERT_RULES": [{"rule": "failure_rate", "over": 0.1, "least": 1}]}
        breaks.enqueue()
        driver.drain()

        sending.review()

        [group] = FailureGroup.objects.filter(kind=FailureGroup.Kind.RULE)
        assert "fehlgeschlagen" in group.message
        assert get_language() == "zh-hans"


RINGING = [
    ("@channel", "@|channel"),
    ("hey @everyone, @here and @Ada", "hey @|everyone, @|here and @|Ada"),
    ("(@channel) _@all_ @everyone!", "(@|channel) _@|all_ @|everyone!"),
    ("me@everyone.example you@HERE", "me@|everyone.example you@|HERE"),
    ("<!channel> <!subteam^S1> <#C1>", "<|!channel> <|!subteam^S1> <|#C1>"),
    ("<@U1> <@&7>", "<|@|U1> <|@|&7>"),
    ("![](https://x.example/pixel.png)", "!|[]|(https://x.example/pixel.png)"),
    ("![a][b] [pay here](https://evil.example)", "!|[a][b] [pay here]|(https://evil.example)"),
    ("ann@example.com at https://u@x.example/?a=[1] (2) @ noon", None),
    ("list[0](x)! a[1] = b!", "list[0]|(x)! a[1] = b!"),
]


class TestChat:
    @pytest.mark.parametrize(("text", "expected"), RINGING)
    def test_text_is_quiet(self, text: str, expected: str | None) -> None:
        assert quiet(text) == (expected or text).replace("|", "\u200b")

    def test_post_and_page_ring_nobody_wherever_it_stands(
        self, driver: Driver, settings: Any, receiver: Receiver, notified: list[Any]
    ) -> None:
        settings.RETRYTASKS = {
            "ALERTS": [
                {"sink": f"{SINKS}.webhook", "url": receiver.url(), "form": "text"},
                {"sink": f"{SINKS}.apprise", "urls": ["planted://"]},
            ],
            "ALERT_RULES": [{"rule": "oldest_due", "over": 0.001}],
        }
        breaks.using(queue_name="@channel").enqueue("@here ![](https://x.example) <!everyone>")
        driver.make_due(*Task.objects.all())
        sending.review()

        driver.drain()

        texts = [post.content["text"] for post in receiver.posted]
        texts += [f"{title} {body}" for title, body, _ in notified]
        assert len(texts) == 4
        for text in texts:
            assert "@\u200bchannel" in text
            assert not re.search(r"@(?=channel|here|everyone)|<!|!\[|\]\(", text)
        assert sum("!\u200b[]\u200b(https://x.example)" in text for text in texts) == 2

    def test_post_of_all_in_json_has_it_as_it_is(
        self, driver: Driver, settings: Any, receiver: Receiver
    ) -> None:
        settings.RETRYTASKS = {"ALERTS": [{"sink": f"{SINKS}.webhook", "url": receiver.url()}]}
        breaks.enqueue("@here")

        driver.drain()

        assert receiver.posted[0].content["attempt"]["exception_message"] == "@here"
