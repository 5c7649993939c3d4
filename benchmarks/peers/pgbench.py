"""pgbench, which writes the rows of the yardstick's twin: the limit of PostgreSQL itself.

No function runs. Two clients claim fifty jobs and settle them, over and over.
"""

from __future__ import annotations

from benchmarks.peers.yardstick import empty, enqueue, kept, left, prepare

__all__ = ["empty", "enqueue", "kept", "left", "prepare"]
