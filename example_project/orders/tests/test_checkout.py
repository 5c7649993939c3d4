"""The checkout enqueues in its transaction: the Task is stored with the order, or not at all."""

from django.test import Client

from django_retrytasks.testing import assert_enqueued
from orders.models import Order, Product
from orders.tasks import send_email


def test_checkout_stores_the_order_and_the_task_to_confirm_it(
    client: Client, teapot: Product
) -> None:
    response = client.post("/", form_of(teapot, quantity=2))

    order = Order.objects.get()
    [task] = assert_enqueued(send_email, [order.pk])
    assert response["Location"] == f"/orders/{order.pk}/"
    assert task.status == "PENDING"
    assert Product.objects.get().stock == 0


def test_checkout_that_is_rolled_back_leaves_no_task(client: Client, teapot: Product) -> None:
    response = client.post("/", form_of(teapot, quantity=3))

    assert "We do not have so many in stock." in response.content.decode()
    assert not Order.objects.exists()
    assert_enqueued(send_email, count=0)
    assert Product.objects.get().stock == 2


def test_customer_sees_how_the_order_stands(client: Client, order: Order) -> None:
    page = client.get(order.get_absolute_url()).content.decode()

    assert "1 x Teapot for ann@example.com" in page
    assert "Status: Placed" in page


def form_of(product: Product, *, quantity: int) -> dict[str, object]:
    return {"email": "ann@example.com", "product": product.pk, "quantity": quantity}
