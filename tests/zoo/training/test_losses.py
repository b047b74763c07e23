"""Losses and metrics against their formulas, written out in numpy."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from zoo.training.losses import (
    ClassAccuracy,
    ClassCrossEntropy,
    TokenAccuracy,
    TokenCrossEntropy,
    TokenLoss,
)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


@pytest.fixture
def tokens() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    targets = np.array([[3, 1, 0, 0], [2, 4, 4, 1]], "int32")
    return targets, rng.normal(size=(2, 4, 5)).astype("float32")


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_token_loss_is_a_mean_over_the_tokens_that_count(tokens: tuple, smoothing: float) -> None:
    targets, logits = tokens
    logs = log_softmax(logits)
    wanted = []
    for row, column in zip(*np.nonzero(targets), strict=True):
        even = np.full(5, smoothing / 5)
        even[targets[row, column]] += 1 - smoothing
        wanted.append(-(even * logs[row, column]).sum())
    assert len(wanted) == 6
    assert float(TokenCrossEntropy(smoothing)(targets, logits)) == pytest.approx(
        np.mean(wanted), rel=1e-5
    )


def test_what_stands_at_padding_does_not_matter(tokens: tuple) -> None:
    targets, logits = tokens
    changed = logits.copy()
    changed[0, 2:] = 7.0
    loss = TokenCrossEntropy(0.1)
    assert float(loss(targets, logits)) == float(loss(targets, changed))


def test_a_batch_of_padding_alone_has_no_loss() -> None:
    loss = TokenCrossEntropy(0.1)(np.zeros((2, 3), "int32"), np.ones((2, 3, 5), "float32"))
    assert float(loss) == 0.0


def test_every_token_counts_alike_in_batches_of_like_length(tokens: tuple) -> None:
    """The gradients of batches of one row add up to that of the whole."""
    targets, logits = tokens
    count = (targets != 0).sum() / len(targets)
    loss = TokenCrossEntropy(0.1, tokens=float(count))
    rows = [float(loss(targets[i : i + 1], logits[i : i + 1])) for i in range(len(targets))]
    assert np.mean(rows) == pytest.approx(float(TokenCrossEntropy(0.1)(targets, logits)), rel=1e-5)
    again = TokenCrossEntropy.from_config(loss.get_config())
    assert float(again(targets, logits)) == float(loss(targets, logits))


def test_token_metrics_are_the_same_however_batches_are_cut(tokens: tuple) -> None:
    targets, logits = tokens
    for metric, wanted in (
        (TokenAccuracy(), np.mean((logits.argmax(-1) == targets)[targets != 0])),
        (
            TokenLoss(),
            -np.mean(np.take_along_axis(log_softmax(logits), targets[..., None], -1)[targets != 0]),
        ),
    ):
        for row, steps in ((0, 2), (1, 4)):  # padding is cut off, too
            metric.update_state(targets[row : row + 1, :steps], logits[row : row + 1, :steps])
        assert float(metric.result()) == pytest.approx(float(wanted), rel=1e-5)


def test_class_numbers_and_their_one_hot_rows_are_the_same() -> None:
    rng = np.random.default_rng(1)
    outputs = rng.random((6, 4)).astype("float32")
    outputs /= outputs.sum(axis=1, keepdims=True)
    numbers = np.array([0, 3, 2, 2, 1, 0], "int32")
    rows = np.eye(4, dtype="float32")[numbers]
    for smoothing in (0.0, 0.2):
        loss = ClassCrossEntropy(smoothing)
        assert float(loss(numbers, outputs)) == pytest.approx(float(loss(rows, outputs)), rel=1e-5)
    plain, soft = ClassAccuracy(), ClassAccuracy()
    plain.update_state(numbers, outputs)
    soft.update_state(rows, outputs)
    assert float(plain.result()) == float(soft.result())
    assert float(plain.result()) == pytest.approx(np.mean(outputs.argmax(1) == numbers))


def test_they_survive_their_config() -> None:
    for loss in (ClassCrossEntropy(0.3), TokenCrossEntropy(0.2)):
        copy = keras.losses.deserialize(keras.losses.serialize(loss))
        assert type(copy) is type(loss)
        assert copy.label_smoothing == loss.label_smoothing
