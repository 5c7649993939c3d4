"""A mail server on loopback that fails in three ways, one after the other."""

import asyncio
import email
import email.policy
import socket
from contextlib import suppress
from email.message import EmailMessage
from threading import Thread

from aiosmtpd.smtp import SMTP, Envelope, Session

FULL = 0.2  # seconds without an answer after which the queue of connections is full
ALWAYS = 10**9


class MailServer:
    """One port, in three states one after the other, by what its socket does.

    Bound and not listening, it has the kernel refuse every connection, and nobody else can take the
    port. Listening, with a full queue and nobody to accept, it lets connections time out. Then
    aiosmtpd serves it.
    """

    def __init__(self) -> None:
        self.state = "refuses connections"
        self.letters: list[EmailMessage] = []
        # How many letters to a recipient are refused before the next is taken.
        self.refusals: dict[str, int] = {}
        self._queue: list[socket.socket] = []
        # asyncio turns Nagle's algorithm off, which holds up each letter for 40 ms, where the
        # protocol is named.
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._socket.bind(("127.0.0.1", 0))
        self.host, self.port = self._socket.getsockname()

    @property
    def news(self) -> list[str]:
        """Return what the server does now and has received so far."""
        received = [f"received {each['Subject']!r} for {each['To']}" for each in self.letters]
        return [f"mail server {line}" for line in (self.state, *received)]

    def received(self, recipient: str) -> list[str]:
        """Return the subjects of the letters to a recipient."""
        return [str(each["Subject"]) for each in self.letters if each["To"] == recipient]

    def ignore(self) -> None:
        """Let connections time out."""
        self._socket.listen(0)
        with suppress(TimeoutError):
            while True:
                address = (self.host, self.port)
                self._queue.append(socket.create_connection(address, timeout=FULL))
        self.state = "lets connections time out"

    def answer(self) -> None:
        for connection in self._queue:
            connection.close()
        Thread(target=asyncio.run, args=(self._serve(),), daemon=True).start()
        self.state = "answers"

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: SMTP(self, hostname="localhost", loop=loop), sock=self._socket
        )
        await server.serve_forever()

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Answer a letter: aiosmtpd calls this by its name."""
        for recipient in envelope.rcpt_tos:
            if left := self.refusals.get(recipient, 0):
                self.refusals[recipient] = left - 1
                return "451 4.3.0 Try again later"
        content = envelope.original_content or b""
        self.letters.append(email.message_from_bytes(content, policy=email.policy.default))
        return "250 Message accepted for delivery"
