"""The supervisor with workers that load nothing: starts, ends, backing off, the stop."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

# A worker says what a real one says; a file in the current folder makes it fail.
SCRIPT = """
import logging, os, sys, time
from pathlib import Path
from serving.errors import StartError
from serving.server.workers import supervisor
from serving.server.workers.channel import Channel, pack
from serving.server.workers.failure import to_json
from serving.server.workers.lister import Lister

def wait_for(end, channel, kind):
    while True:
        for message in channel.receive()[0]:
            if message["kind"] == kind:
                return
        time.sleep(0.01)

def work(end, turn):
    channel = Channel(end)
    if Path("refuse").exists():
        end.sendall(pack({"kind": "failed", "error": to_json(StartError("It will not."))}))
        return
    if Path("crash").exists():
        os._exit(3)
    if Path("nonsense").exists():
        channel.send({"kind": "report"})
    channel.send({"kind": "hello", "id": 1})
    wait_for(end, channel, "reply")
    channel.send({"kind": "loaded"})
    wait_for(end, channel, "accept")
    channel.send({"kind": "serving"})
    wait_for(end, channel, "stop")

logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(message)s")
supervisor.FIRST_BACKOFF_SECONDS = 0.5
lister = Lister(lambda: [], 0)
try:
    supervisor.Supervisor(work, 3, lister=lister, sockets={}, lines=["all answer"]).run()
except StartError as error:
    print(error, file=sys.stderr)
    sys.exit(7)
"""


class Supervised:
    def __init__(self, folder: Path):
        self.folder, self.log = folder, folder / "log"
        with self.log.open("wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-c", SCRIPT], cwd=folder, stderr=stderr,
                env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
            )  # fmt: skip

    def text(self) -> str:
        return self.log.read_text()

    def workers(self) -> list[int]:
        pid = self.process.pid
        return [int(pid) for pid in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def until(self, check: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 60
        while not check():
            assert time.monotonic() < deadline, self.text()
            time.sleep(0.02)


@pytest.fixture
def supervised(tmp_path: Path):
    found = Supervised(tmp_path)
    yield found
    found.process.kill()
    found.process.wait(30)


def test_workers_that_end_are_replaced_and_the_stop_is_clean(supervised: Supervised) -> None:
    supervised.until(lambda: "all answer" in supervised.text())
    before = supervised.workers()
    assert len(before) == 3
    for pid in before[:2]:
        os.kill(pid, signal.SIGKILL)
    supervised.until(lambda: supervised.text().count("answers\n") == 2)
    after = supervised.workers()
    assert set(before) & set(after) == {before[2]}
    assert len(after) == 3
    for pid in after:  # a Ctrl-C reaches them all; they are told when to stop
        os.kill(pid, signal.SIGINT)
        os.kill(pid, signal.SIGTERM)
    time.sleep(0.3)
    assert supervised.workers() == after
    supervised.process.send_signal(signal.SIGINT)
    assert supervised.process.wait(30) == 0
    assert supervised.text().count("all answer") == 1
    assert supervised.text().count("another one starts") == 2
    assert "Traceback" not in supervised.text()


def test_a_worker_that_does_not_come_up_is_tried_again_later(supervised: Supervised) -> None:
    supervised.until(lambda: "all answer" in supervised.text())
    (supervised.folder / "crash").touch()
    os.kill(supervised.workers()[0], signal.SIGKILL)
    supervised.until(lambda: supervised.text().count("(exit status 3)") >= 3)
    (supervised.folder / "refuse").touch()
    supervised.until(lambda: "(It will not.)" in supervised.text())
    assert len(supervised.workers()) >= 2
    for name in ("crash", "refuse"):
        (supervised.folder / name).unlink()
    supervised.until(lambda: "answers\n" in supervised.text())
    ends = [line for line in supervised.text().splitlines() if "has ended" in line]
    assert ends[0].endswith("another one starts")
    assert [line.rpartition(" in ")[2] for line in ends[1:4]] == ["0 s", "1 s", "2 s"]
    supervised.process.terminate()
    assert supervised.process.wait(30) == 0


def test_nonsense_is_logged_and_not_the_end(tmp_path: Path) -> None:
    (tmp_path / "nonsense").touch()
    supervised = Supervised(tmp_path)
    supervised.until(lambda: "all answer" in supervised.text())
    assert supervised.text().count("was not understood") == 3
    supervised.process.terminate()
    assert supervised.process.wait(30) == 0


@pytest.mark.parametrize(
    ("way", "said"),
    [
        ("refuse", "It will not."),
        ("crash", "A worker process ended before it was ready (exit status 3)."),
    ],
)
def test_the_first_start_must_succeed(tmp_path: Path, way: str, said: str) -> None:
    (tmp_path / way).touch()
    supervised = Supervised(tmp_path)
    assert supervised.process.wait(60) == 7
    assert supervised.text() == said + "\n"
