"""What a model must give for a task, and final metrics of token models."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest

import zoo
from zoo.datasets import Dataset, NoPreprocessing, Split, Task
from zoo.errors import ShapeError
from zoo.training.objectives import check_fit, objective_for


def token_dataset(rows: int = 40, steps: int = 20, kind: str = "language_model") -> Dataset:
    rng = np.random.default_rng(0)
    x = rng.integers(1, 9, (rows, steps)).astype("int32")
    for row in range(rows):
        x[row, 1 + row % steps :] = 0
    y = np.where(x, (x * 2) % 8 + 1, 0).astype("int32")
    inputs = {"source": x, "target": x} if kind == "translation" else x
    split = Split(inputs, y)
    return Dataset(
        name="toy",
        task=Task(kind),
        train=split,
        validation=split,
        test=split,
        preprocessing=NoPreprocessing((steps,)),
        licence="none",
        source="made here",
        model_arguments={"vocabulary_size": 9},
    )


def token_model(vocabulary: int = 9, name: str = "logits") -> keras.Model:
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    x = keras.layers.Embedding(9, 4)(tokens)
    return keras.Model(tokens, keras.layers.Dense(vocabulary, name=name)(x))


def test_token_metrics_are_those_of_all_tokens_at_once() -> None:
    data, model = token_dataset(), token_model()
    found, outputs = objective_for(data.task).evaluate(model, data, "test")
    assert outputs is None
    logits = model.predict(data.test.x, verbose=0)
    logs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    keep = data.test.y != 0
    loss = -np.take_along_axis(logs, data.test.y[..., None], -1)[..., 0][keep].mean()
    assert found["tokens"] == keep.sum()
    assert found["loss"] == pytest.approx(loss, rel=1e-5)
    assert found["perplexity"] == pytest.approx(math.exp(loss), rel=1e-5)
    assert found["accuracy"] == pytest.approx((logits.argmax(-1) == data.test.y)[keep].mean())


def test_inputs_go_by_name() -> None:
    data = token_dataset(kind="translation")
    with pytest.raises(ShapeError, match="toy holds source, target"):
        check_fit(token_model(), "words", data)


def test_logits_have_a_column_for_each_token() -> None:
    check_fit(token_model(), "words", token_dataset())
    with pytest.raises(ShapeError, match="logits of width 7, but toy is a language_model task"):
        check_fit(token_model(7), "words", token_dataset())
    with pytest.raises(ShapeError, match="gives scores"):
        check_fit(token_model(9, "scores"), "words", token_dataset())


def test_a_free_length_takes_any() -> None:
    fixed = keras.Input((5,), dtype="int32", name="tokens")
    embedded = keras.layers.Embedding(9, 4)(fixed)
    model = keras.Model(fixed, keras.layers.Dense(9, name="logits")(embedded))
    with pytest.raises(ShapeError, match=r"takes int32 \(5,\) an example, but toy holds int32"):
        check_fit(model, "words", token_dataset())


def test_sequences_longer_than_the_positions_are_one_sentence() -> None:
    data = token_dataset()
    model = zoo.build("causal_lm", vocabulary_size=9, max_length=16, width=8, num_heads=2)
    with pytest.raises(ShapeError, match="positions for 16 steps") as error:
        check_fit(model, "causal_lm", data)
    assert "\n" not in str(error.value)
