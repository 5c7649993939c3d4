"""The shop's products and orders, and the tickets of its support."""

from __future__ import annotations

from uuid import uuid4

from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import F
from django.urls import reverse


class SoldOut(Exception):
    """The stock is smaller than the order."""


class Product(models.Model):
    name = models.CharField(max_length=100)
    stock = models.PositiveIntegerField()

    def __str__(self) -> str:
        return self.name

    def take(self, quantity: int) -> None:
        """Take so many from the stock.

        Raises:
            SoldOut: there are fewer.
        """
        # One statement: two checkouts at once cannot take the same piece.
        in_stock = Product.objects.filter(pk=self.pk, stock__gte=quantity)
        if not in_stock.update(stock=F("stock") - quantity):
            raise SoldOut


class Order(models.Model):
    class Status(models.TextChoices):
        PLACED = "PLACED"
        CONFIRMED = "CONFIRMED"
        UNCONFIRMED = "UNCONFIRMED", "Unconfirmed: call the customer"

    id = models.UUIDField(primary_key=True, default=uuid4, editable=False)
    email = models.EmailField()
    product = models.ForeignKey(Product, on_delete=models.PROTECT)
    quantity = models.PositiveIntegerField(default=1, validators=[MinValueValidator(1)])
    status = models.CharField(max_length=20, choices=Status, default=Status.PLACED)
    placed_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.quantity} x {self.product} for {self.email}"

    def get_absolute_url(self) -> str:
        return reverse("order", args=[self.pk])


class Ticket(models.Model):
    """Work for the support: one for each Task that has failed for good."""

    # No foreign key: a Task is deleted after a while, its ticket is not.
    task_id = models.UUIDField()
    attempt_number = models.PositiveIntegerField()
    text = models.TextField()
    opened_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("task_id", "attempt_number"), name="one_ticket"),
        )

    def __str__(self) -> str:
        return self.text
