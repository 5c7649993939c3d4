"""Database servers of a test's own, which it may stop, kill and cut off."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar

import pytest
from django.core.management import call_command
from django.db import Error, connection, connections

from tests import settings
from tests.support.cluster import wait_for

run_once = pytest.mark.skipif(
    connection.vendor != "sqlite",
    reason="takes long and is the same everywhere: run on SQLite",
)


class Server(ABC):
    """A database server on a free port of this machine, in a directory that goes when it ends."""

    scheme: ClassVar[str]
    # The user who may do everything there, the site's, the one the server runs as, a database it
    # always has.
    root: ClassVar[str]
    user: ClassVar[str]
    runs_as: ClassVar[str]
    system: ClassVar[str]
    programs: ClassVar[Sequence[str]]
    # How it is asked to end at once, leaving nobody waiting; and how it dies.
    fast: ClassVar[signal.Signals]
    immediate: ClassVar[signal.Signals]

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix=f"retrytasks-{self.scheme}-"))
        if os.geteuid() == 0:
            shutil.chown(self.directory, self.runs_as)
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def missing(cls) -> str:
        """Return which of its programs this machine lacks; an empty text: none."""
        return ", ".join(name for name in cls.programs if not program(name))

    @property
    def url(self) -> str:
        """Return the ``DATABASE_URL`` of the tests' site on this server."""
        return f"{self.scheme}://{self.user}@127.0.0.1:{self.port}/outage"

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run the server, the tests' site migrated on it, until the body ends."""
        try:
            self._install()
            self.start()
            self._create()
            with self.connected():
                call_command("migrate", verbosity=0)
            yield
        finally:
            self.stop(signal.SIGKILL)
            shutil.rmtree(self.directory, ignore_errors=True)

    @contextmanager
    def connected(self) -> Iterator[None]:
        """Let this process's default connection lead to the site here while the body runs."""
        with default_database(self._database()):
            yield

    def start(self) -> None:
        """Start the server; return when it answers."""
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command(), stdout=log, stderr=log, start_new_session=True, **self._user()
            )
        wait_for(self._answers, 60)

    def stop(self, how: signal.Signals) -> None:
        """Stop the server; return when it is gone."""
        if self._process is None:
            return
        if how == signal.SIGKILL:
            # Its own session, with the processes that it started.
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, how)
        self._process.send_signal(how)
        self._process.wait(60)
        self._process = None

    def restart(self, how: signal.Signals) -> None:
        """Stop the server and start it again."""
        self.stop(how)
        self.start()

    @abstractmethod
    def cut_off(self) -> None:
        """End every connection."""

    @contextmanager
    def read_only(self) -> Iterator[None]:
        """Refuse every write while the body runs, as a standby does after a failover."""
        self._set_read_only(True)
        try:
            yield
        finally:
            self._set_read_only(False)

    @abstractmethod
    def _set_read_only(self, on: bool) -> None: ...

    @abstractmethod
    def _install(self) -> None: ...

    def _create(self) -> None:
        self._execute(f"CREATE DATABASE {self._database()['NAME']}")

    @abstractmethod
    def _command(self) -> list[str]: ...

    def _database(self) -> dict[str, Any]:
        return settings.own_database(settings.env.db_url_config(self.url))

    def _answers(self) -> bool:
        try:
            self._execute("SELECT 1")
        except Error:
            return False
        return True

    def _execute(self, sql: str) -> list[Any]:
        of_root = self._database() | {"NAME": self.system, "USER": self.root}
        with default_database(of_root), connections["default"].cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall()) if cursor.description else []

    def _run(self, *command: str) -> None:
        subprocess.run(command, check=True, capture_output=True, **self._user())

    def _user(self) -> dict[str, Any]:
        # Neither server runs as the superuser of the machine.
        if os.geteuid() != 0:
            return {}
        return {"user": self.runs_as, "group": self.runs_as, "extra_groups": []}


class PostgreSQL(Server):
    scheme, root, user = "postgres", "postgres", "postgres"
    runs_as, system = "postgres", "postgres"
    programs = ("initdb", "postgres")
    fast, immediate = signal.SIGINT, signal.SIGQUIT

    def cut_off(self) -> None:
        self._execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )

    def _set_read_only(self, on: bool) -> None:
        self._execute(f"ALTER SYSTEM SET default_transaction_read_only = {on}")
        self._execute("SELECT pg_reload_conf()")

    def _install(self) -> None:
        data = f"{self.directory}/data"
        self._run(program("initdb"), "-D", data, "-U", self.root, "-A", "trust", "--no-sync")

    def _command(self) -> list[str]:
        options = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": self.directory,
            "fsync": "off",
        }
        command = [program("postgres"), "-D", f"{self.directory}/data"]
        return [*command, *(f"--{name}={value}" for name, value in options.items())]


class MariaDB(Server):
    # A site that is root itself may write to a read-only server.
    scheme, root, user = "mysql", "root", "site"
    runs_as, system = "mysql", "mysql"
    programs = ("mariadb-install-db", "mariadbd")
    fast, immediate = signal.SIGTERM, signal.SIGKILL

    def cut_off(self) -> None:
        others = f"SELECT id FROM information_schema.processlist WHERE user = '{self.user}'"
        for (number,) in self._execute(others):
            with suppress(Error):  # it has ended by itself
                self._execute(f"KILL {number}")

    def _set_read_only(self, on: bool) -> None:
        self._execute(f"SET GLOBAL read_only = {on}")

    def _create(self) -> None:
        super()._create()
        self._execute(f"CREATE USER {self.user}")
        self._execute(f"GRANT ALL ON {self._database()['NAME']}.* TO {self.user}")

    def _install(self) -> None:
        self._run(
            program("mariadb-install-db"),
            "--no-defaults",
            f"--datadir={self.directory}/data",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
        )

    def _command(self) -> list[str]:
        return [
            program("mariadbd"),
            "--no-defaults",
            f"--datadir={self.directory}/data",
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            f"--socket={self.directory}/socket",
            f"--pid-file={self.directory}/pid",
            "--innodb-flush-log-at-trx-commit=2",
        ]


def program(name: str) -> str:
    """Return the path of a server's program; an empty text: this machine lacks it."""
    places = [os.environ.get("PATH", ""), "/usr/sbin"]
    newest_first = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    path = os.pathsep.join([*places, *map(str, newest_first)])
    return shutil.which(name, path=path) or ""


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def default_database(database: dict[str, Any]) -> Iterator[None]:
    """Let this thread's default connection lead to another database while the body runs."""
    usual = connections.settings["default"]
    _lead_to(connections.configure_settings({"default": database})["default"])
    try:
        yield
    finally:
        _lead_to(usual)


def _lead_to(database: dict[str, Any]) -> None:
    connections["default"].close()
    del connections["default"]
    connections.settings["default"] = database
