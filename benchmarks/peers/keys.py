"""The Redis server of a peer, and the keys there that are the peer's own."""

from __future__ import annotations

import os

from redis import Redis

NAME = os.environ.get("BENCHMARKS_NAME", "retrytasks_bench")
URL = os.environ.get("REDIS_URL", "")


def server() -> Redis:
    return Redis.from_url(URL)


def delete() -> None:
    with server() as redis:
        for key in redis.scan_iter(f"*{NAME}*", count=10_000):
            redis.delete(key)
