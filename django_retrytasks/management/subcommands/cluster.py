"""``cluster``: run a cluster, and keep it running."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

from django.core.management import CommandError, CommandParser

from django_retrytasks.broker import clusters
from django_retrytasks.management.arguments import seconds
from django_retrytasks.management.frame import Lines, Subcommand
from django_retrytasks.management.supervisor import Supervisor

# A cluster takes some seconds to start, and must not count as frozen meanwhile.
LEAST_STALL = 5


def _arguments(parser: CommandParser) -> None:
    keys = clusters.keys()
    parser.add_argument(
        "--name",
        choices=keys,
        metavar="NAME",
        help=f"Cluster to run: {', '.join(keys)}. Default: that of a plain qcluster.",
    )
    parser.add_argument(
        "--max-stall",
        type=partial(seconds, least=LEAST_STALL),
        default=60.0,
        metavar="SECONDS",
        help="Seconds for which Tasks may be due, and workers idle, before the cluster is "
        f"replaced; at least {LEAST_STALL}. Default: 60.",
    )
    parser.add_argument(
        "--grace",
        type=seconds,
        default=60.0,
        metavar="SECONDS",
        help="Seconds for running Tasks to end when the cluster stops. Default: 60.",
    )


def _cluster(name: str | None, max_stall: float, grace: float, **options: Any) -> Lines:
    if not hasattr(os, "killpg"):
        raise CommandError("needs POSIX sessions, which this platform lacks: run qcluster")
    Supervisor(key=name or clusters.own_key(), max_stall=max_stall, grace=grace).run()
    return []


SUBCOMMANDS = (
    Subcommand(
        name="cluster",
        help="Run qcluster; start it again when it ends, or freezes while Tasks are due.",
        do=_cluster,
        examples=("cluster", "cluster --name emails --grace 5m"),
        arguments=_arguments,
    ),
)
