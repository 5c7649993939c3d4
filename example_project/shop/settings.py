"""Settings of the shop: a small site to copy from.

Every value a deployment changes comes from the environment or from a `.env` file beside manage.py.
"""

from pathlib import Path
from urllib.parse import quote

import django
import environ

BASE_DIR = Path(__file__).resolve().parent.parent

env = environ.Env()
env.read_env(BASE_DIR / ".env")

DEBUG = env.bool("DEBUG", default=False)
SECRET_KEY = env("SECRET_KEY", default="only-good-enough-for-an-example")
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1"])

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_q",
    "django_retrytasks",
    "orders",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
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
            ],
        },
    },
]

ROOT_URLCONF = "shop.urls"
STATIC_URL = "static/"
USE_TZ = True
TIME_ZONE = "UTC"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# The database: SQLite to start; DATABASE_URL=postgres://user:password@host/name to grow.

SQLITE = f"sqlite:///{quote(str(BASE_DIR / 'shop.sqlite3'))}"
DATABASES = {"default": env.db("DATABASE_URL", default=SQLITE)}
# Workers keep their connection: connecting anew for every task costs a factor of four.
DATABASES["default"]["CONN_MAX_AGE"] = env.int("CONN_MAX_AGE", default=600)
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"]["OPTIONS"] = {
        # A transaction that reads first and writes later is refused at once ("database is locked")
        # while another process writes; one that begins as a writer waits its turn.
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,  # seconds
        # With a write-ahead log readers do not block the writer.
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
    }

# Background work.

TASKS = {"default": {"BACKEND": "django_retrytasks.backend.RetryTasksBackend"}}

WORKERS = env.int("WORKERS", default=2)

RETRYTASKS = {
    "POLICY": {"timeout": 30},  # seconds one attempt may take, where a task says nothing else
    "ALERTS": ["shop.alerts.mail_admins"],
    # Seconds between two alerts about failures of one cause, but for the 10th, the 100th and so on.
    "ALERT_COOLDOWN": env.float("ALERT_COOLDOWN", default=3600.0),
}

Q_CLUSTER = {
    "name": "shop",
    "orm": "default",  # wake-ups commit and roll back with the Tasks, in the same database
    "workers": WORKERS,
    # Take no more from the queue than can be worked on: what waits inside a cluster expires there.
    "queue_limit": WORKERS,
    "bulk": 1,
    "poll": 0.2,  # seconds: how late a retry may start
    "timeout": 60,  # seconds a worker may be busy; must stay below `retry`
    "retry": 90,
    "save_limit": -1,  # Attempts are the record; a second one only slows the cluster
    "guard_cycle": 0.5,  # 0.25, 0.5 and 1 are the values with which a hanging worker is stopped
    "catch_up": False,  # after a pause one sweep is enough
}

# Mail: the shop's own letters, and the alerts to ADMINS.

MAIL_SERVER = {
    "host": env("EMAIL_HOST", default="localhost"),
    "port": env.int("EMAIL_PORT", default=25),
    # Without a timeout a silent server holds a worker until the cluster kills it.
    "timeout": env.float("EMAIL_TIMEOUT", default=10.0),
}
# Alerts can go by a server of their own: one that is down tells nobody. Used by shop/alerts.py.
ALERT_MAIL_SERVER = MAIL_SERVER | {
    "host": env("ALERT_EMAIL_HOST", default=MAIL_SERVER["host"]),
    "port": env.int("ALERT_EMAIL_PORT", default=MAIL_SERVER["port"]),
}
if django.VERSION >= (6, 1):
    SMTP = "django.core.mail.backends.smtp.EmailBackend"
    MAILERS = {
        "default": {"BACKEND": SMTP, "OPTIONS": MAIL_SERVER},
        "alerts": {"BACKEND": SMTP, "OPTIONS": ALERT_MAIL_SERVER},
    }
else:
    EMAIL_HOST = MAIL_SERVER["host"]
    EMAIL_PORT = MAIL_SERVER["port"]
    EMAIL_TIMEOUT = MAIL_SERVER["timeout"]
EMAIL_SUBJECT_PREFIX = "[shop] "
DEFAULT_FROM_EMAIL = SERVER_EMAIL = "shop@example.com"

ADMIN_EMAIL = env("ADMIN_EMAIL", default="admin@example.com")
ADMINS = [ADMIN_EMAIL] if django.VERSION >= (6, 0) else [("Admin", ADMIN_EMAIL)]

# Seconds between the attempts of orders.tasks.send_email.
EMAIL_COUNTDOWN = env.float("EMAIL_COUNTDOWN", default=5.0)

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"format": "{asctime} {levelname:<8} {name} {message}", "style": "{"},
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "loggers": {
        "django_retrytasks": {"handlers": ["console"], "level": "INFO", "propagate": False},
        "django-q": {"handlers": ["console"], "level": "INFO", "propagate": False},
        # Django logs a failed task too.
        "django.tasks": {"handlers": ["console"], "level": "WARNING", "propagate": False},
    },
    "root": {"handlers": ["console"], "level": "WARNING"},
}
