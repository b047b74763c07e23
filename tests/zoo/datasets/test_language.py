"""Rows of Reuters and of interface strings: apart by document, and readable again."""

from __future__ import annotations

import numpy as np
import pytest

from zoo import datasets
from zoo.datasets import language
from zoo.datasets.base import SPLITS, Dataset
from zoo.datasets.cache import Cache

MASK, FIRST_BYTE = 3, 4
NAMES = ("reuters_lm", "reuters_bytes", "reuters_mlm", "ui_strings_en")


@pytest.fixture(scope="module", params=NAMES)
def dataset(request: pytest.FixtureRequest) -> Dataset:
    return datasets.load(request.param)


@pytest.fixture(scope="module")
def masked() -> Dataset:
    return datasets.load("reuters_mlm")


def test_is_what_its_description_says(dataset: Dataset) -> None:
    info = datasets.describe(dataset.name)
    assert (dataset.licence, dataset.source) == (info.licence, info.source)
    assert dataset.task.kind == info.task
    sizes = [f"{len(dataset.split(name)):,}" for name in SPLITS]
    assert info.split.startswith(" / ".join(sizes) + " rows, ")
    assert f"{dataset.model_arguments['vocabulary_size']:,} ids" in info.summary


def test_rows_are_ids_of_the_vocabulary(dataset: Dataset) -> None:
    length, size = (dataset.model_arguments[name] for name in ("max_length", "vocabulary_size"))
    assert size == dataset.preprocessing.vocabulary_size
    for name in SPLITS:
        split = dataset.split(name)
        for array in (*split.arrays().values(), split.y):
            assert array.dtype == np.int32
            assert array.shape == (len(split), length)
            assert array.min() >= 0
            assert array.max() < size


@pytest.mark.parametrize("name", ["reuters_lm", "reuters_bytes", "ui_strings_en"])
def test_a_label_goes_on_where_the_raw_text_ends(name: str) -> None:
    dataset = datasets.load(name)
    for row in range(20):
        tokens = [t for t in dataset.test.x[row] if t != 1]
        text = dataset.preprocessing.raw_example(tokens)
        assert text.startswith(dataset.raw("test", row))
        shown = int(language.PROMPT * dataset.model_arguments["max_length"])
        if 2 not in dataset.test.x[row][:shown]:
            assert dataset.raw("test", row) + dataset.label("test", row) == text


@pytest.mark.parametrize("documents", [language.reuters, language.interface])
def test_no_document_is_in_two_splits(documents) -> None:
    found = documents(Cache.open())
    train, validation, test = (
        {"\n".join(document) for document in found[split]} for split in SPLITS
    )
    assert not train & validation
    assert not train & test
    assert min(map(len, (train, validation, test))) > 50


def test_reuters_keeps_the_published_test_texts() -> None:
    found = language.reuters(Cache.open())
    assert len(found["test"]) == 2_189
    assert len(found["validation"]) == 549 - 3  # those that occur twice, or in test
    assert len(found["train"]) == 4_936 - 63  # those that occur twice, or in the other splits


def test_validation_asks_for_15_percent_by_berts_rule(masked: Dataset) -> None:
    for split in (masked.validation, masked.test):
        shown, asked = split.x["tokens"], split.y != 0
        candidates = shown >= FIRST_BYTE - 1  # the mask token, bytes and pieces
        assert asked.sum() / candidates.sum() == pytest.approx(0.15, abs=0.005)
        assert np.mean(shown[asked] == MASK) == pytest.approx(0.8, abs=0.02)
        assert np.mean(shown[asked] == split.y[asked]) == pytest.approx(0.1, abs=0.02)
        assert not (shown[~asked] == MASK).any()


def test_masks_are_the_same_in_every_load(masked: Dataset) -> None:
    again = datasets.load(masked.name)
    for name in ("validation", "test"):
        first, second = masked.split(name), again.split(name)
        np.testing.assert_array_equal(first.x["tokens"], second.x["tokens"])
        np.testing.assert_array_equal(first.y, second.y)


def test_train_is_not_masked(masked: Dataset) -> None:
    assert not (masked.train.x["tokens"] == MASK).any()
    np.testing.assert_array_equal(masked.train.x["tokens"], masked.train.y)


def test_raw_masked_text_has_gaps_and_its_label_none(masked: Dataset) -> None:
    raw, label = masked.raw("test", 0), masked.label("test", 0)
    assert "[MASK]" in raw
    assert "[MASK]" not in label
    assert len(label) > 50
