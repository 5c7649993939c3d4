"""When the retries of a Task that goes on failing run, under three policies."""

from __future__ import annotations

from collections.abc import Iterator

from django_retrytasks import RetryPolicy

from .svg import WIDTH, picture, text

LEFT, RIGHT, TOP, LINE, PAUSE = 24, 40, 64, 16, 46
LAST, TICK = 160, 20  # seconds
POLICIES = (
    (
        "countdown=10, backoff=1, jitter=False",
        RetryPolicy(max_retries=5, countdown=10, backoff=1, jitter=False),
    ),
    ("countdown=5, backoff=2: the default", RetryPolicy(max_retries=5)),
    ("countdown=5, backoff=2, max_countdown=20", RetryPolicy(max_retries=5, max_countdown=20)),
)
EACH = LINE * 5 + PAUSE
HEIGHT = TOP + EACH * len(POLICIES)


def drawn() -> str:
    title = "The moments of five retries under three policies, in seconds since the first failure"
    return picture(title, HEIGHT, _parts())


def _parts() -> Iterator[str]:
    yield text(
        LEFT, 20, "Five retries, in seconds since the first failure", anchor="start", style="title"
    )
    for second in range(0, LAST + 1, TICK):
        x = _x(second)
        yield f'<line x1="{x:g}" y1="{TOP - 12}" x2="{x:g}" y2="{HEIGHT - 12}" class="grid"/>'
        yield text(x, TOP - 20, str(second), style="faint")
    for place, (name, policy) in enumerate(POLICIES):
        yield from _row(TOP + EACH * place, name, policy)


def _row(top: int, name: str, policy: RetryPolicy) -> Iterator[str]:
    yield text(LEFT + 8, top + 10, name, anchor="start", style="title")
    earliest = latest = 0.0
    for number, least, most in policy.schedule():
        earliest, latest = earliest + least, latest + most
        y = top + 12 + LINE * number
        x, end = _x(earliest), _x(latest)
        yield (
            f'<line x1="{x:g}" y1="{y}" x2="{end:g}" y2="{y}" stroke-width="8" '
            'stroke-linecap="round" class="ours"/>'
        )
        yield text(end + 10, y + 5, str(number), anchor="start", style="faint")


def _x(second: float) -> float:
    return LEFT + second / LAST * (WIDTH - LEFT - RIGHT)
