"""The confirmation page of a verb: its preview and its form."""

from __future__ import annotations

from collections import Counter
from typing import Any

from django import forms
from django.core.exceptions import BadRequest, ValidationError
from django.db.models import Count, Min, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_retrytasks.errors.reports import storable
from django_retrytasks.models import Status, Task
from django_retrytasks.operators import operations
from django_retrytasks.operators.verbs import Verb
from django_retrytasks.tasks import RetryTask, arguments, discovery, redaction
from django_retrytasks.values import codec
from django_retrytasks.values.checked import LONGEST_WAIT

from . import words
from .task_page import VALUE_LIMIT, indented

# Names are counted among so many Tasks; so many names are shown.
NAMES_FROM = 10_000
NAMES_SHOWN = 50
# Suggested size of a canary.
CANARY = 10


def preview_of(rows: QuerySet[Task]) -> dict[str, Any]:
    """Return what the preview shows of the Tasks that would change, by name.

    Two queries read at most 100,000 rows.
    """
    rows = rows.order_by()
    counted = rows[: operations.MATCH_LIMIT].aggregate(count=Count("pk"), oldest=Min("enqueued_at"))
    names = Counter(rows.values_list("name", flat=True)[:NAMES_FROM])
    count, oldest = counted["count"], counted["oldest"]
    text = words.grouped(count)
    if count >= operations.MATCH_LIMIT:
        text = gettext("%(count)s or more") % {"count": text}
    return {
        "count": count,
        "text": text,
        "oldest": words.time_tag(oldest) if oldest else "",
        "names": [(name, words.grouped(of_it)) for name, of_it in names.most_common(NAMES_SHOWN)],
        "is_of_all_names": count <= NAMES_FROM,
    }


class ConfirmForm(forms.Form):
    """The reason, and the inputs of a verb.

    An operation in the background has a rate and a canary; the re-drive of a single failed Task has
    its arguments, as JSON.
    """

    countdown = forms.FloatField(
        label=_("Seconds"),
        min_value=0,
        max_value=LONGEST_WAIT,
        help_text=_("Seconds from now until the Tasks are due."),
    )
    canary = forms.IntegerField(
        label=_("Canary"),
        required=False,
        initial=CANARY,
        min_value=0,
        max_value=operations.CHUNK,
        help_text=_(
            "Tasks to run first; the others follow only if all of these succeed. Empty: no canary."
        ),
    )
    per_minute = forms.IntegerField(
        label=_("Per minute"),
        required=False,
        min_value=1,
        max_value=1_000_000,
        help_text=_("The most Tasks a minute. Empty: no limit."),
    )
    arguments = forms.CharField(
        label=_("Arguments"),
        required=False,
        max_length=VALUE_LIMIT,
        widget=forms.Textarea(attrs={"rows": 8, "cols": 60, "spellcheck": "false"}),
        help_text=_("As JSON. Changes here replace the Task's arguments."),
    )
    reason = forms.CharField(
        label=_("Reason"),
        required=False,
        max_length=1000,
        widget=forms.Textarea(attrs={"rows": 3, "cols": 60}),
        help_text=_("The reason, for other people."),
    )

    def __init__(
        self, data: Any, *, verb: Verb, in_background: bool = False, task: Task | None = None
    ) -> None:
        super().__init__(data)
        self.verb = verb
        edited = task if "arguments" in verb.asks else None
        self.definition: Any = discovery.find(edited.name) if edited else None
        self.initial["arguments"] = _editable(task, self.definition)
        inputs = {"reason", *verb.asks}
        if in_background:
            inputs.add("per_minute")
        else:
            inputs.discard("canary")
        if not self.initial["arguments"]:
            inputs.discard("arguments")
        for name in self.fields.keys() - inputs:
            del self.fields[name]

    def clean_arguments(self) -> tuple[str, str] | None:
        """Return the arguments encoded; None if they are unchanged."""
        text = self.cleaned_data["arguments"].strip() or self.initial["arguments"]
        try:
            encoded = _encoded(self.definition, text)
        except Exception as error:  # invalid JSON, a wrong tagged value, a signature that differs
            raise ValidationError(f"{type(error).__name__}: {error}") from None
        return None if encoded == _encoded(self.definition, self.initial["arguments"]) else encoded

    def options(self) -> dict[str, Any]:
        """Return the inputs but the reason, by the argument names of `operations.start`."""
        inputs = self.cleaned_data.items()
        return {name: value for name, value in inputs if value is not None and name != "reason"}


def reason_of(request: HttpRequest) -> str:
    """Return the reason sent with a button or an action; "" without one.

    Raises:
        BadRequest: the reason contains NUL or is too long.
    """
    try:
        reason: str = ConfirmForm.base_fields["reason"].clean(request.POST.get("reason", ""))
    except ValidationError as error:
        raise BadRequest(" ".join(error.messages)) from None
    return reason


def _editable(task: Task | None, definition: RetryTask[..., Any] | None) -> str:
    """Return a failed Task's arguments as JSON; "" if they cannot be shown in full."""
    if task is None or definition is None or task.status != Status.FAILED:
        return ""
    are_readable = isinstance(task.args, list) and isinstance(task.kwargs, dict)
    if not are_readable or redaction.hides_any(task, definition):
        return ""
    try:
        text = indented({"args": task.args, "kwargs": task.kwargs})
    except codec.NotStorable:  # in another dict they have too many levels
        return ""
    return text if text == storable(text, VALUE_LIMIT) else ""


def _encoded(definition: RetryTask[..., Any], text: str) -> tuple[str, str]:
    """Encode arguments from JSON for storage.

    Raises:
        ValueError: the text is no JSON, or no object of "args" and "kwargs".
        TypeError: the arguments do not fit the function.
    """
    match codec.loads(text):
        case {"args": list(args), "kwargs": dict(kwargs), **rest} if not rest:
            stored = arguments.stored(definition, args, kwargs)
            return stored["args"].text, stored["kwargs"].text
    raise ValueError(gettext('Write {"args": [...], "kwargs": {...}}.'))
