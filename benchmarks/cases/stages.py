"""A stage: one peer set up on a database of its own, ready to be measured again and again."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.counting.counters import FOLDER as COUNTERS
from benchmarks.measuring.hosts import Host
from benchmarks.measuring.processes import Processes, running
from benchmarks.measuring.records import FOLDER as RECORDS
from benchmarks.measuring.records import Records
from benchmarks.measuring.servers import REDIS, analyze, database, name_of, url_of
from benchmarks.peers.roster import Peer


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Where one peer is measured; ``folder`` holds its logs, records and counters."""

    peer: Peer
    store: str
    url: str
    name: str
    folder: Path
    is_counted: bool = False

    @property
    def environment(self) -> dict[str, str]:
        settings = dict(self.peer.settings)
        if self.is_counted:
            settings["INSTALLED_APPS"] = [*settings["INSTALLED_APPS"], "benchmarks.counting"]
        return {
            "DJANGO_SETTINGS_MODULE": "benchmarks.settings",
            "DATABASE_URL": "sqlite://:memory:" if self.store == REDIS else self.url,
            "REDIS_URL": url_of(REDIS) or "",
            "BENCHMARKS_NAME": self.name,
            "BENCHMARKS_SETTINGS": json.dumps(settings),
            RECORDS: str(self.folder / "records"),
            COUNTERS: str(self.folder / "counters"),
        }

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @property
    def counters(self) -> Path:
        return self.folder / "counters"

    def host(self) -> Host:
        """Start a process that calls the peer's functions."""
        return Host(self.peer.module, self.environment, self.log)

    def fresh_records(self) -> Records:
        """Return the records of what runs from now on."""
        for name in ("records", "counters"):
            folder = self.folder / name
            folder.mkdir(exist_ok=True)
            for path in folder.iterdir():
                path.unlink()
        return Records(self.folder / "records")

    def analyze(self) -> None:
        analyze(self.store, self.url)

    @contextmanager
    def working(self, **words: object) -> Iterator[Processes]:
        """Run the peer's workers."""
        commands = [
            [word.format(url=self.url, **words) for word in command.split()]
            for command in self.peer.commands
        ]
        with running(commands, self.environment, self.log) as processes:
            yield processes


@contextmanager
def staged(peer: Peer, store: str, name: str, *, is_counted: bool = False) -> Iterator[Stage]:
    """Make the peer's database and tables; drop them at the end."""
    store = store if store in peer.stores else peer.stores[0]
    name = name_of(name)
    with database(store, name) as url, tempfile.TemporaryDirectory() as folder:
        stage = Stage(
            peer=peer,
            store=store,
            url=url,
            name=name,
            folder=Path(folder),
            is_counted=is_counted,
        )
        stage.fresh_records()
        with stage.host() as host:
            host.ask("prepare")
        try:
            yield stage
        finally:
            if REDIS in (*peer.stores, *peer.needs):
                with stage.host() as host:
                    host.ask("empty")
