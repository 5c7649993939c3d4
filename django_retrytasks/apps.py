"""The app's configuration: what is connected when Django starts."""

import sys
from typing import Any

from django.apps import AppConfig, apps
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _


class RetryTasksConfig(AppConfig):
    name = "django_retrytasks"
    label = "retrytasks"
    verbose_name = _("Background tasks")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from . import checks  # noqa: F401
        from .alerts import mail_filter
        from .worker import keeper

        mail_filter.connect()
        post_migrate.connect(_schedule, sender=self)
        keeper.connect()
        # A site that uses one of them has imported it by now; for others that would be slow.
        if "sentry_sdk" in sys.modules:
            from .alerts import sentry

            sentry.connect()
        if "opentelemetry" in sys.modules:
            from .health import otel

            otel.connect()


def _schedule(using: str, **kwargs: Any) -> None:
    from . import database
    from .broker import sweep_schedule
    from .tasks import periodic

    # There is no table if another app alone was migrated, or this one back to zero.
    migrated = kwargs.get("apps", apps).all_models["retrytasks"]
    if migrated and using == database.alias():
        sweep_schedule.ensure_sweep()
        if "periodictask" in migrated:
            periodic.sync(is_deploy=True)
