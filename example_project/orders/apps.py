from django.apps import AppConfig


class OrdersConfig(AppConfig):
    name = "orders"

    def ready(self) -> None:
        # Receivers must be connected in the workers, too: every process calls this.
        from . import receivers  # noqa: F401
