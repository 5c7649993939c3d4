"""The tests' site with its times stored as local times of a zone that has summer time."""

from tests.settings import *  # noqa: F403

USE_TZ = False
TIME_ZONE = "Europe/Berlin"
