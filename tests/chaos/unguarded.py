"""The tests' site with the claim's guard off: for the negative control of a chaos run alone."""

from tests import settings
from tests.settings import *  # noqa: F403

INSTALLED_APPS = [*settings.INSTALLED_APPS, "tests.chaos.sabotage.Sabotage"]
