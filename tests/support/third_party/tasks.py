"""Plain tasks: run by whatever backend the site has."""

from typing import Any

try:
    from django.tasks import task
except ModuleNotFoundError:  # Django 5.2
    from django_tasks import task  # type: ignore[import-not-found, no-redef]


@task
def sends_receipt(order_id: int, *, copy: bool = False) -> str:
    return f"receipt {order_id}" + (" and a copy" if copy else "")


@task()
def breaks() -> None:
    raise ValueError("out of paper")


@task(takes_context=True)
def prints_at_third_attempt(context: Any, text: str) -> str:
    """Fail twice, each time in another way."""
    if context.attempt < 3:
        raise (ConnectionError, TimeoutError)[context.attempt - 1]("printer is away")
    return f"{text} at attempt {context.attempt}"


@task
async def fetches(url: str) -> str:
    return f"fetched {url}"


@task
def exits() -> None:
    raise SystemExit("out of here")
