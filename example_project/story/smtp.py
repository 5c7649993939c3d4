"""Mail servers on loopback, one of which fails in three ways, one after the other."""

import asyncio
import email
import email.policy
import socket
from dataclasses import dataclass
from enum import StrEnum
from threading import Thread
from typing import NamedTuple

from aiosmtpd.smtp import SMTP, Envelope, Session

News = tuple[str, str]
"""Who tells it, and what there is to tell."""


class ServerState(StrEnum):
    DOWN = "refuses connections"
    SILENT = "accepts connections and never answers"
    UP = "answers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A message as the server accepted it."""

    recipients: tuple[str, ...]
    subject: str
    text: str

    def __str__(self) -> str:
        return f"{self.subject!r} for {', '.join(self.recipients)}"


class MailServer:
    """One port, in three states one after the other, by what its socket does.

    Bound and not listening, it has the kernel refuse every connection, and nobody else can take the
    port. Listening while nobody accepts, it lets clients in and leaves them waiting. Then aiosmtpd
    takes it over.
    """

    def __init__(self, name: str, *, broken: str = "", greylisted: str = "") -> None:
        """Have letters to `broken` always refused, those to `greylisted` the first two times.

        Those that are not are in `letters`, oldest first.
        """
        self.name = name
        self.state = ServerState.DOWN
        self.letters: list[Letter] = []
        self._postmaster = Postmaster(self.letters, broken, greylisted)
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.host, self.port = self._socket.getsockname()

    def fall_silent(self) -> None:
        self._socket.listen()
        self.state = ServerState.SILENT

    def answer(self) -> None:
        Thread(target=asyncio.run, args=(self._serve(),), daemon=True).start()
        self.state = ServerState.UP

    @property
    def news(self) -> list[News]:
        """Return what the server does now and has received so far."""
        words = [str(self.state), *(f"received {letter}" for letter in self.letters)]
        return [(self.name, text) for text in words]

    def received(self, recipient: str) -> list[Letter]:
        return [letter for letter in self.letters if recipient in letter.recipients]

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: SMTP(self._postmaster, hostname="localhost", loop=loop), sock=self._socket
        )
        await server.serve_forever()


class Servers(NamedTuple):
    """The mail servers of the shop: the one of its own letters, and the one of its alerts."""

    shop: MailServer
    alerts: MailServer


class Postmaster:
    """Says yes or no to each letter: aiosmtpd calls these methods and sends what they return."""

    def __init__(self, inbox: list[Letter], broken: str, greylisted: str) -> None:
        self._inbox = inbox
        self._broken = broken
        self._greylisted = greylisted
        self._refusals_left = 2

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address == self._greylisted and self._refusals_left:
            self._refusals_left -= 1
            return "451 4.7.1 Greylisted, please try again later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if self._broken in envelope.rcpt_tos:
            return "451 4.3.0 Mailbox unavailable, try again later"
        self._inbox.append(read_letter(envelope))
        return "250 Message accepted for delivery"


def read_letter(envelope: Envelope) -> Letter:
    message = email.message_from_bytes(
        envelope.original_content or b"", policy=email.policy.default
    )
    body = message.get_body(("plain",))
    return Letter(
        recipients=tuple(envelope.rcpt_tos),
        subject=str(message["Subject"]),
        text=body.get_content() if body else "",
    )
