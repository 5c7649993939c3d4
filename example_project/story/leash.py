"""Run a command for as long as someone holds the other end of standard input.

The holder may end, crash or be killed: its end of the pipe closes, and the command is stopped with
all the processes it has started. Standard library only: it holds pip while the demo sets itself up.
"""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

GRACE = 10.0  # seconds from the polite SIGTERM to the SIGKILL of the whole session


@contextmanager
def leashed(command: Sequence[object], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Run `command` in a session of its own until the block is left; `options` are Popen's.

    The process given to the block ends when the command ends, with its exit code.
    """
    leash = subprocess.Popen(
        [sys.executable, "-IS", __file__, *map(str, command)],
        stdin=subprocess.PIPE,
        start_new_session=True,
        **options,
    )
    try:
        yield leash
    finally:
        if leash.stdin:
            leash.stdin.close()
        leash.wait()


def main(command: Sequence[str]) -> int:
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    while process.poll() is None and is_held():
        pass
    stop(process)
    return process.returncode


def is_held() -> bool:
    """Wait a moment; nobody ever writes to the pipe, so it is readable only once it is closed."""
    readable, _, _ = select.select([sys.stdin], [], [], 0.1)
    return not readable


def stop(process: subprocess.Popen[bytes]) -> None:
    # The main process alone gets the SIGTERM: a qcluster whose workers get it too hangs.
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(GRACE)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
