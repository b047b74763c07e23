"""Small models with random weights, and a step function that is a table."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import zoo

VOCABULARY, LONGEST = 12, 14


def randomised(model: keras.Model, seed: int = 0) -> keras.Model:
    """Weights large enough that every token has its own distribution."""
    rng = np.random.default_rng(seed)
    model.set_weights([rng.normal(scale=1.0, size=w.shape) for w in model.get_weights()])
    return model


@pytest.fixture(scope="session", params=[True, False], ids=["shared", "separate"])
def translator(request: pytest.FixtureRequest) -> keras.Model:
    return randomised(
        zoo.build(
            "transformer_translator",
            vocabulary_size=VOCABULARY,
            max_length=LONGEST,
            width=8,
            num_heads=2,
            feed_forward=16,
            shared_embeddings=request.param,
        )
    )


@pytest.fixture(scope="session")
def language_model() -> keras.Model:
    return randomised(
        zoo.build(
            "causal_lm",
            vocabulary_size=VOCABULARY,
            max_length=LONGEST,
            width=8,
            num_heads=2,
            feed_forward=16,
        )
    )


class Table:
    """Steps of a model whose next token depends on position and last token alone.

    `logits`: `(positions, vocabulary, vocabulary)`. The state counts how often a row was asked.
    """

    def __init__(self, logits: np.ndarray):
        self.logits = tf.constant(logits, tf.float32)
        self.max_length = len(logits)

    def start(self, batch: int) -> dict[str, tf.Tensor]:
        return {"asked": tf.zeros((batch,), tf.int32)}

    def __call__(self, tokens, positions, state):
        logits = tf.gather_nd(self.logits, tf.stack([positions, tokens], axis=1))
        return logits, {"asked": state["asked"] + 1}


@pytest.fixture
def table() -> Table:
    rng = np.random.default_rng(5)
    return Table(rng.normal(scale=2, size=(8, 9, 9)))
