from __future__ import annotations

import json
import shutil
from datetime import datetime, timedelta, timezone
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from zoo import export
from zoo.errors import StoreError


@pytest.fixture(scope="module")
def exported(tmp_path_factory, texts, text_model) -> Path:
    return export.export(
        text_model,
        tmp_path_factory.mktemp("store"),
        "topics",
        dataset=texts,
        metrics={"test": {"accuracy": np.float32(0.5), "loss": float("nan")}, "n": np.int64(3)},
        training={"command": "zoo train topics", "seed": 0, "recipe": {"epochs": (1, 2)}},
    )


@pytest.fixture
def version(exported, tmp_path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "1"))


def test_what_the_card_says(exported, text_model):
    card = export.read_card(exported)
    assert card["name"] == "topics"
    assert card["task"] == {"kind": "classification", "class_names": ["crude", "music"]}
    assert card["dataset"] == {
        "name": "texts",
        "licence": "CC0-1.0",
        "source": "made by the tests",
    }
    assert card["metrics"] == {"test": {"accuracy": 0.5, "loss": None}, "n": 3}
    assert card["training"] == {
        "command": "zoo train topics",
        "seed": 0,
        "recipe": {"epochs": [1, 2]},
    }
    total = text_model.count_params()
    assert card["parameters"] == {"total": total, "trainable": total}
    assert card["preprocessing"]["vocabulary"]["words"] == 4
    assert card["versions"].keys() == {
        "python",
        "tensorflow",
        "keras",
        "numpy",
        "model-zoo-serving",
    }
    created = datetime.fromisoformat(card["created"])
    assert abs(datetime.now(timezone.utc) - created) < timedelta(hours=1)


def test_the_signature_table(exported):
    explained = {
        "attributions": {"dtype": "float32", "shape": [None, 5]},
        "tokens": {"dtype": "string", "shape": [None, 5]},
        "output": {"dtype": "float32", "shape": [None]},
        "baseline_output": {"dtype": "float32", "shape": [None]},
    }
    answered = {
        "label": {"dtype": "string", "shape": [None]},
        "classes": {"dtype": "string", "shape": [None, 2]},
        "probabilities": {"dtype": "float32", "shape": [None, 2]},
    }
    assert export.read_card(exported)["signatures"] == {
        "serving_default": {
            "inputs": {"tokens": {"dtype": "int32", "shape": [None, 5]}},
            "outputs": {"probabilities": {"dtype": "float32", "shape": [None, 2]}},
        },
        "predict_text": {
            "inputs": {"text": {"dtype": "string", "shape": [None]}},
            "outputs": answered,
        },
        "explain": {
            "inputs": {"text": {"dtype": "string", "shape": [None]}},
            "outputs": {**answered, **explained},
        },
    }


def test_frozen_weights_are_not_trainable(tmp_path, image_model):
    card = export.read_card(export.export(image_model, tmp_path, "m"))
    frozen = 2 * 4  # the moving mean and variance of four channels
    assert card["parameters"]["total"] - card["parameters"]["trainable"] == frozen


def test_the_checksum_is_that_of_sha256sum(exported):
    checksum = export.read_card(exported)["checksum"]
    lines = [
        f"{sha256(path.read_bytes()).hexdigest()}  {path.relative_to(exported).as_posix()}\n"
        for path in exported.rglob("*")
        if path.is_file() and path.name != "model_card.json"
    ]
    lines.sort(key=lambda line: line.split("  ")[1])
    assert {path: entry["sha256"] for path, entry in checksum["files"].items()} == {
        line[66:-1]: line[:64] for line in lines
    }
    assert checksum["tree"] == sha256("".join(lines).encode()).hexdigest()
    assert {"saved_model.pb", "assets/vocabulary.txt"} <= checksum["files"].keys()
    export.verify(exported)


@pytest.mark.parametrize(
    "path", ["saved_model.pb", "variables/variables.index", "assets/vocabulary.txt"]
)
def test_verify_names_the_damaged_file(version, path):
    content = bytearray((version / path).read_bytes())
    content[len(content) // 2] ^= 1
    (version / path).write_bytes(content)
    with pytest.raises(StoreError, match=f"{path} changed since"):
        export.verify(version)
    (version / path).unlink()
    with pytest.raises(StoreError, match=f"lacks {path}"):
        export.verify(version)


def test_verify_names_an_extra_file(version):
    (version / "variables" / "more").write_text("")
    with pytest.raises(StoreError, match="holds variables/more"):
        export.verify(version)


def edited(version: Path, **changes) -> Path:
    card = {**export.read_card(version), **changes}
    (version / "model_card.json").write_text(json.dumps(card))
    return version


@pytest.mark.parametrize("checksum", [None, {}, [], {"files": {}}, {"files": [], "tree": ""}])
def test_cards_without_a_checksum(version, checksum):
    with pytest.raises(StoreError, match="holds no checksum"):
        export.verify(edited(version, checksum=checksum))


def test_a_tree_hash_that_does_not_fit(version):
    checksum = {**export.read_card(version)["checksum"], "tree": "0" * 64}
    with pytest.raises(StoreError, match="does not fit"):
        export.verify(edited(version, checksum=checksum))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"null"])
def test_damaged_cards(version, content):
    (version / "model_card.json").write_bytes(content)
    for ask in (export.read_card, export.verify):
        with pytest.raises(StoreError, match=r"model_card\.json is not"):
            ask(version)


def test_missing_cards(tmp_path):
    with pytest.raises(StoreError, match=r"Cannot read .*No such file"):
        export.verify(tmp_path)
