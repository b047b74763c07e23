"""Mixed precision computes in 16 bits, keeps float32 weights, and gives float32 answers."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import keras
import numpy as np
import pytest
from rich.console import Console

import zoo
from zoo.errors import InvalidOption
from zoo.precision import with_precision
from zoo.training import train

SMALL = {
    "cnn": {"input_shape": (12, 12, 1), "filters": (4,), "dropout": 0.1},
    "gru": {"bidirectional": True, "units": 4},
    "transformer_classifier": {"vocabulary_size": 40, "max_length": 8, "width": 8},
}


@pytest.mark.parametrize("name", SMALL)
def test_layers_compute_in_16_bits_but_the_last(name: str) -> None:
    model = zoo.build(name, **SMALL[name])
    copy = with_precision(model, "mixed_bfloat16")
    inner = [layer for layer in copy.layers if layer.weights][:-1]
    assert inner
    assert {layer.compute_dtype for layer in inner} == {"bfloat16"}
    assert {str(weight.dtype) for weight in copy.weights} == {"float32"}
    x = np.ones((2, *model.inputs[0].shape[1:]), "float32")
    assert copy(x).dtype == "float32"
    np.testing.assert_allclose(copy(x), model(x), atol=0.02)
    back = with_precision(copy, "float32")
    np.testing.assert_array_equal(back(x), model(x))


def test_layers_within_layers_follow() -> None:
    copy = with_precision(zoo.build("gru", **SMALL["gru"]), "mixed_float16")
    both = copy.get_layer("both_ways")
    assert {both.forward_layer.compute_dtype, both.backward_layer.compute_dtype} == {"float16"}


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_a_run_in_mixed_precision_leaves_a_float32_model(precision: str, tmp_path: Path) -> None:
    recipe = zoo.get("softmax_regression").recipe.replace(precision=precision, epochs=3)
    run = train(
        "softmax_regression", recipe=recipe, runs=tmp_path, console=Console(file=StringIO())
    )
    model = run.load_model()
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}
    assert run.metrics()["test"]["accuracy"] > 0.5


def test_float16_scales_its_loss() -> None:
    from zoo.datasets import Task
    from zoo.training.fit import compile_model

    model = with_precision(zoo.build("dense"), "mixed_float16")
    recipe = zoo.get("dense").recipe.replace(precision="mixed_float16")
    compile_model(model, Task("classification", tuple("0123456789")), recipe, 10)
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)


def test_an_unknown_precision_is_one_sentence() -> None:
    with pytest.raises(InvalidOption, match="'float8': choose from float32, mixed_bfloat16"):
        zoo.get("cnn").recipe.replace(precision="float8")
