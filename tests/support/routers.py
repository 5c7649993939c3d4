"""Database routers of sites."""

from typing import Any


class ReadsElsewhere:
    """Writes all where it belongs, our rows to "apart", and reads them where there are none."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return "default"

    def db_for_write(self, model: Any, **hints: Any) -> str:
        return "apart" if model._meta.app_label == "retrytasks" else "default"
