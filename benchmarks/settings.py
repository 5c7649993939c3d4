"""A site for every measurement, on the database that DATABASE_URL names.

A peer's own settings come as JSON in BENCHMARKS_SETTINGS, and replace those here.
"""

import json
import os
from typing import Any

import environ

peer: dict[str, Any] = json.loads(os.environ.get("BENCHMARKS_SETTINGS", "{}"))

DATABASES = {"default": environ.Env().db("DATABASE_URL", "sqlite://:memory:")}
DATABASES["default"]["CONN_MAX_AGE"] = peer.pop("CONN_MAX_AGE", 600)
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
    }
if DATABASES["default"]["ENGINE"].endswith("mysql"):
    DATABASES["default"]["OPTIONS"] = {
        "charset": "utf8mb4",
        # The database's clock follows the session's zone.
        "init_command": "SET time_zone = '+00:00'",
    }

SECRET_KEY = "for benchmarks only"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
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
TASKS = {"default": {"BACKEND": "django_retrytasks.backend.RetryTasksBackend", "QUEUES": []}}
Q_CLUSTER: dict[str, Any] = {
    "name": "benchmarks",
    "orm": "default",
    "workers": 2,
    "timeout": 200,
    "retry": 300,
    "save_limit": -1,
    "guard_cycle": 0.5,
    "log_level": "WARNING",
}
RETRYTASKS = {"ALERTS": []}  # no peer has any
LOGGING = {"version": 1, "disable_existing_loggers": True, "root": {"level": "CRITICAL"}}

globals().update(peer)
