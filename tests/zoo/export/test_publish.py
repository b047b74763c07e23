"""Atomic publishing without TensorFlow: real processes, killed at every line of publish.py."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from zoo import export
from zoo.errors import InvalidOption, StoreError
from zoo.export.publish import STAGING, staging

from .publishing import is_whole, leftovers, publish_one

ROOT = Path(__file__).parents[3]


def start(store: Path, *arguments) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.zoo.export.publishing", str(store), *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(store: Path, *arguments) -> tuple[int, str, str]:
    """Exit code (negative: a signal), stdout and stderr of publishing.py."""
    process = start(store, *arguments)
    out, errors = process.communicate(timeout=120)
    return process.returncode, out, errors


def test_versions_count_up(tmp_path):
    assert [publish_one(tmp_path).name for _ in range(3)] == ["1", "2", "3"]
    (tmp_path / "cnn" / "41").mkdir()
    assert publish_one(tmp_path).name == "42"
    assert is_whole(tmp_path / "cnn" / "42")
    assert not any((tmp_path / "cnn" / "41").iterdir())
    assert not leftovers(tmp_path)


def test_the_store_is_made_with_ordinary_permissions(tmp_path):
    version = publish_one(tmp_path / "a" / "store")
    umask = os.umask(0)
    os.umask(umask)
    for folder in (version, version / "variables", version.parent, version.parents[1]):
        assert folder.stat().st_mode & 0o777 == 0o777 & ~umask


def test_a_failed_export_leaves_nothing(tmp_path):
    def fail():
        with staging(tmp_path, "cnn") as stage:
            (stage.path / "half").write_text("…")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert export.versions(tmp_path, "cnn") == []
    assert not leftovers(tmp_path)


def test_nothing_appears_before_publish(tmp_path):
    with staging(tmp_path, "cnn") as stage:
        (stage.path / "file").write_text("…")
        assert export.versions(tmp_path, "cnn") == []
        assert not any(entry.name.isdigit() for entry in (tmp_path / "cnn").iterdir())


@pytest.mark.parametrize(
    ("store", "reason"),
    [
        ("file", "Not a directory"),
        ("file/store", "Not a directory"),
        ("model_is_a_file", "File exists|Not a directory"),
        ("/proc/store", "No such file|denied|not permitted"),
    ],
)
def test_stores_that_cannot_be_written(tmp_path, store, reason):
    (tmp_path / "file").write_text("")
    (tmp_path / "model_is_a_file").mkdir()
    (tmp_path / "model_is_a_file" / "cnn").write_text("")
    with pytest.raises(StoreError, match=reason) as error, staging(tmp_path / store, "cnn"):
        pass
    assert "\n" not in str(error.value)


def test_bad_names_make_no_folder(tmp_path):
    for name in ("../cnn", "a/b", "7", ".x"):
        with pytest.raises(InvalidOption), staging(tmp_path / "store", name):
            pass
    assert not (tmp_path / "store").exists()


def test_a_number_taken_by_a_file_or_a_foreign_spelling_is_left_alone(tmp_path):
    (tmp_path / "cnn" / "007").mkdir(parents=True)
    (tmp_path / "cnn" / "8").write_text("mine")
    assert publish_one(tmp_path).name == "9"
    assert (tmp_path / "cnn" / "8").read_text() == "mine"


def test_concurrent_exporters_lose_nothing(tmp_path):
    """4 processes publish 15 versions each; a watcher never sees one that is not whole."""
    torn, stop = [], threading.Event()

    def watch():
        while not stop.wait(0.002):
            if (tmp_path / "cnn").exists():
                found = export.versions(tmp_path, "cnn")
                torn.extend(n for n in found[-3:] if not is_whole(tmp_path / "cnn" / str(n)))

    watcher = threading.Thread(target=watch)
    watcher.start()
    exporters = [start(tmp_path, "versions", 15) for _ in range(4)]
    published = [int(line) for one in exporters for line in one.communicate()[0].split()]
    stop.set()
    watcher.join()
    assert [one.returncode for one in exporters] == [0] * 4
    assert sorted(published) == list(range(1, 61)) == export.versions(tmp_path, "cnn")
    assert not torn
    assert not leftovers(tmp_path)


def test_kill_9_at_every_line_leaves_a_whole_version_or_none(tmp_path):
    (tmp_path / "cnn").mkdir()
    runs = [json.loads(line) for line in run(tmp_path, "each_line", 9)[1].splitlines()]
    assert {one["exit"] for one in runs[:-1]} == {-signal.SIGKILL}
    assert runs[-1]["exit"] == 0
    assert len(runs) > 60
    for one in runs:
        assert one["whole"]
        assert one["after"] == list(range(1, len(one["after"]) + 1))
        assert len(one["after"]) - len(one["before"]) in (0, 1)
        assert one["leftovers"] <= 1  # each export removes what the last one left
    published = len(runs[-1]["after"])
    assert 1 < published < len(runs)  # some were killed after the rename, most before
    assert not leftovers(tmp_path)


def test_ctrl_c_at_every_line_cleans_up(tmp_path):
    (tmp_path / "cnn").mkdir()
    runs = [json.loads(line) for line in run(tmp_path, "each_line", 2)[1].splitlines()]
    assert {one["exit"] for one in runs[:-1]} == {130}
    assert len(runs) > 60
    assert all(one["whole"] for one in runs)
    assert not leftovers(tmp_path)


def test_ctrl_c_while_writing_removes_the_staging_folder(tmp_path):
    code, _, errors = run(tmp_path, "interrupted")
    assert code in (-signal.SIGINT, 130)
    assert errors.strip().endswith("KeyboardInterrupt")
    assert not leftovers(tmp_path)


def test_a_live_exporter_keeps_its_staging_folder(tmp_path):
    with staging(tmp_path, "cnn") as stage:
        (stage.path / "mine").write_text("…")
        assert publish_one(tmp_path).name == "1"  # cleans up after the dead only
        assert (stage.path / "mine").read_text() == "…"
        assert stage.publish().name == "2"
    assert not leftovers(tmp_path)


def test_a_full_disk_publishes_nothing(tmp_path):
    code, _, errors = run(tmp_path, "limited")
    assert code == 1
    assert "File too large" in errors
    assert export.versions(tmp_path, "cnn") == []
    assert not leftovers(tmp_path)


def test_the_lock_of_a_dead_exporter_does_not_block(tmp_path):
    assert run(tmp_path, "locked")[0] == -signal.SIGKILL
    assert len(leftovers(tmp_path)) == 1
    assert publish_one(tmp_path).name == "1"
    assert not leftovers(tmp_path)


def test_damaged_leftovers_are_removed(tmp_path):
    (tmp_path / "cnn" / f"{STAGING}old" / "version").mkdir(parents=True)
    (tmp_path / "cnn" / f"{STAGING}old" / "version" / "card").write_text(json.dumps({}))
    assert publish_one(tmp_path).name == "1"
    assert not leftovers(tmp_path)
