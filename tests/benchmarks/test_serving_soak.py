"""The soak: how it judges, whose memory it counts, and a short run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import record, soak
from benchmarks.serving import memory
from benchmarks.serving.memory import Sample


def samples(*mib: float) -> list[Sample]:
    return [Sample(float(index + 1), index, 0, value, 1) for index, value in enumerate(mib)]


@pytest.mark.parametrize(
    ("mib", "grew"),
    [
        ([10, 100, 100, 100, 100], False),  # the start does not count
        ([100, 100, 100, 100, 104], False),
        ([100, 100, 100, 100, 106], True),
        ([100, 100, 900, 100, 100], False),  # and neither does a peak in between
        ([100, 200, 150, 100, 50], False),
    ],
)
def test_growth(mib: list[float], grew: bool) -> None:
    found = memory.growth(samples(*(value for value in mib for _ in range(10))), 5.0)
    assert found.grew is grew
    assert str(found).startswith("growth" if grew else "no growth")


def test_a_run_of_one_sample_is_judged() -> None:
    assert not memory.growth(samples(100.0), 5.0).grew


def test_thinned_samples_keep_the_end() -> None:
    kept = memory.thinned(samples(*range(100)), 7)
    assert len(kept) == 7
    assert (kept[-1].seconds, kept[-1].requests) == (100.0, 99)
    assert kept[0].mib == 7.0  # the mean of 0 to 14


def test_children_and_theirs_are_counted() -> None:
    code = (
        "import subprocess, sys; print(flush=True);"
        "subprocess.run([sys.executable, '-c', 'print(flush=True); input()'])"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        for _ in range(2):
            process.stdout.readline()
        found = memory.family(process.pid)
        assert len(found) == 2
        assert set(found) <= set(memory.family(os.getpid()))
        assert all(memory.resident(pid) > 1 for pid in found)
        process.communicate(b"\n")
    assert memory.resident(process.pid) == 0


@pytest.mark.slow
def test_a_short_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(record, "RESULTS", tmp_path)
    monkeypatch.setattr(soak, "REQUESTS", 300)
    monkeypatch.setattr(soak, "SWAPS", 2)
    assert soak.main(["--requests", "300", "--swaps", "2", "--bound", "100"]) == 0
    assert "2 swaps" in capsys.readouterr().out
    kept = record.read("soak")
    assert kept["requests"] >= 300
    assert kept["swaps"] == 2
    assert kept["memory"]["grew"] is False
    assert kept["rows"][-1]["mib"] > 100
    assert (tmp_path / "soak.png").read_bytes().startswith(b"\x89PNG")
