"""Quantization-aware training: an int8 TFLite file that answers as the model does."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

import zoo
from compression.clustering import cluster
from compression.errors import NotApplicable
from compression.pruning import prune
from compression.qat import qat
from compression.subject import Subject
from compression.tuning import fine_tune
from tests.zoo.training import tiny
from zoo.errors import InvalidOption

DATA = tiny.images(256)
SPARSITY = 0.6


@pytest.fixture(scope="module")
def trained() -> Subject:
    """A small convolutional network that knows its three classes."""
    keras.utils.set_random_seed(0)
    arguments = {**DATA.model_arguments, "filters": (8,), "dense_units": 16}
    model = zoo.build("cnn", **arguments)
    recipe = zoo.get("cnn").recipe.replace(batch_size=16, learning_rate=3e-3)
    subject = Subject(model, "cnn", arguments, DATA, recipe)
    fine_tune(subject, model, epochs=8, learning_rate=3e-3)
    return subject


@pytest.fixture(scope="module")
def quantized(trained: Subject) -> Subject:
    return qat(trained, epochs=3)


@pytest.fixture(scope="module")
def preserved(trained: Subject) -> Subject:
    """Pruned and clustered without training, then trained with both kept."""
    return qat(cluster(prune(trained, sparsity=SPARSITY, epochs=0), clusters=8, epochs=0), epochs=3)


def answers(subject: Subject, x: np.ndarray) -> np.ndarray:
    runner = Interpreter(model_content=subject.form.tflite).get_signature_runner("serving_default")
    return runner(image=x)["probabilities"]


def int8_weights(subject: Subject) -> dict[tuple[int, ...], np.ndarray]:
    """Shape → values, of the file's int8 constants."""
    interpreter = Interpreter(model_content=subject.form.tflite)
    interpreter.allocate_tensors()
    found = {}
    for detail in interpreter.get_tensor_details():
        if detail["dtype"] == np.int8 and len(detail["shape"]) > 1:
            try:
                found[tuple(detail["shape"])] = interpreter.get_tensor(detail["index"]).copy()
            except ValueError:  # an activation
                continue
    return found


def test_it_answers_as_well_as_the_model(trained: Subject, quantized: Subject):
    truth = DATA.test.y
    guess = answers(quantized, DATA.test.x).argmax(-1)
    wanted = trained.model.predict(DATA.test.x, verbose=0).argmax(-1)
    assert (wanted == truth).mean() > 0.9
    assert (guess == truth).mean() > (wanted == truth).mean() - 0.05


def test_any_batch_size_and_the_zoos_names(quantized: Subject):
    interpreter = Interpreter(model_content=quantized.form.tflite)
    assert interpreter.get_signature_list() == {
        "serving_default": {"inputs": ["image"], "outputs": ["probabilities"]}
    }
    for count in (1, 5):
        found = answers(quantized, DATA.test.x[:count])
        assert found.shape == (count, 3)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)


def test_the_weights_are_int8(trained: Subject, quantized: Subject):
    shapes = set(int8_weights(quantized))
    assert {(8, 3, 3, 1), (16, 200), (3, 16)} <= shapes
    assert len(quantized.form.tflite) < 4 * trained.model.count_params()


def test_the_step_and_the_form(trained: Subject, quantized: Subject):
    (step,) = quantized.steps
    assert step.facts["scheme"] == "default"
    assert step.facts["layers"] == ["conv_1", "hidden", "probabilities"]
    assert step.facts["bytes"] == len(quantized.form.tflite)
    assert step.facts["whole"] is True
    assert quantized.form.name == "qat"
    assert quantized.form.server_flags == ("--prefer_tflite_model",)
    assert quantized.model is trained.model


def test_zeros_and_clusters_are_kept(preserved: Subject):
    assert preserved.steps[-1].facts["scheme"] == "prune_cluster"
    hidden = int8_weights(preserved)[16, 200]
    assert (hidden == 0).mean() >= SPARSITY - 0.01
    assert len(np.unique(hidden)) <= 8
    guess = answers(preserved, DATA.test.x).argmax(-1)
    assert (guess == DATA.test.y).mean() > 0.8


@pytest.mark.parametrize("name", ["lstm", "gru", "simple_rnn", "bidirectional_lstm"])
def test_recurrent_models_are_told_what_they_can_take(name: str):
    model = zoo.build(name)
    with pytest.raises(NotApplicable) as error:
        qat(model, builder=name, dataset=DATA)
    assert "use quantize with the form dynamic_range" in str(error.value)
    assert "\n" not in str(error.value)


def test_bad_options(trained: Subject):
    with pytest.raises(InvalidOption, match="epochs is -2"):
        qat(trained, epochs=-2)
    with pytest.raises(InvalidOption, match="needs a step at least"):
        qat(trained, epochs=0)
    with pytest.raises(NotApplicable, match="put qat before that"):
        qat(dataclasses.replace(trained, rebuildable=False))
