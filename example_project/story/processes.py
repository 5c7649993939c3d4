"""Processes that do not outlive this one. Standard library only."""

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from subprocess import PIPE, Popen, TimeoutExpired
from typing import Any

GRACE = 10.0  # seconds from the polite SIGTERM to the SIGKILL of all that is left
# Nobody writes to the shell's standard input. It ends with this process, even a killed one; then
# the command is stopped: its main process alone, for a qcluster whose workers are told too hangs.
LEASH = (
    'exec 3<&0; "$@" & command=$!; { read -r _ <&3; kill $command; } 2>/dev/null & wait $command'
)


@contextmanager
def running(command: Sequence[object], **options: Any) -> Iterator[Popen[bytes]]:
    """Run a command until the block is left or this process ends; `options` are Popen's.

    The process given to the block ends when the command ends, with its exit code.
    """
    shell = ["sh", "-c", LEASH, "sh", *map(str, command)]
    with Popen(shell, stdin=PIPE, start_new_session=True, **options) as process:
        try:
            yield process
        finally:
            if process.stdin:
                process.stdin.close()
            with suppress(TimeoutExpired):
                process.wait(GRACE)
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
