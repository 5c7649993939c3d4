"""The process of a cluster that a test runs: qcluster, on the test's databases.

``python -m django_retrytasks.testing.cluster_process DATABASES``, where DATABASES is a JSON object
of database names by alias.
"""

from __future__ import annotations

import json
import sys


def main(names: str) -> None:
    """Run qcluster; its mail is kept as in a test, and alerts are not sent."""
    import django
    from django.conf import settings
    from django.core.management import call_command
    from django.test.utils import setup_test_environment

    django.setup()
    for alias, name in json.loads(names).items():
        settings.DATABASES[alias]["NAME"] = name
    setup_test_environment()

    from .draining import alerting

    # qcluster forks its processes, so all of this holds there too.
    with alerting(send_alerts=False):
        call_command("qcluster")


if __name__ == "__main__":
    main(sys.argv[1])
