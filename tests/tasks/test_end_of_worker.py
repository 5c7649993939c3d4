"""What a process sends at its end."""

from __future__ import annotations

from functools import partial
from multiprocessing import get_context
from pathlib import Path

from django_retrytasks.tasks import tracing


def work(file: Path) -> None:
    """Ask, as each attempt of a worker does."""
    send = partial(write, file)
    for _ in range(3):
        tracing.at_end_of_worker(send)
    assert not file.exists()


def write(file: Path) -> None:
    with file.open("a") as written:
        written.write("sent ")


def test_each_worker_sends_once_however_often_it_is_asked(tmp_path: Path) -> None:
    files = [tmp_path / "one", tmp_path / "two"]
    workers = [get_context("fork").Process(target=work, args=(file,)) for file in files]

    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(20)

    assert [worker.exitcode for worker in workers] == [0, 0]
    assert [file.read_text() for file in files] == ["sent ", "sent "]
