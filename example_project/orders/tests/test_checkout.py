"""The checkout enqueues in its transaction: the Task is stored with the order, or not at all."""

from django.test import Client

from django_retrytasks.models import Task
from orders.models import Order, Product


def test_checkout_stores_the_order_and_the_task_to_confirm_it(
    client: Client, teapot: Product
) -> None:
    response = client.post("/", form_of(teapot, quantity=2))

    order = Order.objects.get()
    task = Task.objects.get(name="orders.tasks.send_email")
    assert response["Location"] == f"/orders/{order.pk}/"
    assert (task.status, task.args) == ("PENDING", [order.pk])
    assert Product.objects.get().stock == 0


def test_checkout_that_is_rolled_back_leaves_no_task(client: Client, teapot: Product) -> None:
    response = client.post("/", form_of(teapot, quantity=3))

    assert "We do not have so many in stock." in response.content.decode()
    assert not Order.objects.exists()
    assert not Task.objects.exists()
    assert Product.objects.get().stock == 2


def test_customer_sees_how_the_order_stands(client: Client, order: Order) -> None:
    page = client.get(order.get_absolute_url()).content.decode()

    assert "1 x Teapot for ann@example.com" in page
    assert "Status: Placed" in page


def form_of(product: Product, *, quantity: int) -> dict[str, object]:
    return {"email": "ann@example.com", "product": product.pk, "quantity": quantity}
