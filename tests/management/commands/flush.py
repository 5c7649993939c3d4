"""Empty the tables at the end of each test with committed rows, as Django's command does.

This one is quicker. Django's truncates the tables, which takes PostgreSQL 0.2 seconds, and makes
content types and permissions anew, which no test writes.
"""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.core.management.commands.flush import Command as Flush
from django.db import connections
from django.db.models.signals import post_migrate

KEPT = {model._meta.db_table for model in (ContentType, Permission)}
QUIETLY = {"verbosity": 0, "interactive": False}


class Command(Flush):
    def handle(self, **options: Any) -> None:
        connection = connections[options["database"]]
        tables = connection.introspection.django_table_names(
            only_existing=True, include_views=False
        )
        quote = connection.ops.quote_name
        deletes = [f"DELETE FROM {quote(table)}" for table in tables if table not in KEPT]
        with connection.constraint_checks_disabled():
            connection.ops.execute_sql_flush(deletes)
        if not options["inhibit_post_migrate"]:
            ours = apps.get_app_config("retrytasks")
            post_migrate.send(ours, app_config=ours, using=connection.alias, **QUIETLY)
