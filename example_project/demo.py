#!/usr/bin/env python3
"""Watch a background task fail in three ways, be retried on schedule, and be announced.

    python3 example_project/demo.py [--storm] [--countdown SECONDS] [--keep] [--plain]

With --storm: watch 500 tasks fail of one cause, and be announced by a handful of letters.
It needs Python 3.11 or later and nothing else: all that it installs and writes is in
example_project/.demo.
"""

import sys

# Old Pythons read this file too, so it says nothing that they do not understand.
if sys.version_info < (3, 11):  # noqa: UP036
    sys.exit("The demo needs Python 3.11 or later; this is {}.{}.".format(*sys.version_info))
if sys.platform == "win32":
    sys.exit("The demo needs Linux or macOS; on Windows it runs inside WSL.")

if __name__ == "__main__":
    from story.setup import main

    sys.exit(main())
