"""Multiply-accumulate operations, beside what one counts on paper."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import zoo
from compression.measure import counting

SMALL = {
    "causal_lm": {"vocabulary_size": 20, "max_length": 8, "width": 8, "num_heads": 2},
    "transformer_encoder": {"vocabulary_size": 20, "max_length": 8, "width": 8, "num_heads": 2},
    "transformer_translator": {"vocabulary_size": 20, "max_length": 8, "width": 8, "num_heads": 2},
    "transformer_classifier": {"vocabulary_size": 20, "max_length": 8, "width": 8, "num_heads": 2},
    "bidirectional_lstm": {"vocabulary_size": 20, "max_length": 8, "width": 8},
}


@pytest.mark.parametrize(
    ("name", "arguments", "by_hand"),
    [
        ("dense", {"units": (64, 32)}, 784 * 64 + 64 * 32 + 32 * 10),
        (
            "cnn",
            {"filters": (4, 8), "dense_units": 16},
            26 * 26 * 9 * 4 + 11 * 11 * 9 * 4 * 8 + 5 * 5 * 8 * 16 + 16 * 10,
        ),
        ("lstm", {"units": 8, "dense_units": 4}, 24 * (1 + 8) * 4 * 8 + 8 * 4 + 4),
        ("gru", {"units": 8}, 29 * (12 + 8) * 3 * 8 + 8 * 9),
        ("gru", {"units": 8, "bidirectional": True}, 2 * 29 * (12 + 8) * 3 * 8 + 16 * 9),
        ("simple_rnn", {"units": 8}, 29 * (12 + 8) * 8 + 8 * 9),
        (
            "transformer_classifier",
            {
                "vocabulary_size": 20, "max_length": 10, "width": 8, "num_heads": 2,
                "feed_forward": 16, "num_blocks": 3,
            },
            3 * (10 * 4 * 8 * 8 + 2 * 10 * 10 * 8 + 10 * 2 * 8 * 16) + 8 * 8,
        ),
    ],
)  # fmt: skip
def test_counted_by_hand(name: str, arguments: dict, by_hand: int) -> None:
    assert counting.macs(zoo.build(name, **arguments)) == (by_hand, [])


def test_tied_logits_free_lengths_and_own_attention() -> None:
    """One block of width 8 on 6 steps: projections, two products, feed-forward, tied logits."""
    arguments = {"feed_forward": 16, "num_blocks": 1}
    model = zoo.build("causal_lm", **SMALL["causal_lm"], **arguments)
    block = 6 * 4 * 8 * 8 + 2 * 6 * 6 * 8 + 6 * 2 * 8 * 16
    assert counting.macs(model, steps=6) == (block + 6 * 8 * 20, [])


@pytest.mark.parametrize("name", zoo.list_models())
def test_every_registered_model_is_counted_whole(name: str) -> None:
    total, unknown = counting.macs(zoo.build(name, **SMALL.get(name, {})), steps=8)
    assert total > 0
    assert unknown == []


def test_shared_layers_count_each_call_and_models_inside_models() -> None:
    inputs = keras.Input((4,))
    shared = keras.layers.Dense(4)
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    model = keras.Model(inputs, inner(shared(shared(inputs))))
    assert counting.macs(model) == (16 + 16 + 12, [])


def test_an_unknown_layer_is_named() -> None:
    class Scale(keras.layers.Layer):
        def build(self, shape: tuple) -> None:
            self.factor = self.add_weight(shape=(shape[-1], shape[-1]))

        def call(self, x: object) -> object:
            return keras.ops.matmul(x, self.factor)

    inputs = keras.Input((4,))
    model = keras.Model(inputs, Scale(name="odd")(inputs))
    assert counting.macs(model) == (0, ["odd"])


def test_einsum() -> None:
    inputs = keras.Input((5, 6))
    outputs = keras.layers.EinsumDense("abc,cde->abde", output_shape=(None, 2, 7))(inputs)
    assert counting.macs(keras.Model(inputs, outputs)) == (5 * 6 * 2 * 7, [])


def test_zeros_are_told_from_parameters() -> None:
    model = zoo.build("softmax_regression", input_shape=(4,), num_classes=3)
    model.set_weights([np.eye(4, 3), np.zeros(3)])
    assert counting.weights(model) == {"parameters": 15, "nonzero": 3}
