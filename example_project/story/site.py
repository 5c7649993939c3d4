"""The shop as the demo runs it: an empty database, a real cluster, and on request the admin."""

import gc
import os
import secrets
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from subprocess import STDOUT, Popen
from urllib.parse import quote

import django
from django.contrib.auth import get_user_model
from django.core.management import call_command

from .leash import leashed
from .smtp import MailServer, Servers

SITE = Path(__file__).resolve().parent.parent
BROKEN = "ann@example.com"
GREYLISTED = "bob@example.com"
HEALTHY = "cyd@example.com"
STORM = {
    "ALERT_COOLDOWN": "10",  # seconds: long enough that a slow machine sends no letter more
    "EMAIL_TIMEOUT": "10",  # seconds: nor takes a server that is slow for one that is silent
}


def open_site(home: Path, *, countdown: float, storm: bool) -> Servers:
    """Point the shop's settings at mail servers and a database of the demo's, and migrate that.

    In the storm the alerts go by a server of their own.
    """
    shop = MailServer("mail server", broken=BROKEN, greylisted=GREYLISTED)
    alerts = MailServer("alert mail") if storm else shop
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "shop.settings",
        "EMAIL_HOST": shop.host,
        "EMAIL_PORT": str(shop.port),
        "ALERT_EMAIL_HOST": alerts.host,
        "ALERT_EMAIL_PORT": str(alerts.port),
        "EMAIL_TIMEOUT": "1.5",
        "EMAIL_COUNTDOWN": str(countdown),
        **(STORM if storm else {}),
    }
    if not os.environ.get("DATABASE_URL"):
        os.environ["DATABASE_URL"] = fresh_sqlite(home / "shop.sqlite3")
    django.setup()
    call_command("migrate", verbosity=0)
    # Migrating leaves models behind whose finalizers run when they are collected: not later, for
    # what a signal's handler raises in a finalizer is dropped, and with it a Ctrl-C.
    gc.collect()
    return Servers(shop=shop, alerts=alerts)


def fresh_sqlite(path: Path) -> str:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    return f"sqlite:///{quote(str(path))}"


def cluster(log: Path) -> AbstractContextManager[Popen[bytes]]:
    """Run `manage.py qcluster` until the block is left; what it prints goes to `log`."""
    return manage("qcluster", log=log)


@contextmanager
def admin(log: Path) -> Iterator[str]:
    """Serve the site until the block is left, and give the admin's address once it answers."""
    port = free_port()
    with manage("runserver", "--noreload", str(port), log=log, DEBUG="1") as process:
        while not answers(port) and process.poll() is None:
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/admin/"


def new_login() -> tuple[str, str]:
    """Return name and password of a superuser; the password is a new one each time."""
    name, password = "demo", secrets.token_urlsafe(8)
    rights = {"is_staff": True, "is_superuser": True}
    user, _ = get_user_model().objects.update_or_create(username=name, defaults=rights)
    user.set_password(password)
    user.save()
    return name, password


@contextmanager
def manage(*arguments: str, log: Path, **environment: str) -> Iterator[Popen[bytes]]:
    command = [sys.executable, "-u", SITE / "manage.py", *arguments]
    with (
        log.open("wb") as output,
        leashed(command, stdout=output, stderr=STDOUT, env=os.environ | environment) as process,
    ):
        yield process


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
