"""BERT's rule, drawn from the batch's key."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from benchmarks.baselines.unigram import accuracy
from zoo.datasets import Dataset, NoPreprocessing, Split, Task
from zoo.datasets.masking import mask_tokens
from zoo.recipe import Recipe
from zoo.training import train
from zoo.training.masking import masking
from zoo.training.pipeline import training_batches

VOCABULARY = 50
PADDING, START, END, MASK, FIRST = range(5)


def tokens(rows: int = 400, length: int = 64) -> np.ndarray:
    """Start, bytes and pieces, end, and padding after a length that varies."""
    rng = np.random.default_rng(0)
    ids = rng.integers(FIRST, VOCABULARY, (rows, length)).astype("int32")
    ids[:, 0] = START
    for row, steps in enumerate(rng.integers(2, length, rows)):
        ids[row, steps] = END
        ids[row, steps + 1 :] = PADDING
    return ids


@pytest.fixture(scope="module")
def masked() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    before = tokens()
    shown, asked = mask_tokens(before, tf.constant([3, 5], tf.int64), VOCABULARY)
    return before, shown.numpy(), asked.numpy()


def test_special_tokens_are_never_asked_for(masked) -> None:
    before, shown, asked = masked
    special = before < FIRST
    assert (asked[special] == 0).all()
    np.testing.assert_array_equal(shown[special], before[special])


def test_shares_are_the_papers(masked) -> None:
    before, shown, asked = masked
    chosen = asked != 0
    assert chosen[before >= FIRST].mean() == pytest.approx(0.15, abs=0.01)
    assert (shown[chosen] == MASK).mean() == pytest.approx(0.8, abs=0.03)
    # A random token is the old one once in 46 times.
    assert (shown[chosen] == before[chosen]).mean() == pytest.approx(0.1, abs=0.03)
    assert shown[chosen & (shown != MASK)].min() >= FIRST


def test_what_is_not_asked_for_stays(masked) -> None:
    before, shown, asked = masked
    np.testing.assert_array_equal(shown[asked == 0], before[asked == 0])
    np.testing.assert_array_equal(asked[asked != 0], before[asked != 0])


def test_the_key_decides() -> None:
    before = tokens(20)
    first, again, other = (
        mask_tokens(before, tf.constant(key, tf.int64), VOCABULARY)[0].numpy()
        for key in ([0, 1], [0, 1], [0, 2])
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_every_epoch_draws_other_masks_and_a_resumed_one_the_same() -> None:
    ids = tokens(32)
    x = {"tokens": ids, "segments": np.zeros_like(ids)}
    split = Split(x, ids)
    dataset = Dataset(
        "toy",
        Task("masked_language_model"),
        *(split, split, split),
        preprocessing=NoPreprocessing(()),
        licence="",
        source="",
        model_arguments={"vocabulary_size": VOCABULARY},
    )
    epoch = tf.Variable(0, dtype=tf.int64)
    batches = training_batches(split, 16, 7, epoch, transform=masking(dataset))

    def masks() -> list[tuple]:
        return sorted(tuple(row) for x, _ in batches for row in x["tokens"].numpy().tolist())

    first = masks()
    assert masks() == first
    epoch.assign(1)
    assert masks() != first
    for x, y in batches:
        assert (y.numpy() != 0).any()
        assert set(x) == {"tokens", "segments"}


@pytest.mark.slow
def test_an_encoder_learns_to_fill_gaps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Tokens count upwards, so that a neighbour tells what a mask hides."""
    symbols, length = 12, 16
    size = FIRST + symbols
    begins = np.random.default_rng(0).integers(0, symbols, 1_280)
    ids = (FIRST + (begins[:, None] + np.arange(length)) % symbols).astype("int32")
    ids[:, 0] = START
    segments = np.zeros_like(ids)
    shown, asked = mask_tokens(ids[1_024:], tf.constant([0, 0], tf.int64), size)
    held = Split({"tokens": shown.numpy(), "segments": segments[1_024:]}, asked.numpy())
    counting = Dataset(
        "counting",
        Task("masked_language_model"),
        train=Split({"tokens": ids[:1_024], "segments": segments[:1_024]}, ids[:1_024]),
        validation=held,
        test=held,
        preprocessing=NoPreprocessing(()),
        licence="",
        source="",
        model_arguments={"vocabulary_size": size, "max_length": length},
    )
    monkeypatch.setattr("zoo.training.fit.datasets.load", lambda name: counting)
    recipe = Recipe("counting", epochs=20, batch_size=64, learning_rate=5e-3, schedule="cosine")
    arguments = {"width": 32, "num_blocks": 1, "feed_forward": 64, "dropout": 0.0}
    run = train("transformer_encoder", recipe=recipe, arguments=arguments, runs=tmp_path)
    found = run.metrics()["test"]
    assert found["accuracy"] > 0.7 > 5 * accuracy(counting)
    assert found["tokens"] == (held.y != 0).sum()
