"""Reports from model cards: measured while publishing, measured anew, drawn."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from compression import flow, report
from compression.errors import BudgetNotMet
from compression.picture import picture
from compression.quantization import quantize
from compression.subject import Step, Subject
from zoo import registry, training
from zoo.errors import InvalidOption, StoreError
from zoo.export import read_card
from zoo.export.checksum import verify
from zoo.training.runs import Run

NAME = "digits"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    recipe = registry.get("softmax_regression").recipe.replace(epochs=5)
    return training.train("softmax_regression", recipe=recipe, runs=tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("reported")


@pytest.fixture(scope="module")
def published(run: Run, store: Path) -> Path:
    """Version 1 as trained, version 2 with int8 weights and a layer that was left alone."""
    subject = flow.subject_of(run, flow.parent_of(run, store, NAME))
    made = quantize(subject)
    made = made.then(Step("prune", {"sparsity": 0.5}, skipped={"hidden": "it has no weights"}))
    return flow.publish_measured(made, store, NAME, max_drop=0.01, rounds=2, over_grpc=False)


@pytest.fixture(scope="module")
def made(published: Path, store: Path) -> dict:
    return report.from_store(store, NAME)


def test_a_model_as_trained_is_exported_once(run: Run, store: Path, published: Path) -> None:
    assert published == store / NAME / "2"
    assert flow.parent_of(run, store, NAME) == store / NAME / "1"
    assert flow.subject_of(run, published, seed=7).seed == 7


def test_the_card_holds_metrics_and_measurements(published: Path) -> None:
    card = read_card(published)
    assert card["metrics"]["test"]["accuracy"] > 0.5
    assert card["metrics"]["validation"]["accuracy"] > 0.5
    about = card["compression"]
    assert about["parent"] == {"name": NAME, "version": 1}
    measured = about["measurements"]
    assert measured["version"]["ratios"]["gzip_bytes"] < 0.5
    assert measured["parent"]["ratios"]["in_process_batch_1"] == 1.0
    assert measured["version"]["quality"]["value"] == card["metrics"]["test"]["accuracy"]
    assert measured["run"]["dataset"] == "digits"


def test_a_report_has_a_row_for_each_version(made: dict) -> None:
    first, second = made["versions"]
    assert (first["version"], second["version"]) == (1, 2)
    assert first["measured"] == second["parent_measured"]
    assert second["skipped"] == [
        {"technique": "prune", "layer": "hidden", "reason": "it has no weights"}
    ]
    cells = report.rows(made)
    assert [row[1] for row in cells] == ["as trained", "dynamic_range+prune"]
    assert all(len(row) == len(report.COLUMNS) for row in cells)
    assert cells[0][4:7] == ["650", "650", "640"]
    assert cells[0][-3:] == ["1.000", "1.00×", "1.00×"]


def test_a_table_is_printed_with_what_was_skipped(
    made: dict, capsys: pytest.CaptureFixture
) -> None:
    report.show(made)
    said = capsys.readouterr().out
    assert "digits, in process" in said
    assert "over gRPC" not in said
    assert "it has no weights" in said
    assert "Version 2 needs --prefer_tflite_model" in said


def test_a_slower_version_is_said_to_be_slower(made: dict) -> None:
    slow = json.loads(json.dumps(made))
    slow["versions"][1]["measured"]["ratios"].update(in_process_batch_1=0.5, in_process_batch_32=3)
    said = [line for line in report.notes(slow) if "slower" in line]
    assert said == ["Version 2 is slower than its parent here: 0.50× at batch 1 in process."]


def test_a_version_that_was_never_measured(made: dict) -> None:
    bare = json.loads(json.dumps(made))
    bare["versions"][0]["measured"] = None
    cells = report.rows(bare)[0]
    assert len(cells) == len(report.COLUMNS)
    assert cells[2] == "not measured"
    Image.open(io.BytesIO(picture(bare))).verify()


def test_the_report_is_written_as_json_and_picture(made: dict, tmp_path: Path) -> None:
    text, image = report.write(made, tmp_path / "out")
    assert json.loads(text.read_text(encoding="utf-8")) == made
    pixels = np.asarray(Image.open(image).convert("RGB"))
    assert min(pixels.shape[:2]) > 300
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 10


def test_measuring_anew_changes_the_cards_alone(store: Path, published: Path, made: dict) -> None:
    flow.measure_all(store, NAME, rounds=1, over_grpc=False)
    again = report.from_store(store, NAME)
    for before, after in zip(made["versions"], again["versions"], strict=True):
        for key in ("bytes", "gzip_bytes", "parameters", "nonzero", "macs", "quality"):
            assert after["measured"][key] == before["measured"][key]
        assert after["run"]["rounds"] == 1
    assert again["versions"][1]["measured"]["parent"] == "1"
    for number in (1, 2):
        verify(store / NAME / str(number))


def test_a_loss_beyond_the_budget_publishes_nothing(run: Run, store: Path, published: Path) -> None:
    subject = flow.subject_of(run, store / NAME / "1")
    model = Subject.of(run).model
    model.set_weights([weights * 0 for weights in model.get_weights()])
    ruined = dataclasses.replace(subject, model=model)
    with pytest.raises(BudgetNotMet, match=r"loses 0\.\d+ of accuracy .* more than 0\.01"):
        flow.publish_measured(ruined, store, NAME, max_drop=0.01)
    assert not (store / NAME / "3").exists()


def test_what_cannot_be_reported(run: Run, tmp_path: Path) -> None:
    tmp_path.joinpath("empty").mkdir()
    with pytest.raises(StoreError, match="no version of 'nothing'"):
        report.from_store(tmp_path, "nothing")
    with pytest.raises(StoreError, match="no version of 'nothing'"):
        flow.measure_all(tmp_path, "nothing")
    with pytest.raises(InvalidOption, match="without a parent"):
        flow.publish_measured(Subject.of(run), tmp_path, NAME)
