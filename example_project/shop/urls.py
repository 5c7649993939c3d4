from django.contrib import admin
from django.urls import path

from orders import views

urlpatterns = [
    path("", views.checkout, name="checkout"),
    path("orders/<uuid:pk>/", views.show_order, name="order"),
    path("admin/", admin.site.urls),
]
