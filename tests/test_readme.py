"""The README says what is true: its figures are the kept ones, its commands exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import zoo
from benchmarks import readme, record
from zoo.cli import main

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def test_figures_are_the_kept_ones() -> None:
    assert readme.filled(TEXT) == TEXT, "run python -m benchmarks.readme"


def test_every_model_has_a_result_at_or_above_its_target() -> None:
    rows = {row["model"]: row for row in record.read("models")["rows"]}
    assert sorted(rows) == zoo.list_models()
    for row in rows.values():
        assert len(row["values"]) == 3
        assert row["mean"] >= row["target"], row["model"]


def test_it_fits_150_lines() -> None:
    assert len(TEXT.splitlines()) <= 150


def test_its_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:`|^)make ([a-z-]+)", TEXT, re.MULTILINE))
    assert {"demo", "test"} <= named <= targets


@pytest.mark.parametrize("verb", sorted(set(re.findall(r"`(?:[A-Z_]+=\w+ )?zoo ([a-z]+)", TEXT))))
def test_its_verbs_exist(verb: str, capsys: pytest.CaptureFixture) -> None:
    assert main([verb, "--help"]) == 0
    assert "Usage" in capsys.readouterr().out


def test_its_folders_exist() -> None:
    for folder in re.findall(r"^\| `([a-z/]+/)` \|", TEXT, re.MULTILINE):
        assert (ROOT / folder).is_dir()
