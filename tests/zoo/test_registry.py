"""Models and recipes by name: listing, nearest names, JSON, and what recipes refuse."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import zoo
from zoo.errors import InvalidOption, UnknownName
from zoo.recipe import Recipe


def test_unknown_names_come_with_the_nearest() -> None:
    with pytest.raises(UnknownName) as error:
        zoo.build("cn_small")
    assert "cnn_small" in str(error.value)
    with pytest.raises(UnknownName, match="filters"):
        zoo.build("cnn", filter=3)


def test_listing_by_pattern() -> None:
    assert zoo.list_models("*rnn*") == ["simple_rnn"]
    assert zoo.list_models("cnn*") == ["cnn", "cnn_small"]
    assert zoo.list_models("nothing*") == []


def test_recipes_survive_json() -> None:
    for name in zoo.list_models():
        recipe = zoo.get(name).recipe
        assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe


@pytest.mark.parametrize(
    "change",
    [
        {"epochs": 0},
        {"batch_size": -1},
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"optimizer": "adan"},
        {"schedule": "step"},
        {"warmup_epochs": 8.0, "epochs": 8},
        {"early_stopping": -1},
        {"final_learning_rate": 0.0},
    ],
)
def test_recipes_refuse_what_makes_no_sense(change: dict) -> None:
    with pytest.raises(InvalidOption) as error:
        zoo.get("cnn").recipe.replace(**change)
    assert "\n" not in str(error.value)


def test_listing_models_loads_no_tensorflow() -> None:
    script = (
        "import sys, zoo, zoo.models, zoo.datasets, zoo.export, serving; zoo.list_models(); "
        "sys.exit(any(name in sys.modules for name in ('tensorflow', 'keras', 'tf_keras')))"
    )
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0
