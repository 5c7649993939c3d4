"""An HTTP server that keeps what is posted to it, and answers as it is told."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

# What an answer is made with: send bytes, and wait until the test is over or so many seconds.
Send = Callable[[bytes], None]
Answer = Callable[[Send, Event], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """One request."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def content(self) -> Any:
        """Return what its JSON says."""
        return json.loads(self.body)


def status(code: int, **headers: str) -> Answer:
    """Answer with this status and no body."""
    lines = [f"HTTP/1.1 {code} As told", "Content-Length: 0"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return lambda send, over: send("\r\n".join([*lines, "", ""]).encode())


def garbage(text: str) -> Answer:
    """Answer with what is no HTTP."""
    return lambda send, over: send(f"{text}\r\n\r\n".encode())


def nothing(send: Send, over: Event) -> None:
    """Take the request and never answer."""
    over.wait()


def endless_head(send: Send, over: Event) -> None:
    """Send a header that never ends, byte by byte."""
    send(b"HTTP/1.1 200 OK\r\nX-Long: ")
    while not over.wait(0.02):
        send(b"x")


def endless_body(send: Send, over: Event) -> None:
    """Answer with 200 at once, and with a body that never ends."""
    send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while not over.wait(0.02):
        send(b"x")


class Receiver(ThreadingHTTPServer):
    """Answers with ``answers`` in turn, and with status 200 when these are used up."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.posted: list[Posted] = []
        self.answers: list[Answer] = []
        self.over = Event()

    def url(self, path: str = "/") -> str:
        """Return the URL of a path on this server."""
        return f"http://127.0.0.1:{self.server_port}{path}"


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        posted = Posted(path=self.path, headers=dict(self.headers), body=body)
        self.server.posted.append(posted)
        answer = self.server.answers.pop(0) if self.server.answers else status(200)
        with suppress(OSError):  # whoever asked may have gone
            answer(self._send, self.server.over)

    do_GET = do_POST

    def _send(self, data: bytes) -> None:
        self.wfile.write(data)
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing."""


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Run a server until the body ends."""
    with Receiver() as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.over.set()
            server.shutdown()
            thread.join()
