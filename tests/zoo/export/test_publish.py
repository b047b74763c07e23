"""Atomic publishing without TensorFlow: real processes, killed at every line of publish.py."""

from __future__ import annotations

import errno
import gc
import json
import os
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from zoo import export
from zoo.errors import InvalidOption, StoreError
from zoo.export import publish
from zoo.export.publish import STAGING, staging

# Python 3.12 warns of fork in a process with threads: the children run no code but this file's.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

FILES = {"saved_model.pb": b"graph" * 100, "variables/data": b"weights" * 1000}


def publish_one(store: Path, name: str = "cnn") -> Path:
    with staging(store, name) as stage:
        for path, content in FILES.items():
            (stage.path / path).parent.mkdir(exist_ok=True)
            (stage.path / path).write_bytes(content)
        return stage.publish()


def is_whole(version: Path) -> bool:
    found = {
        path.relative_to(version).as_posix(): path.read_bytes()
        for path in version.rglob("*")
        if path.is_file()
    }
    return found == FILES


def leftovers(store: Path) -> list[Path]:
    return list((store / "cnn").glob(f"{STAGING}*"))


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
    code = (
        "import sys; from pathlib import Path;"
        "from tests.zoo.export.test_publish import publish_one;"
        "[print(publish_one(Path(sys.argv[1])).name) for _ in range(15)]"
    )
    torn, stop = [], threading.Event()

    def watch():
        while not stop.wait(0.002):
            if (tmp_path / "cnn").exists():
                found = export.versions(tmp_path, "cnn")
                torn.extend(n for n in found[-3:] if not is_whole(tmp_path / "cnn" / str(n)))

    watcher = threading.Thread(target=watch)
    watcher.start()
    exporters = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
        for _ in range(4)
    ]
    published = [int(line) for one in exporters for line in one.communicate()[0].split()]
    stop.set()
    watcher.join()
    assert [one.returncode for one in exporters] == [0] * 4
    assert sorted(published) == list(range(1, 61)) == export.versions(tmp_path, "cnn")
    assert not torn
    assert not leftovers(tmp_path)


def in_a_child(work) -> int:
    """Run `work` in a forked process that never returns to pytest; its wait status."""
    child = os.fork()
    if child == 0:
        # Nothing of pytest's (or of a TensorFlow that it loaded) may run here, and no hang last.
        gc.disable()
        signal.alarm(60)
        status = 70
        try:
            work()
            status = 0
        except KeyboardInterrupt:
            status = 130
        except StoreError:
            status = 1
        finally:
            os._exit(status)
    return os.waitpid(child, 0)[1]


def signal_at_line(number: int, which: int):
    """A trace function that sends `which` to this process before the number-th line it runs."""
    lines = 0

    def trace(frame, event, _):
        nonlocal lines
        if frame.f_code.co_filename not in (publish.__file__, __file__):
            return None
        if event == "line":
            lines += 1
            if lines == number:
                os.kill(os.getpid(), which)
        return trace

    return trace


def each_line(store: Path, which: int):
    """(wait status, versions before, versions after) of an export for each line of its run."""
    number = status = 0
    while number == 0 or status != 0 or os.WIFSIGNALED(status):
        number += 1
        before = export.versions(store, "cnn")

        def work(number=number):
            sys.settrace(signal_at_line(number, which))
            publish_one(store)
            sys.settrace(None)

        status = in_a_child(work)
        yield status, before, export.versions(store, "cnn")
        assert number < 1000


def test_kill_9_at_every_line_leaves_a_whole_version_or_none(tmp_path):
    (tmp_path / "cnn").mkdir()
    kills = published = 0
    for status, before, after in each_line(tmp_path, signal.SIGKILL):
        kills += os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        assert after[: len(before)] == before
        assert len(after) - len(before) in (0, 1)
        assert all(is_whole(tmp_path / "cnn" / str(version)) for version in after[-2:])
        assert len(leftovers(tmp_path)) <= 1  # each export removes what the last one left
        published += len(after) - len(before)
    assert kills > 60
    assert 1 < published < kills  # some were killed after the rename, most before
    assert not leftovers(tmp_path)


def test_ctrl_c_at_every_line_cleans_up(tmp_path):
    (tmp_path / "cnn").mkdir()
    interrupted = 0
    for status, before, after in each_line(tmp_path, signal.SIGINT):
        interrupted += os.WIFEXITED(status) and os.WEXITSTATUS(status) == 130
        assert len(after) - len(before) in (0, 1)
        assert all(is_whole(tmp_path / "cnn" / str(version)) for version in after[-2:])
    assert interrupted > 60
    assert not leftovers(tmp_path)


def test_ctrl_c_while_writing_removes_the_staging_folder(tmp_path):
    def work():
        with staging(tmp_path, "cnn") as stage:
            (stage.path / "half").write_text("…")
            os.kill(os.getpid(), signal.SIGINT)
            signal.pause()

    assert os.WEXITSTATUS(in_a_child(work)) == 130
    assert not leftovers(tmp_path)


def test_a_live_exporter_keeps_its_staging_folder(tmp_path):
    with staging(tmp_path, "cnn") as stage:
        (stage.path / "mine").write_text("…")
        assert publish_one(tmp_path).name == "1"  # cleans up after the dead only
        assert (stage.path / "mine").read_text() == "…"
        assert stage.publish().name == "2"
    assert not leftovers(tmp_path)


def test_a_full_disk_publishes_nothing(tmp_path):
    def work():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            publish_one(tmp_path)
        except OSError as error:
            os._exit(1 if error.errno == errno.EFBIG else 71)

    assert os.WEXITSTATUS(in_a_child(work)) == 1
    assert export.versions(tmp_path, "cnn") == []
    assert not leftovers(tmp_path)


def test_the_lock_of_a_dead_exporter_does_not_block(tmp_path):
    def work():
        with staging(tmp_path, "cnn"), publish._locked(tmp_path / "cnn" / ".lock"):
            os.kill(os.getpid(), signal.SIGKILL)

    assert os.WTERMSIG(in_a_child(work)) == signal.SIGKILL
    assert len(leftovers(tmp_path)) == 1
    assert publish_one(tmp_path).name == "1"
    assert not leftovers(tmp_path)


def test_damaged_leftovers_are_removed(tmp_path):
    (tmp_path / "cnn" / f"{STAGING}old" / "version").mkdir(parents=True)
    (tmp_path / "cnn" / f"{STAGING}old" / "version" / "card").write_text(json.dumps({}))
    assert publish_one(tmp_path).name == "1"
    assert not leftovers(tmp_path)
