"""The tests' site with Sentry initialised, all as it comes; the address is in ``SENTRY_DSN``."""

import sentry_sdk

from tests.settings import *  # noqa: F403

sentry_sdk.init()
