"""The subcommands of ``manage.py retrytasks``, in the order of its help."""

from . import (
    breaking,
    changes,
    cluster,
    doctor,
    erase,
    failures,
    health,
    listing,
    pausing,
    periodic,
    schedule,
    show,
    stats,
    top,
    upkeep,
)

MODULES = (
    listing,
    show,
    stats,
    top,
    health,
    failures,
    periodic,
    schedule,
    changes,
    pausing,
    breaking,
    upkeep,
    erase,
    doctor,
    cluster,
)
SUBCOMMANDS = tuple(each for module in MODULES for each in module.SUBCOMMANDS)
