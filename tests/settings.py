"""The site the tests run on.

`DATABASE_URL` chooses the database; without it that is SQLite in a file. The test database bears
the very name of the site's own, so a `qcluster` subprocess that inherits this environment works on
the rows of the test that started it: it needs `DJANGO_SETTINGS_MODULE=tests.settings`, no more.
"""

import os
import re
import tempfile
from pathlib import Path
from typing import Any

import django
import environ

env = environ.Env()

# Two test runs on one machine must not share a database, nor two workers of pytest-xdist; the
# subprocesses of each must.
RUN = os.environ.setdefault(
    "RETRYTASKS_TEST_RUN", os.environ.get("TOX_ENV_NAME", f"pid{os.getpid()}")
) + os.environ.get("PYTEST_XDIST_WORKER", "")

OPTIONS: dict[str, dict[str, Any]] = {
    "sqlite3": {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL",
    },
    "postgresql": {},
    # `Now()` follows the session's time zone there.
    "mysql": {
        "charset": "utf8mb4",
        "isolation_level": "read committed",
        "init_command": "SET time_zone = '+00:00'",
    },
}


def own_database(url: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of this run's own database, on the server that a `DATABASE_URL` names."""
    vendor = url["ENGINE"].rpartition(".")[2]
    given = Path(url["NAME"])
    name = f"test_{given.stem}_" + re.sub(r"\W", "_", RUN)
    if vendor == "sqlite3":
        name = str(given.with_name(f"{name}.sqlite3"))
    charset = {"CHARSET": "utf8mb4"} if vendor == "mysql" else {}
    return {
        **url,
        "NAME": name,
        "TEST": {"NAME": name, **charset},
        "CONN_MAX_AGE": 600,
        "OPTIONS": OPTIONS[vendor] | url.get("OPTIONS", {}),
    }


SQLITE = f"sqlite:///{tempfile.gettempdir()}/retrytasks.sqlite3"
DATABASES = {
    "default": own_database(env.db("DATABASE_URL", SQLITE)),
    # For sites that keep their Tasks apart; tests point Q_CLUSTER["orm"] here.
    "apart": own_database(environ.Env.db_url_config(SQLITE.replace("retrytasks", "apart"))),
}

SECRET_KEY = "for tests only"
USE_TZ = True
ROOT_URLCONF = "tests.admin.urls"
STATIC_URL = "static/"
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "django_q",
    "django_retrytasks",
    "tests",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

# Django 5.2 wants pairs, 6.0 addresses; 6.1 has MAILERS in EMAIL_BACKEND's place.
# Each refuses or deprecates the other's way.
ADMINS: list[Any] = (
    ["admin@example.com"] if django.VERSION >= (6, 0) else [("Admin", "admin@example.com")]
)
# A cluster's mail is read from the directory that the variable names.
MAIL_DIRECTORY = env.str("MAIL_DIRECTORY", "")
MAIL_BACKEND = f"django.core.mail.backends.{'filebased' if MAIL_DIRECTORY else 'locmem'}"
if django.VERSION >= (6, 1):
    MAIL_OPTIONS = {"file_path": MAIL_DIRECTORY} if MAIL_DIRECTORY else {}
    MAILERS = {"default": {"BACKEND": f"{MAIL_BACKEND}.EmailBackend", "OPTIONS": MAIL_OPTIONS}}
else:
    EMAIL_BACKEND = f"{MAIL_BACKEND}.EmailBackend"
    EMAIL_FILE_PATH = MAIL_DIRECTORY or None

TASKS = {"default": {"BACKEND": "django_retrytasks.backend.RetryTasksBackend", "QUEUES": []}}
RETRYTASKS: dict[str, Any] = {"LEASE": env.float("RETRYTASKS_LEASE", 60)}

# What the project's own system checks advise, and a second cluster that serves the queue "slow".
Q_CLUSTER: dict[str, Any] = {
    "name": "retrytasks-tests",
    "orm": "default",
    "workers": env.int("Q_CLUSTER_WORKERS", 2),
    "timeout": env.int("Q_CLUSTER_TIMEOUT", 60),
    "retry": env.int("Q_CLUSTER_RETRY", 120),
    "poll": env.float("Q_CLUSTER_POLL", 0.2),
    "bulk": 1,
    "queue_limit": 2,
    "guard_cycle": 0.5,
    "save_limit": -1,
    "ALT_CLUSTERS": {"slow": {}},
}
if broker := env.str("Q_CLUSTER_BROKER", ""):
    Q_CLUSTER["broker_class"] = broker

# Tests count letters: no other error is mailed.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "loggers": {"django": {"handlers": []}},
}
