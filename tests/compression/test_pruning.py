"""Pruning: zeros where they were asked for, held by later training, and options without sense."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest

import zoo
from compression import masks
from compression.errors import NotApplicable
from compression.pruning import prune
from compression.subject import Subject
from compression.tuning import fine_tune
from tests.zoo.training import tiny
from zoo.errors import InvalidOption

DATA = tiny.images(192)


@pytest.fixture(scope="module")
def trained() -> Subject:
    """A small convolutional network that knows its three classes."""
    keras.utils.set_random_seed(0)
    arguments = {**DATA.model_arguments, "filters": (8,), "dense_units": 16}
    model = zoo.build("cnn", **arguments)
    recipe = zoo.get("cnn").recipe.replace(batch_size=32, learning_rate=3e-3)
    subject = Subject(model, "cnn", arguments, DATA, recipe)
    fine_tune(subject, model, epochs=12, learning_rate=3e-3)
    return subject


@pytest.fixture(scope="module")
def pruned(trained: Subject) -> Subject:
    return prune(trained, sparsity=0.7, layers={"*_1": 0.5, "hidden": 0.7}, epochs=2)


def accuracy(subject: Subject) -> float:
    guess = subject.model.predict(DATA.test.x, verbose=0).argmax(-1)
    return float((guess == DATA.test.y).mean())


def test_the_chosen_layers_are_sparse_and_the_accuracy_stays(trained: Subject, pruned: Subject):
    for name, sparsity in (("conv_1", 0.5), ("hidden", 0.7), ("probabilities", 0.0)):
        kernel = np.asarray(pruned.model.get_layer(name).kernel)
        assert (kernel == 0).mean() == pytest.approx(sparsity, abs=0.01)
    assert accuracy(trained) > 0.9
    assert accuracy(pruned) > accuracy(trained) - 0.1


def test_the_step_tells_what_was_done(pruned: Subject):
    (step,) = pruned.steps
    assert step.technique == "prune"
    assert step.options["sparsity"] == 0.7
    assert step.options["layers"] == {"*_1": 0.5, "hidden": 0.7}
    assert step.facts["sparsity"] == pytest.approx(0.7, abs=0.01)
    assert {name: layer["by"] for name, layer in step.facts["layers"].items()} == {
        "conv_1": "tfmot",
        "hidden": "tfmot",
    }
    assert step.facts["fine_tuning"]["steps"] == 12
    assert step.skipped == {"probabilities": "not among the chosen layers"}


def test_the_given_model_is_left_alone(trained: Subject, pruned: Subject):
    assert pruned.model is not trained.model
    assert masks.zeros(trained.model.get_weights()) < 0.05
    assert not trained.masks


def test_masks_are_recorded_and_later_training_keeps_them(pruned: Subject):
    assert set(pruned.masks) == {"conv_1/kernel", "hidden/kernel"}
    again = prune(pruned, sparsity=0.1, layers="probabilities", epochs=0)
    fine_tune(again, again.model, epochs=1)
    weights = {variable.path: np.asarray(variable) for variable in again.model.weights}
    for path, mask in again.masks.items():
        assert not weights[path][~mask].any()
        assert not np.signbit(weights[path][~mask]).any()
        assert weights[path][mask].all()
    assert set(again.masks) == {*pruned.masks, "probabilities/kernel"}


def test_two_of_four_without_fine_tuning(trained: Subject):
    found = prune(trained, pattern="2:4", epochs=0.01)  # less than a step
    for mine in masks.with_matrices(found.model).values():
        assert all(masks.keeps_two_of_four(np.asarray(found.model.weights[p])) for p in mine)
    assert found.steps[0].options["sparsity"] == 0.5
    assert found.steps[0].facts["fine_tuning"]["steps"] == 0


def test_the_last_pattern_that_matches_gives_the_sparsity(trained: Subject):
    found = prune(trained, layers={"*": 0.9, "conv*": 0.25}, epochs=0)
    layers = {name: of["sparsity"] for name, of in found.steps[0].facts["layers"].items()}
    assert layers == pytest.approx({"conv_1": 0.25, "hidden": 0.9, "probabilities": 0.9}, abs=0.01)


def test_a_model_that_no_builder_makes_is_pruned_in_keras_3(trained: Subject):
    subject = dataclasses.replace(trained, rebuildable=False)
    found = prune(subject, sparsity=0.8, epochs=2)
    assert found.steps[0].facts["sparsity"] == pytest.approx(0.8, abs=0.01)
    assert "own mask" in found.steps[0].facts["layers"]["hidden"]["by"]
    assert accuracy(found) > 0.7


def test_the_same_seed_gives_the_same_model(trained: Subject):
    subject = dataclasses.replace(trained, rebuildable=False)
    one, two = (
        prune(subject, schedule="constant", epochs=0.2).model.get_weights() for _ in range(2)
    )
    for first, second in zip(one, two, strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sparsity": 0}, "sparsity is 0"),
        ({"sparsity": 1.0}, "above 0 and below 1"),
        ({"sparsity": -0.5}, "sparsity is -0.5"),
        ({"sparsity": float("nan")}, "sparsity is nan"),
        ({"sparsity": "most"}, "sparsity is most"),
        ({"pattern": "2:4", "sparsity": 0.8}, "leave it out"),
        ({"pattern": "2:4", "layers": {"*": 0.5}}, "give layers as a list"),
        ({"layers": {"*": 0.5, "hidden": 1}}, "sparsity is 1"),
        ({"pattern": "4:2"}, "Unknown pattern '4:2'"),
        ({"schedule": "cosine"}, "polynomial or constant"),
        ({"layers": ["dense*"]}, "choose from conv_1, hidden, probabilities"),
        ({"epochs": -1}, "epochs is -1"),
    ],
)
def test_options_without_sense_are_one_sentence(trained: Subject, options: dict, words: str):
    with pytest.raises(InvalidOption) as error:
        prune(trained, **options)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_a_model_with_other_arguments_is_refused(trained: Subject):
    with pytest.raises(NotApplicable, match="other weights than this model"):
        prune(trained.model, builder="cnn", dataset=DATA)
