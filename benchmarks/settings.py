"""A site on which every peer runs, on the database that DATABASE_URL names."""

from typing import Any

import environ

DATABASES = {"default": environ.Env().db("DATABASE_URL")}
DATABASES["default"]["CONN_MAX_AGE"] = 600
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
    }

SECRET_KEY = "for benchmarks only"
USE_TZ = True
ALLOWED_HOSTS = ["localhost"]
STATIC_URL = "static/"
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django_q",
    "django_retrytasks",
    "django_tasks_db",
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
TASKS = {
    "default": {"BACKEND": "django_retrytasks.backend.RetryTasksBackend", "QUEUES": []},
    "tasks-db": {"BACKEND": "django_tasks_db.DatabaseBackend"},
}
# Every peer as quick as its own documentation makes it, with its history kept.
Q_CLUSTER: dict[str, Any] = {
    "name": "benchmarks",
    "orm": "default",
    "workers": 2,
    "timeout": 200,
    "retry": 300,
    "save_limit": 0,
    "guard_cycle": 0.5,
    "log_level": "WARNING",
}
RETRYTASKS = {"ALERTS": []}  # no peer has any
LOGGING = {"version": 1, "disable_existing_loggers": True, "root": {"level": "CRITICAL"}}
