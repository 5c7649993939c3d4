"""Run a story: open the shop with the demo's mail server, start a cluster, and judge the rows."""

import gc
import logging
import os
import secrets
import sys
from argparse import Namespace
from contextlib import suppress
from pathlib import Path
from subprocess import STDOUT
from urllib.parse import quote

import django
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.management import call_command
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
from django.core.wsgi import get_wsgi_application

from .mail import MailServer
from .processes import running
from .screen import Screen
from .stage import Stage, Stalled

MANAGE = Path(__file__).resolve().parent.parent / "manage.py"


def tell(options: Namespace, home: Path) -> int:
    """Run a story and return the exit code: 0 if the rows tell it as it was meant."""
    server = MailServer()
    open_site(server, home, options)
    from .outage import Outage
    from .storm import Storm

    log = home / "cluster.log"
    screen = Screen(plain=options.plain)
    command = [sys.executable, MANAGE, "qcluster"]
    with log.open("wb") as output, running(command, stdout=output, stderr=STDOUT) as cluster:
        stage = Stage(
            server=server, cluster=cluster, log=log, screen=screen, countdown=options.countdown
        )
        story = Storm(stage) if options.storm else Outage(stage)
        with screen.live(), suppress(Stalled):
            story.happen()
        faults = story.end()
        for fault in faults:
            screen.say(f"Not as it was meant: {fault}")
        if faults:
            screen.say(f"The cluster's log is {log}.")
        if options.keep:
            serve_admin(screen)
    return 1 if faults else 0


def open_site(server: MailServer, home: Path, options: Namespace) -> None:
    """Have the shop use the demo's mail server and database, and migrate that."""
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "shop.settings",
        "EMAIL_HOST": server.host,
        "EMAIL_PORT": str(server.port),
        # In the storm a server that is slow must not be taken for one that is silent.
        "EMAIL_TIMEOUT": "10" if options.storm else "1.5",
        "RETRY_COUNTDOWN": str(options.countdown),
        "ALERT_COOLDOWN": "10" if options.storm else "3600",
        "ALERT_WEBHOOK": "",
    }
    if not os.environ.get("DATABASE_URL"):
        database = home / "shop.sqlite3"
        for path in home.glob(f"{database.name}*"):
            path.unlink()
        os.environ["DATABASE_URL"] = f"sqlite:///{quote(str(database))}"
    django.setup()
    logging.disable()
    call_command("migrate", verbosity=0)
    call_command("loaddata", "products", verbosity=0)
    # Migrating leaves models behind whose finalizers run when they are collected: not later, for
    # an exception in a finalizer is dropped, and with it the one that Ctrl-C raises.
    gc.collect()


def serve_admin(screen: Screen) -> None:
    """Serve the shop until Ctrl-C, with a new password each time."""
    from django.contrib.auth.models import User

    password = secrets.token_urlsafe(8)
    user, _ = User.objects.get_or_create(username="demo", is_staff=True, is_superuser=True)
    user.set_password(password)
    user.save()
    with ThreadedWSGIServer(("127.0.0.1", 0), WSGIRequestHandler) as server:
        server.set_app(StaticFilesHandler(get_wsgi_application()))
        address = f"http://127.0.0.1:{server.server_port}/"
        screen.say(f"\nThe site and its cluster run on until Ctrl-C.\n\n  shop      {address}")
        screen.say(f"  admin     {address}admin/\n  name      demo\n  password  {password}")
        with suppress(SystemExit):  # Ctrl-C raises it
            server.serve_forever()
