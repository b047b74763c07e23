"""Kneser-Ney: probabilities that sum to one, and values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.baselines.ngrams import KneserNey, perplexity
from zoo.datasets import Dataset, NoPreprocessing, Split, Task

rows = st.lists(st.lists(st.integers(1, 5), min_size=6, max_size=6), min_size=1, max_size=12).map(
    lambda lines: np.array(lines, np.int32)
)


def split(tokens: np.ndarray) -> Split:
    return Split(tokens[:, :-1], tokens[:, 1:])


@settings(max_examples=50, deadline=None)
@given(train=rows, asked=rows, order=st.integers(1, 5))
def test_probabilities_of_all_tokens_sum_to_one(
    train: np.ndarray, asked: np.ndarray, order: int
) -> None:
    known = split(train)
    model = KneserNey(known.x, known.y, vocabulary_size=6, order=order)
    x = split(asked).x
    total = sum(model.probabilities(x, np.full_like(x, token)) for token in range(1, 6))
    np.testing.assert_allclose(total, 1, atol=1e-12)


def test_bigrams_by_hand() -> None:
    """One row 1 2 1 2 1 3: too small to estimate discounts, so 1/2, 1 and 3/2.

    Bigrams 12 twice, 21 twice, 13 once. Different tokens before: one for each of 1, 2 and 3.
    """
    x, y = np.array([[1, 2, 1, 2, 1]]), np.array([[2, 1, 2, 1, 3]])
    model = KneserNey(x, y, vocabulary_size=4, order=2)
    lowest = (1 - 0.5) / 3 + 1.5 / 3 / 3  # the same for all three tokens
    after_1 = {
        1: (0 + 1.5 * lowest) / 3,
        2: (2 - 1 + 1.5 * lowest) / 3,
        3: (1 - 0.5 + 1.5 * lowest) / 3,
    }
    for token, wanted in after_1.items():
        found = model.probabilities(np.array([[1]]), np.array([[token]]))
        assert found == pytest.approx([wanted])
    # Nothing followed 3, so only the lowest order is left.
    assert model.probabilities(np.array([[3]]), np.array([[2]])) == pytest.approx([lowest])


def test_lower_orders_count_contexts_and_not_occurrences() -> None:
    """San Francisco (Chen and Goodman, section 2.7): frequent, but after one word only."""
    san, francisco, glass, word = 1, 2, 3, range(4, 12)
    pairs = [[san, francisco]] * 30 + [[before, glass] for before in word]
    train = split(np.array(pairs))
    model = KneserNey(train.x, train.y, vocabulary_size=13, order=2)
    unseen = np.array([[12]])
    assert model.probabilities(unseen, np.array([[glass]])) > model.probabilities(
        unseen, np.array([[francisco]])
    )


def test_discounts_are_the_papers_estimate() -> None:
    """Equation 26 with n1..n4 = 8, 4, 2, 1: Y = 1/2, so 1/2, 5/4 and 2."""
    from benchmarks.baselines.ngrams import _discounts

    counts = np.repeat([1, 2, 3, 4, 9], [8, 4, 2, 1, 3])
    np.testing.assert_allclose(_discounts(counts), [0, 0.5, 1.25, 2])


def test_ignored_targets_are_neither_learnt_nor_counted() -> None:
    x, y = np.array([[1, 2, 3, 1, 2]]), np.array([[2, 0, 1, 2, 3]])
    model = KneserNey(x, y, vocabulary_size=4, order=3)
    assert model.probabilities(x, y).shape == (4,)


def test_perplexity_of_a_cycle_is_near_one_and_of_noise_near_the_number_of_tokens() -> None:
    rng = np.random.default_rng(0)
    cycle = np.resize(np.arange(1, 9), (60, 33)).astype(np.int32)
    noise = rng.integers(1, 9, (60, 33)).astype(np.int32)
    assert perplexity(dataset(cycle)) < 1.3
    assert perplexity(dataset(noise), order=1) == pytest.approx(8, rel=0.02)
    assert perplexity(dataset(noise), order=1, split="test") == pytest.approx(8, rel=0.02)


def dataset(tokens: np.ndarray) -> Dataset:
    parts = (split(part) for part in np.array_split(tokens, 3))
    return Dataset(
        "toy",
        Task("language_model"),
        *parts,
        preprocessing=NoPreprocessing(()),
        licence="",
        source="",
        model_arguments={"vocabulary_size": 9},
    )
