"""Settings of the shop.

Every value that a deployment changes comes from the environment or from a file `.env` beside
manage.py.
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
    "django_retrytasks",
    "django_q",
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
# Workers keep their connection: a new one for every Task costs a factor of four.
DATABASES["default"]["CONN_MAX_AGE"] = 600
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

# A mail server that is down delays the mails about it: have a chat's webhook hear of failures, too.
ALERT_WEBHOOK = env("ALERT_WEBHOOK", default="")
WEBHOOK = {"sink": "django_retrytasks.alerts.webhook", "url": ALERT_WEBHOOK, "form": "text"}

RETRYTASKS = {
    # In seconds: the wait before a retry, and the longest attempt, where a task names no other.
    "POLICY": {"countdown": env.float("RETRY_COUNTDOWN", default=5.0), "timeout": 30},
    "ALERTS": ["django_retrytasks.alerts.mail_admins", *([WEBHOOK] if ALERT_WEBHOOK else [])],
    # Seconds between two alerts about failures of one cause, but for the 10th, the 100th and so on.
    "ALERT_COOLDOWN": env.float("ALERT_COOLDOWN", default=3600.0),
    "SITE_URL": env("SITE_URL", default="http://127.0.0.1:8000"),  # alerts link to the admin
}

WORKERS = env.int("WORKERS", default=2)

Q_CLUSTER = {
    "name": "shop",
    "orm": "default",  # wake-ups commit and roll back with the Tasks, in the same database
    "workers": WORKERS,
    # As many as workers: a wake-up that waits inside a cluster expires there.
    "queue_limit": WORKERS,
    "bulk": 1,
    "poll": 0.2,  # seconds: how late a retry may start
    "timeout": 60,  # seconds a worker may be busy; must stay below `retry`
    "retry": 90,
    "save_limit": -1,  # Attempts are the record; a second one only slows the cluster
    "guard_cycle": 0.5,  # 0.25, 0.5 and 1 are the values with which a hanging worker is stopped
    "catch_up": False,  # after a pause one sweep is enough
}

# Mail: to the customers, and to ADMINS about failures.

MAIL_SERVER = {
    "host": env("EMAIL_HOST", default="localhost"),
    "port": env.int("EMAIL_PORT", default=25),
    # Seconds. Without a timeout a silent server holds a worker until the cluster kills it.
    "timeout": env.float("EMAIL_TIMEOUT", default=10.0),
}
if django.VERSION >= (6, 1):
    SMTP = "django.core.mail.backends.smtp.EmailBackend"
    MAILERS = {"default": {"BACKEND": SMTP, "OPTIONS": MAIL_SERVER}}
else:
    EMAIL_HOST = MAIL_SERVER["host"]
    EMAIL_PORT = MAIL_SERVER["port"]
    EMAIL_TIMEOUT = MAIL_SERVER["timeout"]
EMAIL_SUBJECT_PREFIX = "[shop] "
DEFAULT_FROM_EMAIL = SERVER_EMAIL = "shop@example.com"

ADMIN_EMAIL = env("ADMIN_EMAIL", default="admin@example.com")
ADMINS = [ADMIN_EMAIL] if django.VERSION >= (6, 0) else [("Admin", ADMIN_EMAIL)]

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
        "django.tasks": {"level": "WARNING"},  # it logs each Task as well
    },
    "root": {"handlers": ["console"], "level": "WARNING"},
}
