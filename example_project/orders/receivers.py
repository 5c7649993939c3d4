"""The shop's code that hears of background work that failed."""

from django.dispatch import receiver

from django_retrytasks.models import Attempt, Task
from django_retrytasks.signals import task_failed

from .models import Ticket


@receiver(task_failed, sender=Task)
def open_ticket(sender: type[Task], task: Task, attempt: Attempt, **kwargs: object) -> None:
    """Open a ticket for a Task of any function that has failed for good."""
    # A receiver may be called twice for one failure: then the ticket is there already.
    Ticket.objects.get_or_create(
        task_id=task.pk,
        attempt_number=attempt.number,
        defaults={"text": f"{task.name} failed: {attempt.exception_message}"},
    )
