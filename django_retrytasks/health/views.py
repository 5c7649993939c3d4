"""The health as a page for probes: JSON, with the status 200 or 503."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import transaction
from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.generic import View

from django_retrytasks.values.checked import as_seconds

from . import verdicts
from .reading import Health


class ProbedView(View):
    """A view that machines ask: no answer is cached, and no database that is away prevents one."""

    # With ATOMIC_REQUESTS, a database that is away would raise before the view is called.
    @method_decorator((never_cache, transaction.non_atomic_requests))
    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        return super().dispatch(request, *args, **kwargs)


class HealthView(ProbedView):
    """Answer whether the work goes on, to anybody who asks: without names, arguments or secrets.

    The status is 200, or 503 if a Task has been due for more than ``max_lag`` seconds or the
    database does not answer. An open breaker is a note in the answer, and leaves the status 200.

    Attributes:
        max_lag: seconds (or a timedelta), 0 or more; 120 by default.
    """

    max_lag: Any = verdicts.MAX_LAG

    @classmethod
    def as_view(cls, **options: Any) -> Callable[..., HttpResponseBase]:
        """Return the view for ``urls.py``.

        Raises:
            TypeError, ValueError: ``max_lag`` is no duration.
        """
        as_seconds("max_lag", options.get("max_lag", cls.max_lag))
        view: Callable[..., HttpResponseBase] = super().as_view(**options)
        return view

    def get(self, request: HttpRequest) -> JsonResponse:
        verdict = verdicts.judge(as_seconds("max_lag", self.max_lag))
        values = {"ok": not verdict.problem, "problem": verdict.problem, "note": verdict.note}
        values |= _shown(verdict.health) if verdict.health else {}
        return JsonResponse(values, status=503 if verdict.problem else 200)


def _shown(health: Health) -> dict[str, Any]:
    return {
        "lag": health.lag,
        "due_count": sum(queue.due_count for queue in health.queues),
        "running_count": health.running_count,
        "last_claim_at": health.last_claim_at,
        "swept_at": health.swept_at,
    }
