"""A run that was cut off goes on to the weights of an uninterrupted one. Real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from zoo.training.runs import Run

pytestmark = pytest.mark.slow

# Dropout, whose random numbers must go on too, and a schedule; small but for the epochs.
COMMAND = [sys.executable, "-m", "zoo.cli", "train", "gru", "--epochs", "24", "--seed", "3"]


def start(runs: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [*COMMAND, "--runs", str(runs)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_for_epochs(runs: Path, count: int, process: subprocess.Popen) -> Path:
    """The run's folder, once it says that so many epochs are done."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        for path in runs.glob("gru/*/run.json"):
            if json.loads(path.read_text())["epochs"] >= count:
                return path.parent
        time.sleep(0.02)
    raise AssertionError(f"no {count} epochs: {process.communicate()[1]}")


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Run:
    runs = tmp_path_factory.mktemp("uninterrupted")
    subprocess.run([*COMMAND, "--runs", str(runs)], check=True, capture_output=True)
    (folder,) = (runs / "gru").iterdir()
    return Run.open(folder)


@pytest.mark.parametrize(
    ("number", "status", "state"),
    [
        (signal.SIGKILL, -signal.SIGKILL, "running"),
        (signal.SIGTERM, 143, "interrupted"),
        (signal.SIGINT, 130, "interrupted"),
    ],
    ids=["kill -9", "SIGTERM", "Ctrl-C"],
)
def test_resumed_weights_equal_uninterrupted_ones(
    number: int, status: int, state: str, uninterrupted: Run, tmp_path: Path
) -> None:
    process = start(tmp_path)
    folder = wait_for_epochs(tmp_path, 3, process)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == status
    if state == "interrupted":
        assert f"zoo train --resume {folder}" in said
        assert "Traceback" not in said
    cut = Run.open(folder)
    assert cut.info["state"] == state
    assert 3 <= cut.info["epochs"] < 24
    resumed = subprocess.run(
        [sys.executable, "-m", "zoo.cli", "train", "--resume", str(folder), "--json"],
        capture_output=True,
        text=True,
    )
    assert resumed.returncode == 0, resumed.stderr
    assert json.loads(resumed.stdout)["test"] == uninterrupted.metrics()["test"]
    ours = Run.open(folder).load_model().get_weights()
    for mine, theirs in zip(ours, uninterrupted.load_model().get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)

    def without_seconds(run: Run) -> list[str]:
        lines = (run.folder / "history.csv").read_text().splitlines()
        return [line.rpartition(",")[0] for line in lines]

    assert without_seconds(Run.open(folder)) == without_seconds(uninterrupted)
    assert not (folder / "checkpoint").exists()


def test_a_full_disk_is_one_line_and_leaves_a_resumable_run(tmp_path: Path) -> None:
    """A limit on file sizes stands for the full disk: it needs no rights and no mount."""
    script = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))\n"
        "from zoo.cli import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *COMMAND[3:], "--runs", str(tmp_path)],
        capture_output=True,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("Error:")
    assert "Traceback" not in done.stderr
    (folder,) = (tmp_path / "gru").iterdir()
    assert Run.open(folder).info["epochs"] == 0
