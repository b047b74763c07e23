"""Clustering: few values a matrix, zeros kept, and options without sense."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest

import zoo
from compression.clustering import cluster, grouped
from compression.pruning import prune
from compression.subject import Subject
from compression.tuning import fine_tune
from tests.zoo.training import tiny
from zoo.errors import InvalidOption

DATA = tiny.images(192)


@pytest.fixture(scope="module")
def trained() -> Subject:
    """A small dense network that knows its three classes."""
    keras.utils.set_random_seed(0)
    arguments = {**DATA.model_arguments, "units": (16,)}
    model = zoo.build("dense", **arguments)
    recipe = zoo.get("dense").recipe.replace(batch_size=32, learning_rate=3e-3)
    subject = Subject(model, "dense", arguments, DATA, recipe)
    fine_tune(subject, model, epochs=10, learning_rate=3e-3)
    return subject


@pytest.fixture(scope="module")
def pruned(trained: Subject) -> Subject:
    return prune(trained, sparsity=0.6, epochs=0)


@pytest.fixture(scope="module")
def clustered(pruned: Subject) -> Subject:
    return cluster(pruned, clusters=6, epochs=1)


def accuracy(subject: Subject) -> float:
    guess = subject.model.predict(DATA.test.x, verbose=0).argmax(-1)
    return float((guess == DATA.test.y).mean())


def kernels(subject: Subject) -> dict[str, np.ndarray]:
    return {v.path: np.asarray(v) for v in subject.model.weights if v.path.endswith("kernel")}


def test_few_values_and_the_old_zeros(pruned: Subject, clustered: Subject):
    for path, kernel in kernels(clustered).items():
        assert len(np.unique(kernel)) <= 6
        assert not kernel[~pruned.masks[path]].any()
    assert clustered.steps[-1].facts["sparsity"] >= 0.6 - 0.001
    assert clustered.clusters == {p: len(np.unique(k)) for p, k in kernels(clustered).items()}
    assert set(clustered.masks) == set(pruned.masks)


def test_the_accuracy_stays(trained: Subject, clustered: Subject):
    assert accuracy(trained) > 0.9
    assert accuracy(clustered) > accuracy(trained) - 0.1


def test_the_step_tells_which_way_each_layer_went(clustered: Subject):
    layers = clustered.steps[-1].facts["layers"]
    assert layers["hidden_1"]["by"] == "tfmot"
    assert layers["probabilities"]["by"].startswith("own k-means: too few weights")
    assert [step.technique for step in clustered.steps] == ["prune", "cluster"]


def test_the_given_model_is_left_alone(trained: Subject, clustered: Subject):
    assert all(len(np.unique(kernel)) > 6 for kernel in kernels(trained).values())


def test_without_fine_tuning_it_is_k_means(trained: Subject):
    found = cluster(trained, clusters=4, epochs=0, layers="hidden_1")
    assert len(np.unique(kernels(found)["hidden_1/kernel"])) == 4
    assert found.clusters == {"hidden_1/kernel": 4}
    assert found.steps[0].skipped == {"probabilities": "not among the chosen layers"}


def test_a_model_that_no_builder_makes_is_clustered_in_keras_3(pruned: Subject):
    subject = dataclasses.replace(pruned, rebuildable=False)
    still = cluster(subject, clusters=5, epochs=0)
    found = cluster(subject, clusters=5, epochs=2)
    for path, kernel in kernels(found).items():
        assert len(np.unique(kernel)) <= 5
        assert not kernel[~pruned.masks[path]].any()
        assert not np.array_equal(kernel, kernels(still)[path])  # its values were trained
    assert all(v.constraint is None for v in found.model.trainable_weights)
    assert accuracy(found) > 0.8


def test_groups_are_those_of_the_nearest_values():
    rng = np.random.default_rng(0)
    centers = np.array([-2.0, 0.5, 3.0])
    truth = rng.integers(0, 3, (20, 7))
    weight = (centers[truth] + rng.normal(0, 0.05, truth.shape)).astype("float32")
    for init in ("kmeans++", "linear"):
        index, count = grouped(weight, 3, init)
        assert count == 3
        np.testing.assert_array_equal(index, truth)


def test_zeros_have_a_group_of_their_own():
    weight = np.array([[0.0, 1.0, 2.0, -1.0, 0.0]], "float32")
    index, count = grouped(weight, 3, "kmeans++", weight != 0)
    assert count == 3
    assert (index == 0).tolist() == [[True, False, False, False, True]]
    assert grouped(weight, 16, "linear", weight != 0)[1] == 4  # no more than there are values
    assert grouped(weight * 0, 16, "linear", weight != weight)[1] == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"clusters": 1}, "from 2 to 256"),
        ({"clusters": 257}, "from 2 to 256"),
        ({"clusters": 2.5}, "whole number"),
        ({"init": "guess"}, "kmeans++, linear, density"),
        ({"layers": ["conv*"]}, "choose from hidden_1, probabilities"),
        ({"epochs": float("inf")}, "epochs is inf"),
    ],
)
def test_options_without_sense_are_one_sentence(trained: Subject, options: dict, words: str):
    with pytest.raises(InvalidOption) as error:
        cluster(trained, **options)
    assert words in str(error.value)


def test_zeros_leave_room_for_two_values(pruned: Subject):
    with pytest.raises(InvalidOption, match="from 3 to 256"):
        cluster(pruned, clusters=2)
