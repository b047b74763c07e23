"""The benchmark of compression: its table of stacks, a row of a tiny model, the peers, the page."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks import readme
from benchmarks.compression import peers, rows, tables
from benchmarks.compression.cases import CASES, DISTILLED, Case, Targets, verdicts
from compression import stacks
from compression.measure import export_plain, loaded, quality
from compression.subject import Subject
from zoo import registry

SILENT = Console(quiet=True)
EASY = Targets(gzip=0.9, batch_1=0.0, batch_32=0.0, drop=1.0)
CASE = Case("tiny", "softmax_regression", "dynamic_range", EASY, epochs=3)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    rows.trained(CASE, folder, 0, SILENT)
    return folder


@pytest.fixture(scope="module")
def row(runs: Path) -> dict:
    return rows.measured(CASE, runs, SILENT, rounds=1, with_peers=False)


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_every_stack_can_be_applied(case: Case) -> None:
    """Names, strengths and order are right, and the builder takes the arguments."""
    assert str(stacks.parse(case.stack)) == case.stack
    registry.get(case.model).check(case.arguments)
    assert case.targets.gzip < 1 <= case.targets.batch_32


def test_a_run_with_other_sizes_is_not_taken(runs: Path) -> None:
    before = list((runs / CASE.model).iterdir())
    assert rows.trained(CASE, runs, 0, SILENT).folder == before[0]
    info = {"arguments": {"units": (64, 32)}}
    dense = CASES["dense"]
    assert rows._same(info, dense)
    assert not rows._same({"arguments": {"units": [16, 8]}}, dense)
    assert not rows._same(info, Case("x", "dense", "", EASY, DISTILLED["dense"]))


def test_a_row_says_what_was_reached(row: dict) -> None:
    assert json.loads(json.dumps(row)) == row
    assert [version["name"] for version in row["versions"]] == [
        rows.PLAIN, rows.ZOO, rows.COMPRESSED,
    ]  # fmt: skip
    assert row["ratios"] == row["versions"][2]["ratios"]
    assert row["ratios"]["gzip_bytes"] < 0.5
    assert row["met"] == dict.fromkeys(("gzip", "batch_1", "batch_32", "drop"), True)
    assert row["versions"][2]["served"]["largest_difference"] < 1e-5


def test_verdicts() -> None:
    ratios = {"gzip_bytes": 0.05, "in_process_batch_1": 2.9, "in_process_batch_32": 3.0}
    met = verdicts(Targets(0.05, 3, 3, 0.005), ratios, 0.006)
    assert met == {"gzip": True, "batch_1": False, "batch_32": True, "drop": False}
    assert tables.verdict(met) == "not batch 1, drop"
    assert tables.verdict(dict.fromkeys(met, True)) == "all"


def test_tables_have_a_cell_for_each_column(row: dict) -> None:
    assert {len(cells) for cells in tables.targets([row])} == {len(tables.COLUMNS)}
    assert {len(cells) for cells in tables.versions([row])} == {len(tables.PEER_COLUMNS)}
    lines = tables.markdown(tables.COLUMNS, tables.targets([row]))
    assert {line.count("|") for line in lines} == {len(tables.COLUMNS) + 1}


def test_each_peer_answers_or_says_why_not(runs: Path, tmp_path: Path) -> None:
    subject = Subject.of(rows.trained(CASE, runs, 0, SILENT))
    plain = export_plain(subject.model, tmp_path / "plain")
    found, missing = peers.versions(subject, plain, tmp_path / "peers", SILENT)
    names = {version.name for version in found}
    assert names | set(missing) == {
        "tfmot tutorial", "Keras int8", "OpenVINO float32", "OpenVINO bfloat16", "OpenVINO int8",
    }  # fmt: skip
    assert {"tfmot tutorial", "Keras int8"} <= names
    assert ("OpenVINO float32" in names) == bool(importlib.util.find_spec("openvino"))
    with loaded(found) as servables:
        for name, servable in servables.items():
            assert quality.answers(servable, subject.dataset).value > 0.5, name


def test_the_page_is_filled_from_what_is_kept() -> None:
    page = "<!-- compression -->\nold\n<!-- /compression -->\n"
    filled = readme.filled("docs/compression.md", page)
    assert "old" not in filled
    assert filled.count("<!-- compression -->") == 1
