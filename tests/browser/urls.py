"""The admin, and what a browser asks every site for."""

from django.http import HttpRequest, HttpResponse
from django.urls import path

from tests.admin.urls import urlpatterns as admin_urls


def no_icon(request: HttpRequest) -> HttpResponse:
    return HttpResponse(status=204)


urlpatterns = [*admin_urls, path("favicon.ico", no_icon)]
