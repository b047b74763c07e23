"""`zoo data`: numbers and a sheet of samples, of every kind of data set."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zoo import datasets
from zoo.cli import main
from zoo.datasets import facts, sheet

# One of every form: images, sequences, two tables, texts, pairs of texts, one text with gaps.
NAMES = [
    "mnist_5_9",
    "japanese_vowels",
    "breast_cancer",
    "diabetes",
    "reuters_r8",
    "ui_strings_en_es",
    "reuters_mlm",
]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_facts_and_sheet(name: str) -> None:
    data = datasets.load(name)
    found = json.loads(json.dumps(facts.facts(data)))
    for split in ("train", "validation", "test"):
        part, arrays = found["splits"][split], data.split(split).arrays()
        assert part["examples"] == len(data.split(split))
        assert [tuple(one["shape"]) for one in part["inputs"].values()] == [
            array.shape[1:] for array in arrays.values()
        ]
        if data.task.predicts_classes:
            counts = [classes[split] for classes in found["classes"].values()]
            assert sum(counts) == part["examples"]
            assert list(found["classes"]) == list(data.task.class_names)
    picture = Image.open(io.BytesIO(sheet.sheet(data)))
    assert picture.format == "PNG"
    assert min(picture.size) > 300
    assert len(np.unique(np.asarray(picture.convert("L")))) > 20


def test_every_class_is_on_the_sheet() -> None:
    data = datasets.load("digits")
    rows = sheet._rows(data, "test", 24, 0)
    assert np.bincount(data.test.y[rows], minlength=10).min() == 2
    assert rows == sheet._rows(data, "test", 24, 0) != sheet._rows(data, "test", 24, 1)


def test_tables_and_licence(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "cells.png"
    assert main(["data", "breast_cancer", "--split", "test", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    for words in ("float32 (30)", "malignant", "257", "CC BY 4.0 (UCI)", "W. Wolberg", str(out)):
        assert words in said
    assert out.read_bytes().startswith(b"\x89PNG")


def test_json(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "d.png"
    assert main(["data", "diabetes", "--json", "--out", str(out)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["task"] == "regression"
    assert found["sheet"] == str(out)
    assert found["targets"][0]["least"] == 25
    assert found["splits"]["train"] == {
        "examples": 319,
        "inputs": {"x": {"dtype": "float32", "shape": [10]}},
        "targets": {"dtype": "float32", "shape": [1]},
    }


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["mnits"], "Unknown data set 'mnits': did you mean mnist"),
        (["digits", "--split", "exam"], "digits has no split 'exam'"),
        (["digits", "--out", "no/such/folder/d.png"], "no/such/folder/d.png: No such file"),
    ],
)
def test_errors_are_one_line(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture
) -> None:
    assert main(["data", *arguments]) == 1
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
