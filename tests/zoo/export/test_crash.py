"""Real exports, killed, interrupted, stopped, out of disk: a whole version or none."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from zoo import export

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.slow


class Exporter:
    """The process of exporting.py."""

    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.zoo.export.exporting"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def ask(self, store: Path, **request) -> None:
        print(json.dumps({"store": str(store), **request}), file=self.process.stdin, flush=True)

    def wait(self) -> tuple[int, str]:
        """Exit code of the export (negative: the signal that ended it) and its error message."""
        reply = json.loads(self.process.stdout.readline())
        return os.waitstatus_to_exitcode(reply["status"]), reply["error"]

    def export(self, store: Path, **request) -> tuple[int, str]:
        self.ask(store, **request)
        return self.wait()


@pytest.fixture(scope="module")
def exporter():
    exporter = Exporter()
    yield exporter
    exporter.process.stdin.close()
    exporter.process.wait(60)


def entries(store: Path) -> list[str]:
    """What there is in the model's folder apart from whole versions."""
    folder = store / "model"
    return [entry.name for entry in folder.iterdir() if not entry.name.isdigit()]


def new_versions(store: Path, before: list[int]) -> list[int]:
    """Versions added since `before`, each of them whole."""
    after = export.versions(store, "model") if (store / "model").exists() else []
    assert after[: len(before)] == before
    added = after[len(before) :]
    for number in added:
        export.verify(store / "model" / str(number))
    return added


def test_killed_after_any_time(tmp_path, exporter):
    assert exporter.export(tmp_path) == (0, "")
    begun = time.monotonic()
    assert exporter.export(tmp_path) == (0, "")
    whole_run = time.monotonic() - begun
    published, outcomes = [1, 2], []
    for _ in range(10):
        after = random.uniform(0, whole_run)
        outcomes.append(exporter.export(tmp_path, after=after)[0])
        published += new_versions(tmp_path, published)
    assert set(outcomes) <= {0, -signal.SIGKILL}
    assert -signal.SIGKILL in outcomes
    assert exporter.export(tmp_path) == (0, "")
    published += new_versions(tmp_path, published)
    assert published == list(range(1, len(published) + 1))
    assert entries(tmp_path) == [".lock"]
    assert export.load(export.latest(tmp_path, "model"))["serving_default"](x=[[0.0] * 100])


def test_killed_as_each_file_appears(tmp_path, exporter):
    """TensorFlow's own files included, which it writes outside Python."""
    killed, published = 0, []
    for number in range(1, 18, 2):
        store = tmp_path / str(number)
        store.mkdir()
        status, _ = exporter.export(store, entries=number)
        assert status in (0, -signal.SIGKILL)
        killed += status != 0
        published += new_versions(store, [])
    assert killed >= 4


def test_killed_before_each_file_operation(tmp_path, exporter):
    """From the first folder to the flush after the rename; each run cleans up after the last."""
    published, number, status = [], 0, -signal.SIGKILL
    while status == -signal.SIGKILL:
        number += 2  # test_publish.py dies at every line
        status, error = exporter.export(tmp_path, event=number, signal=signal.SIGKILL)
        published += new_versions(tmp_path, published)
        leftovers = [name for name in entries(tmp_path) if name != ".lock"] if number > 3 else []
        assert len(leftovers) <= 1
    assert (status, error) == (0, "")
    assert number > 20
    assert len(published) > 1  # some were killed after their rename
    assert entries(tmp_path) == [".lock"]


@pytest.mark.parametrize("number", [6, 12, 18])
def test_ctrl_c_leaves_nothing(tmp_path, exporter, number):
    assert exporter.export(tmp_path, event=number, signal=signal.SIGINT) == (130, "")
    assert entries(tmp_path) == [".lock"]
    assert new_versions(tmp_path, []) == []


def test_a_stopped_exporter_keeps_its_files(tmp_path, exporter, coin_model):
    """Alive but slow is not dead: another export leaves its staging folder alone."""
    exporter.ask(tmp_path, event=12, signal=signal.SIGSTOP)
    while not (stopped := _stopped_child(exporter.process.pid)):
        time.sleep(0.01)
    try:
        before = entries(tmp_path)
        assert len(before) == 2  # the lock and the staging folder
        assert export.export(coin_model, tmp_path, "model").name == "1"
        assert entries(tmp_path) == before
    finally:
        os.kill(stopped, signal.SIGCONT)
    assert exporter.wait() == (0, "")
    assert new_versions(tmp_path, []) == [1, 2]
    assert entries(tmp_path) == [".lock"]


def _stopped_child(parent: int) -> int | None:
    for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        if Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] == "T":
            return int(child)
    return None


def assert_full(store: Path, before: list[int], status: int, error: str) -> None:
    assert status == 1
    assert error.endswith(".")
    assert "\n" not in error
    assert error in (
        f"Cannot write a version of 'model' in {store}: {reason}; nothing was published."
        for reason in ("File too large", "No space left on device")
    )
    assert new_versions(store, before) == []
    assert entries(store) in ([".lock"], [])


@pytest.mark.parametrize("limit", [0, 500, 5_000, 30_000])
def test_a_file_that_cannot_grow(tmp_path, exporter, limit):
    assert exporter.export(tmp_path) == (0, "")
    assert_full(tmp_path, [1], *exporter.export(tmp_path, limit=limit))


def test_a_full_disk(tmp_path, exporter):
    """A file system of few kilobytes, where this process may mount one; limits above otherwise."""
    assert exporter.export(tmp_path) == (0, "")
    needed = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) // 1024
    full = 0
    for kilobytes in range(4, needed, 12):
        disk = tmp_path / f"disk{kilobytes}"
        disk.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(disk)]
        if subprocess.run(mount, capture_output=True).returncode != 0:
            break
        try:
            status, error = exporter.export(disk)
            assert_full(disk, [], status, error)
            full += 1
        finally:
            subprocess.run(["umount", str(disk)], check=True)
    assert full > 2 or os.geteuid() != 0 or not _may_mount(tmp_path)


def _may_mount(folder: Path) -> bool:
    tried = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(folder)], capture_output=True)
    if tried.returncode == 0:
        subprocess.run(["umount", str(folder)], check=True)
    return tried.returncode == 0
