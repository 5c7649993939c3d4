"""Fetch the tests of the Django that is installed, and run ``test_conformance.py`` with them.

``python -m tests.conformance`` downloads Django's source distribution; arguments go to pytest.
"""

import os
import subprocess
import sys
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

import django

PIP = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "django"]


def main() -> int:
    """Return pytest's exit code."""
    with TemporaryDirectory() as folder:
        subprocess.run([*PIP, "--dest", folder, f"django=={django.__version__}"], check=True)
        [archive] = Path(folder).glob("*.tar.gz")
        with tarfile.open(archive) as source:
            source.extractall(folder, filter="data")
        os.environ["DJANGO_TESTS"] = str(next(Path(folder).glob("*/tests")))
        tests = [
            sys.executable,
            "-m",
            "pytest",
            "tests/conformance/test_conformance.py",
            *sys.argv[1:],
        ]
        return subprocess.run(tests, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
