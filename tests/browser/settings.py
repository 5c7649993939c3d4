"""The site that a browser visits: strict about content, in the visitor's language.

It runs on PostgreSQL where `POSTGRES_URL` names a server. A `qcluster` that inherits this
environment imports the shop's tasks, too.
"""

import os
import sys
from pathlib import Path

from django.utils.csp import CSP

if postgres_url := os.environ.get("POSTGRES_URL"):
    os.environ.setdefault("DATABASE_URL", postgres_url)

from tests.settings import *  # noqa: F403
from tests.settings import MIDDLEWARE as BARE

SITE = Path(__file__).parent / "site"
sys.path.append(str(SITE))

MIDDLEWARE = [
    "django.middleware.csp.ContentSecurityPolicyMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    *(name for name in BARE if not name.endswith("SessionMiddleware")),
]
SECURE_CSP = {"default-src": [CSP.SELF]}
ROOT_URLCONF = "tests.browser.urls"
TIME_ZONE = "UTC"
