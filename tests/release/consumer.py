"""Check the types of a site against the wheel that is installed, as the site's developer would.

`python -m tests.release.consumer [mypy's arguments]` copies the example project, and beside it what
mypy is to know of the public names, to a folder without the package's source.
"""

import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[2]
CONFIG = "example_project/pyproject.toml"


def main(arguments: list[str]) -> int:
    """Return mypy's exit code."""
    with TemporaryDirectory() as folder:
        site = Path(folder, "example_project")
        shutil.copytree(ROOT / "example_project", site, ignore=shutil.ignore_patterns(".demo"))
        shutil.copy(ROOT / "tests" / "typing_api.py", site)
        mypy = [sys.executable, "-m", "mypy", "--config-file", CONFIG, *arguments, site.name]
        return subprocess.run(mypy, cwd=folder).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
