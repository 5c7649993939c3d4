"""The tests' site with Sentry initialised; the address is in ``SENTRY_DSN``.

All is as it comes, but for the seconds that a process may take at its end to send what it has.
"""

import sentry_sdk

from tests.settings import *  # noqa: F403

sentry_sdk.init(shutdown_timeout=15)
