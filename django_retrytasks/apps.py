from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _


class RetryTasksConfig(AppConfig):
    name = "django_retrytasks"
    label = "retrytasks"
    verbose_name = _("Background tasks")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from . import checks  # noqa: F401

        post_migrate.connect(_ensure_sweep, sender=self)


def _ensure_sweep(using: str, **kwargs: Any) -> None:
    from . import wakeups

    if using == wakeups.alias():
        wakeups.ensure_sweep()
