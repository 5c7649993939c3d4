"""The machine and the versions that figures belong to."""

from __future__ import annotations

import os
import platform
import sqlite3
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from .servers import MARIADB, POSTGRES, REDIS, SQLITE, maintenance, mariadb, postgres, url_of

# What changes how quickly PostgreSQL commits.
DURABILITY = ("fsync", "synchronous_commit", "shared_buffers")


def describe() -> dict[str, str]:
    """Return what the machine is."""
    gibibytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": f"{os.cpu_count()} x {_processor()}",
        "memory": f"{gibibytes:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        # Above nought, something else ran as well.
        "load": f"load {os.getloadavg()[0]:.1f} before the run",
    }


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def versions(packages: Iterable[str], stores: Iterable[str]) -> dict[str, str]:
    """Return the versions of Python, of the installed packages, and of the servers in use."""
    stores = set(stores)
    found = {"Python": platform.python_version()}
    found |= {name: metadata.version(name) for name in sorted(packages)}
    asked = {POSTGRES: _postgres, MARIADB: _mariadb, REDIS: _redis}
    found |= {store: asked[store]() for store in asked if store in stores}
    if SQLITE in stores:
        found[SQLITE] = sqlite3.sqlite_version
    return found


def _postgres() -> str:
    with postgres(maintenance(str(url_of(POSTGRES)))) as connection:
        [(version,)] = connection.execute("SHOW server_version")
        settings = [
            f"{name}={value}"
            for name in DURABILITY
            for (value,) in connection.execute(f"SHOW {name}")
        ]
    return f"{version.split()[0]} ({', '.join(settings)})"


def _mariadb() -> str:
    connection = mariadb(str(url_of(MARIADB)))
    with connection.cursor() as cursor:
        cursor.execute("SELECT VERSION(), @@innodb_flush_log_at_trx_commit")
        version, flush = cursor.fetchone()
    connection.close()
    return f"{version.partition('-')[0]} (innodb_flush_log_at_trx_commit={flush})"


def _redis() -> str:
    from redis import Redis

    with Redis.from_url(str(url_of(REDIS))) as redis:
        appending = redis.config_get("appendonly")["appendonly"]
        return f"{redis.info('server')['redis_version']} (appendonly={appending})"
