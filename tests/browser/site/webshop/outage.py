"""What is down, and for how long: while a file says so."""

import os
from pathlib import Path

# The variable that names the file.
VARIABLE = "WEBSHOP_OUTAGE"


def is_on() -> bool:
    """Whether the shop's partners are down now."""
    return VARIABLE in os.environ and Path(os.environ[VARIABLE]).exists()
