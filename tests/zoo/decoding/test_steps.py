"""A cached step gives what a pass over the whole sequence gives."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from zoo.decoding import CausalSteps, TranslatorSteps

from .conftest import LONGEST, VOCABULARY


def sequences(rows: int, steps: int, seed: int) -> np.ndarray:
    """Token ids without padding, int32 `(rows, steps)`."""
    return np.random.default_rng(seed).integers(1, VOCABULARY, (rows, steps)).astype("int32")


def test_translator_steps_equal_the_whole_pass_at_each_position(translator: keras.Model) -> None:
    source, target = sequences(3, 6, 0), sequences(3, LONGEST, 1)
    source[1, 4:] = 0
    whole = translator({"source": source, "target": target}, training=False).numpy()
    steps = TranslatorSteps(translator)
    state = steps.start(tf.constant(source), LONGEST)
    step = tf.function(steps, autograph=False)
    for position in range(LONGEST):
        logits, state = step(target[:, position], tf.fill((3,), position), state)
        np.testing.assert_allclose(logits, whole[:, position], atol=1e-4)


def test_causal_steps_equal_the_whole_pass_at_each_position(language_model: keras.Model) -> None:
    tokens = sequences(3, LONGEST, 2)
    whole = language_model(tokens, training=False).numpy()
    steps = CausalSteps(language_model)
    state = steps.start(tf.constant(tokens[:, :1]), LONGEST)
    for position in range(LONGEST):
        logits, state = steps(tokens[:, position], tf.fill((3,), position), state)
        np.testing.assert_allclose(logits, whole[:, position], atol=1e-4)


@pytest.mark.parametrize("given", [1, 5, LONGEST])
def test_prompts_of_different_lengths_go_on_from_their_own_ends(
    given: int, language_model: keras.Model
) -> None:
    tokens = sequences(2, LONGEST, 3)
    lengths = np.array([given, min(3, given)], "int32")
    prompts = np.where(np.arange(given) < lengths[:, None], tokens[:, :given], 0)
    whole = language_model(tokens, training=False).numpy()
    steps = CausalSteps(language_model)
    state = steps.start(tf.constant(prompts, tf.int32), LONGEST)
    for more in range(LONGEST - given + 1):
        at = lengths - 1 + more
        logits, state = steps(tokens[[0, 1], at], tf.constant(at), state)
        np.testing.assert_allclose(logits, whole[[0, 1], at], atol=1e-4)


def test_a_cache_has_one_size_from_first_to_last_step(translator: keras.Model) -> None:
    steps = TranslatorSteps(translator)
    state = steps.start(tf.constant(sequences(2, 5, 0)), 11)
    _, after = steps(tf.constant([1, 1]), tf.constant([0, 0]), state)
    assert {name: value.shape for name, value in after.items()} == {
        name: value.shape for name, value in state.items()
    }
    assert after["decoder_1_self_key"].shape == (2, 11, 8)
    assert after["decoder_2_cross_value"] is state["decoder_2_cross_value"]
