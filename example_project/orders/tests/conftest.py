from collections.abc import Iterator

import pytest
from django.core.mail import EmailMessage
from pytest_django import Settings

from django_retrytasks.testing import ImmediateBackend
from orders.models import Order, Product
from orders.tasks import send_email


@pytest.fixture
def teapot(db: None) -> Product:
    return Product.objects.create(name="Teapot", stock=2)


@pytest.fixture
def order(teapot: Product) -> Order:
    return Order.objects.create(product=teapot, email="ann@example.com")


@pytest.fixture
def backend(settings: Settings) -> ImmediateBackend:
    """Have each Task run, with its retries, before `enqueue` returns; waits are skipped."""
    settings.TASKS = {"default": {"BACKEND": "django_retrytasks.testing.ImmediateBackend"}}
    backend = send_email.get_backend()
    assert isinstance(backend, ImmediateBackend)
    return backend


@pytest.fixture
def refusals(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[OSError]]:
    """Return a list to fill with what the mail server answers before it takes a message."""
    errors: list[OSError] = []
    send = EmailMessage.send

    def refuse_or_send(message: EmailMessage) -> int:
        if errors:
            raise errors.pop(0)
        return send(message)

    monkeypatch.setattr(EmailMessage, "send", refuse_or_send)
    yield errors
    assert not errors
