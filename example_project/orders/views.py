"""The shop's two pages."""

from uuid import UUID

from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render

from .forms import CheckoutForm
from .models import Order, SoldOut
from .tasks import send_email


def checkout(request: HttpRequest) -> HttpResponse:
    form = CheckoutForm(request.POST or None)
    if form.is_valid():
        try:
            return redirect(place(form))
        except SoldOut:
            form.add_error("quantity", "We do not have so many in stock.")
    return render(request, "orders/checkout.html", {"form": form})


@transaction.atomic
def place(form: CheckoutForm) -> Order:
    """Store the order, the call to confirm it, and the new stock: all three or none.

    Raises:
        SoldOut: the stock is smaller than the order; nothing is stored.
    """
    order: Order = form.save()
    send_email.enqueue(order.pk)
    order.product.take(order.quantity)
    return order


def show_order(request: HttpRequest, pk: UUID) -> HttpResponse:
    return render(request, "orders/order.html", {"order": get_object_or_404(Order, pk=pk)})
