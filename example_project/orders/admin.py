from django.contrib import admin

from .models import Order, Product, Ticket


@admin.register(Order)
class OrderAdmin(admin.ModelAdmin):
    list_display = ("id", "email", "product", "quantity", "status", "placed_at")
    list_filter = ("status",)


admin.site.register([Product, Ticket])
