from collections.abc import Iterator

import pytest
from django.core.mail import EmailMessage

from orders.models import Order, Product


@pytest.fixture
def teapot(db: None) -> Product:
    return Product.objects.create(name="Teapot", stock=2)


@pytest.fixture
def order(teapot: Product) -> Order:
    return Order.objects.create(product=teapot, email="ann@example.com")


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
