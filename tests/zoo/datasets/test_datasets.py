"""Every embedded data set with one target an example must pass these."""

from __future__ import annotations

import re

import numpy as np
import pytest

from zoo import datasets
from zoo.datasets.base import SPLITS, Dataset
from zoo.errors import DataError

EXPECTED = {
    "mnist": {"input_shape": (28, 28, 1), "num_classes": 10},
    "mnist_5_9": {"input_shape": (28, 28, 1), "num_classes": 5},
    "digits": {"input_shape": (64,), "num_classes": 10},
    "breast_cancer": {"input_shape": (30,)},
    "diabetes": {"input_shape": (10,), "num_outputs": 1},
    "japanese_vowels": {"input_shape": (29, 12), "num_classes": 9},
    "italy_power_demand": {"input_shape": (24, 1)},
    "reuters_r8": {"vocabulary_size": 11_657, "max_length": 128, "num_classes": 8},
    "reuters_r52": {"vocabulary_size": 13_233, "max_length": 128, "num_classes": 52},
}


@pytest.fixture(scope="module", params=EXPECTED)
def dataset(request) -> Dataset:
    return datasets.load(request.param)


def test_is_what_its_description_says(dataset: Dataset):
    info = datasets.describe(dataset.name)
    assert (dataset.licence, dataset.source) == (info.licence, info.source)
    assert dataset.task.kind == info.task
    sizes = [f"{len(dataset.split(name)):,}" for name in SPLITS]
    assert info.split.startswith(" / ".join(sizes) + ", ")


def test_tells_a_builder_what_it_must_know(dataset: Dataset):
    assert dataset.model_arguments == EXPECTED[dataset.name]


def test_input_has_the_form_of_its_kind(dataset: Dataset):
    for name in SPLITS:
        x = dataset.split(name).x
        if "max_length" in dataset.model_arguments:
            assert x.dtype == np.int32
            assert x.shape[1:] == (dataset.model_arguments["max_length"],)
            assert x.min() >= 0
            assert x.max() < dataset.model_arguments["vocabulary_size"]
        else:
            assert x.dtype == np.float32
            assert x.shape[1:] == dataset.model_arguments["input_shape"]
            assert np.isfinite(x).all()


def test_targets_have_the_form_of_the_task(dataset: Dataset):
    classes = len(dataset.task.class_names)
    for name in SPLITS:
        y = dataset.split(name).y
        if dataset.task.kind == "classification":
            assert (y.dtype, y.ndim) == (np.int32, 1)
            assert y.min() >= 0
            assert y.max() < classes == dataset.model_arguments["num_classes"]
        elif dataset.task.kind == "binary":
            assert (y.dtype, y.shape[1:]) == (np.float32, (1,))
            assert set(np.unique(y)) == {0.0, 1.0}
            assert classes == 2
        else:
            assert (y.dtype, y.shape[1:]) == (np.float32, (dataset.model_arguments["num_outputs"],))


def test_every_class_is_trained_on(dataset: Dataset):
    if dataset.task.kind != "regression":
        assert len(np.unique(dataset.train.y)) == len(dataset.task.class_names)


def test_the_raw_example_gives_the_model_input(dataset: Dataset):
    """The graph that exported models hold, on raw examples one by one, against `x`."""
    graph = dataset.preprocessing.prepare()
    for name in SPLITS:
        for index in (0, 1, len(dataset.split(name)) - 1):
            raw = dataset.raw(name, index)
            x = graph([raw]).numpy()
            np.testing.assert_array_equal(x[0], dataset.split(name).x[index])


def test_labels_are_class_names_or_values(dataset: Dataset):
    label = dataset.label("test", 0)
    if dataset.task.kind == "regression":
        assert label == dataset.test.y[0, 0]
    else:
        assert label == dataset.task.class_names[int(dataset.test.y[0].item())]


def test_loading_again_gives_the_same(dataset: Dataset):
    again = datasets.load(dataset.name)
    for name in SPLITS:
        np.testing.assert_array_equal(again.split(name).x, dataset.split(name).x)
        np.testing.assert_array_equal(again.split(name).y, dataset.split(name).y)


@pytest.mark.parametrize(("split", "index"), [("train", -1), ("test", 10**9), ("tests", 0)])
def test_a_missing_example_is_one_sentence(dataset: Dataset, split: str, index: int):
    with pytest.raises(DataError, match=re.escape(dataset.name)):
        dataset.raw(split, index)
    with pytest.raises(DataError):
        dataset.label(split, index)


def test_class_counts_are_the_published_ones():
    mnist = datasets.load("mnist")
    published = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert np.bincount(mnist.test.y).tolist() == published
    train = np.bincount(np.concatenate([mnist.train.y, mnist.validation.y]))
    assert train.tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    r8 = datasets.load("reuters_r8")
    counts = dict(zip(r8.task.class_names, np.bincount(r8.test.y).tolist(), strict=True))
    assert (counts["earn"], counts["acq"], counts["grain"]) == (1083, 696, 10)


def test_sequences_are_zero_after_their_end_and_only_there():
    vowels = datasets.load("japanese_vowels")
    for name in SPLITS:
        for index, x in enumerate(vowels.split(name).x):
            steps = len(vowels.raw(name, index))
            assert not x[steps:].any()
            assert np.any(x[:steps] != 0, axis=-1).all()


def test_statistics_are_those_of_the_training_part():
    for name in ("digits", "breast_cancer", "diabetes"):
        x = datasets.load(name).train.x
        np.testing.assert_allclose(x.mean(axis=0), 0, atol=1e-5)
        std = x.std(axis=0)
        np.testing.assert_allclose(std[std > 0], 1, atol=1e-4)
    x = datasets.load("japanese_vowels").train.x
    real = x[np.any(x != 0, axis=-1)]
    np.testing.assert_allclose(real.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(real.std(axis=0), 1, atol=1e-4)


def test_the_vocabulary_is_that_of_the_training_part():
    r8 = datasets.load("reuters_r8")
    words = set(" ".join(r8.originals["train"]).split())
    assert set(r8.preprocessing.vocabulary) <= words
    # Every training word that is seen more than once has an id: what is left is rare.
    assert (r8.train.x == 1).mean() < 0.02
    assert r8.preprocessing.vocabulary[0] == "the"


def test_days_of_power_demand_are_normalised_by_the_archive():
    italy = datasets.load("italy_power_demand")
    np.testing.assert_allclose(italy.test.x.mean(axis=1), 0, atol=1e-6)
    np.testing.assert_allclose(italy.test.x.std(axis=1, ddof=1), 1, atol=1e-5)
    # October to March (class 0) has its evening peak at 18 to 19 h, summer at 21 h.
    winter = italy.test.x[italy.test.y[:, 0] == 0].mean(axis=0)[:, 0]
    summer = italy.test.x[italy.test.y[:, 0] == 1].mean(axis=0)[:, 0]
    assert winter[15:].argmax() + 15 == 19
    assert summer[15:].argmax() + 15 == 21
