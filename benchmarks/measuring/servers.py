"""The servers that the environment names, and the databases made on them, dropped at the end."""

from __future__ import annotations

import os
import re
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

POSTGRES, MARIADB, SQLITE, REDIS = "PostgreSQL", "MariaDB", "SQLite", "Redis"
VARIABLES = {POSTGRES: "POSTGRES_URL", MARIADB: "MARIADB_URL", REDIS: "REDIS_URL"}
DRIVERS = {POSTGRES: "psycopg", MARIADB: "MySQLdb", SQLITE: "sqlite3", REDIS: "redis"}
PORTS = {POSTGRES: 5432, MARIADB: 3306, REDIS: 6379}
# Every database made and every key written here begins so.
PREFIX = "retrytasks_bench"


def url_of(store: str) -> str | None:
    """Return the URL of the server, or None if the environment names none. SQLite needs none."""
    return "sqlite" if store == SQLITE else os.environ.get(VARIABLES[store]) or None


def obstacle(store: str) -> str:
    """Return why the store cannot be used, or ""."""
    url = url_of(store)
    if url is None:
        return f"{VARIABLES[store]} is not set"
    if find_spec(DRIVERS[store]) is None:
        return f"{DRIVERS[store]} is not installed"
    server = urlsplit(url)
    if store != SQLITE:
        address = server.hostname or "127.0.0.1", server.port or PORTS[store]
        try:
            socket.create_connection(address, timeout=5).close()
        except OSError as error:
            return f"no server at {address[0]}:{address[1]} ({error})"
    return ""


def name_of(name: str) -> str:
    """Return the name of a database of this run, or what stands in each of its peer's keys."""
    return re.sub(r"\W", "_", f"{PREFIX}_{os.getpid()}_{name}")


@contextmanager
def database(store: str, name: str) -> Iterator[str]:
    """Make an empty database of this name, yield its URL, and drop it."""
    server = url_of(store)
    if server is None:
        raise LookupError(f"Set {VARIABLES[store]} to measure on {store}.")
    if store == REDIS:
        # The peer itself deletes its keys.
        yield server
    elif store == SQLITE:
        with tempfile.TemporaryDirectory(prefix=f"{PREFIX}_") as folder:
            yield f"sqlite:///{Path(folder) / name}.sqlite3"
    else:
        force = " WITH (FORCE)" if store == POSTGRES else ""
        text = " CHARACTER SET utf8mb4" if store == MARIADB else ""
        drop = f"DROP DATABASE IF EXISTS {name}{force}"
        _execute(store, server, drop, f"CREATE DATABASE {name}{text}")
        try:
            yield urlunsplit(urlsplit(server)._replace(path=f"/{name}"))
        finally:
            _execute(store, server, drop)


def _execute(store: str, server: str, *statements: str) -> None:
    connection = postgres(maintenance(server)) if store == POSTGRES else mariadb(server)
    with connection.cursor() as cursor:
        for sql in statements:
            cursor.execute(sql)
    connection.close()


def postgres(url: str) -> Any:
    """Connect to PostgreSQL, each statement a transaction of its own."""
    import psycopg

    return psycopg.connect(url.replace("postgres://", "postgresql://", 1), autocommit=True)


def maintenance(url: str) -> str:
    """Return the URL of the database that every PostgreSQL server has."""
    return urlunsplit(urlsplit(url)._replace(path="/postgres"))


def mariadb(url: str) -> Any:
    """Connect to the MariaDB server, to none of its databases."""
    import MySQLdb

    server = urlsplit(url)
    return MySQLdb.connect(
        host=server.hostname or "127.0.0.1",
        port=server.port or 3306,
        user=unquote(server.username or ""),
        password=unquote(server.password or ""),
    )


def analyze(store: str, url: str) -> None:
    """Bring the statistics up to date, as PostgreSQL itself would have done within a minute."""
    if store == POSTGRES:
        with postgres(url) as connection:
            connection.execute("VACUUM (ANALYZE)")
