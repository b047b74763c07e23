"""zoo compress and zoo report, from a run to a measured version."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from zoo import registry
from zoo.cli import main

MODEL = "softmax_regression"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run, and the versions that the first test makes of it."""
    from zoo import training

    folder = tmp_path_factory.mktemp("compress")
    recipe = registry.get(MODEL).recipe.replace(epochs=5)
    training.train(MODEL, recipe=recipe, runs=folder / "runs")
    return folder


def run(place: Path, *arguments: str) -> int:
    folders = [f"--{name}={place / name}" for name in ("runs", "store")]
    return main(["compress", MODEL, *folders, f"--out={place / 'out'}", *arguments])


def report(place: Path, *arguments: str) -> int:
    return main(["report", MODEL, f"--store={place / 'store'}", *arguments])


def test_a_recipe_ends_with_a_report(place: Path, capsys: pytest.CaptureFixture) -> None:
    assert (
        run(place, "--recipe", "prune:0.3@1+dynamic_range", "--max-drop", "0.2", "--rounds", "1")
        == 0
    )
    said = capsys.readouterr().out
    assert "prune+dynamic_range" in said
    assert "over gRPC" in said
    assert (place / "store" / MODEL / "2" / "model.tflite").is_file()
    assert (place / "store" / MODEL / "1" / "saved_model.pb").is_file()
    folder = place / "out" / f"{MODEL}-2"
    assert {path.name for path in folder.iterdir()} == {"report.json", "report.png"}

    assert report(place, "--json") == 0
    versions = json.loads(capsys.readouterr().out)["versions"]
    assert versions == json.loads((folder / "report.json").read_text(encoding="utf-8"))["versions"]
    ours = versions[1]["measured"]
    assert ours["served"]["largest_difference"] < 1e-5
    assert ours["nonzero"] < 500
    assert ours["ratios"]["gzip_bytes"] < 0.5


def test_a_report_measured_anew_and_drawn(place: Path, capsys: pytest.CaptureFixture) -> None:
    """What is not measured now (weights of a TFLite form) stays as it was in the card."""
    picture = place / "versions.png"
    assert report(place, "--measure", "--rounds", "1", "--json", "--picture", str(picture)) == 0
    versions = json.loads(capsys.readouterr().out)["versions"]
    assert versions[1]["measured"]["nonzero"] < 500
    assert versions[1]["measured"]["parent"] == "1"
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_search_publishes_what_it_finds(place: Path, capsys: pytest.CaptureFixture) -> None:
    options = (
        "--max-drop",
        "0.05",
        "--epochs",
        "1",
        "--objective",
        "size",
        "--no-served",
        "--rounds",
        "1",
    )
    assert run(place, *options, "--json") == 0
    newest = json.loads(capsys.readouterr().out)["versions"][-1]
    assert newest["version"] == 3
    assert newest["measured"]["ratios"]["gzip_bytes"] < 0.5
    assert "served" not in newest["measured"]


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--recipe", "prunne"], 1, "did you mean prune"),
        (["--recipe", "dynamic_range+prune"], 2, "cannot follow"),
        (["--recipe", "prune:1.5"], 2, "sparsity above 0 and below 1"),
        (["--recipe", "shrink:0.5"], 2, MODEL),
        (["--objective", "beauty"], 2, "latency, size"),
        (["--max-drop", "-1"], 2, "--max-drop"),
        (["--run", "nowhere"], 1, "not a run folder"),
        (["--recipe", "prune:0.95@0", "--max-drop", "0"], 1, "weaker techniques"),
    ],
)
def test_mistakes_are_one_line(
    place: Path,
    capsys: pytest.CaptureFixture,
    arguments: list[str],
    status: int,
    words: str,
) -> None:
    before = len(list((place / "store" / MODEL).glob("[0-9]*")))
    assert run(place, *arguments) == status
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("Error: ")]
    assert words in line
    assert len(list((place / "store" / MODEL).glob("[0-9]*"))) == before


def test_a_report_about_nothing(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["report", "nothing", "--store", str(tmp_path)]) == 1
    assert "holds no version of 'nothing'" in capsys.readouterr().err
