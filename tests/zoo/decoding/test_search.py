"""Greedy search and sampling."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.decoding import CausalSteps, TranslatorSteps, greedy, sample
from zoo.decoding.search import END, FORBIDDEN, Found, log_probabilities

from .conftest import LONGEST, VOCABULARY, Table


def run(search, steps: Table, limits: list[int], **options) -> Found:
    batch = len(limits)

    def graph() -> Found:
        return search(
            steps, steps.start(batch), tf.fill((batch,), 1), tf.zeros((batch,), tf.int32),
            tf.constant(limits), **options,
        )  # fmt: skip

    return Found(*(value.numpy() for value in tf.function(graph, autograph=False)()))


def by_hand(table: Table, limit: int) -> tuple[list[int], float]:
    """The greedy sequence of one row and its log-probability."""
    last, tokens, score = 1, [], 0.0
    while len(tokens) < limit and END not in tokens:
        chances = log_probabilities(table.logits[len(tokens), last]).numpy()
        last = int(chances.argmax())
        tokens.append(last)
        score += float(chances[last])
    return tokens, score


def test_greedy_takes_the_best_token_until_the_end_or_the_limit(table: Table) -> None:
    found = run(greedy, table, [8, 3, 1, 0])
    for row, limit in enumerate((8, 3, 1, 0)):
        tokens, score = by_hand(table, limit)
        assert found.lengths[row] == len(tokens)
        assert found.tokens[row, : len(tokens)].tolist() == tokens
        assert not found.tokens[row, len(tokens) :].any()
        assert found.scores[row] == pytest.approx(score, abs=1e-5)


def test_it_stops_when_every_row_has_ended(table: Table) -> None:
    logits = table.logits.numpy()
    logits[2, :, END] = 50.0
    asked = []

    class Counting(Table):
        def __call__(self, tokens, positions, state):
            tf.py_function(lambda: asked.append(1), [], [])
            return super().__call__(tokens, positions, state)

    found = run(greedy, Counting(logits), [8, 8])
    assert found.lengths.max() <= 3
    assert len(asked) == found.lengths.max()


def test_tokens_that_no_target_has_are_never_chosen(table: Table) -> None:
    logits = table.logits.numpy()
    logits[:, :, list(FORBIDDEN)] = 100.0
    options = {"temperature": tf.fill((64,), 50.0), "top_k": tf.zeros((64,), tf.int32)}
    found = run(sample, Table(logits), [8] * 64, seed=tf.range(64, dtype=tf.int64), **options)
    for row, length in enumerate(found.lengths):
        assert not np.isin(found.tokens[row, :length], FORBIDDEN).any()


def drawn(table: Table, temperature, top_k, seed, limit: int = 8) -> Found:
    batch = len(seed)
    return run(
        sample, table, [limit] * batch, temperature=tf.fill((batch,), float(temperature)),
        top_k=tf.fill((batch,), top_k), seed=tf.constant(seed, tf.int64),
    )  # fmt: skip


def test_without_temperature_sampling_is_greedy(table: Table) -> None:
    best = run(greedy, table, [8])

    @tf.function(
        input_signature=[tf.TensorSpec((1,), tf.float32), tf.TensorSpec((1,), tf.int64)],
        autograph=False,
    )
    def once(temperature: tf.Tensor, seed: tf.Tensor) -> Found:
        return sample(
            table, table.start(1), tf.constant([1]), tf.constant([0]), tf.constant([8]),
            temperature=temperature, top_k=tf.constant([0]), seed=seed,
        )  # fmt: skip

    @settings(max_examples=30, deadline=None)
    @given(st.integers(-(2**63), 2**63 - 1), st.sampled_from([0.0, -1.0, 1e-6, math.nan]))
    def holds(seed: int, temperature: float) -> None:
        found = once([temperature], [seed])
        np.testing.assert_array_equal(found.tokens, best.tokens)
        np.testing.assert_allclose(found.scores, best.scores, atol=1e-5)

    holds()


def test_the_most_probable_alone_is_greedy(table: Table) -> None:
    assert drawn(table, 3.0, 1, [4]).tokens.tolist() == run(greedy, table, [8]).tokens.tolist()


def test_a_seed_is_a_text_and_another_seed_another(table: Table) -> None:
    first, again = drawn(table, 2.0, 0, [7, 8]), drawn(table, 2.0, 0, [7, 8])
    assert first.tokens.tolist() == again.tokens.tolist()
    assert first.tokens[0].tolist() != first.tokens[1].tolist()
    alone = drawn(table, 2.0, 0, [8])
    np.testing.assert_array_equal(alone.tokens[0], first.tokens[1][: alone.tokens.shape[1]])


def test_drawn_tokens_have_the_models_distribution(table: Table) -> None:
    """Frequencies of the first token against softmax(logits / temperature) over the top four."""
    count, temperature = 2000, 1.5
    found = drawn(table, temperature, 4, list(range(count)), limit=1)
    chances = np.asarray(log_probabilities(table.logits[0, 1]), np.float64)
    kept = np.argsort(-chances)[:4]
    wanted = np.zeros_like(chances)
    wanted[kept] = np.exp(chances[kept] / temperature)
    wanted /= wanted.sum()
    frequencies = np.bincount(found.tokens[:, 0], minlength=len(chances)) / count
    assert set(np.flatnonzero(frequencies)) <= set(kept)
    np.testing.assert_allclose(frequencies, wanted, atol=4 * 0.5 / np.sqrt(count))


def test_neighbours_and_padding_change_nothing_in_a_translation(translator: keras.Model) -> None:
    steps = TranslatorSteps(translator)
    source = np.random.default_rng(9).integers(4, VOCABULARY, (5, 9)).astype("int32")
    for row in range(5):
        source[row, 2 + row :] = 0

    @tf.function(input_signature=[tf.TensorSpec((None, None), tf.int32)], autograph=False)
    def translated(source: tf.Tensor) -> Found:
        batch = tf.shape(source)[0]
        return greedy(
            steps, steps.start(source, 10), tf.fill((batch,), 1), tf.fill((batch,), 0),
            tf.fill((batch,), 10),
        )  # fmt: skip

    together = translated(source)
    for row in range(5):
        alone = translated(source[row : row + 1, : 2 + row])
        length = int(alone.lengths[0])
        assert length == together.lengths[row]
        np.testing.assert_array_equal(alone.tokens[0, :length], together.tokens[row, :length])
        np.testing.assert_allclose(alone.scores[0], together.scores[row], atol=1e-4)


def test_neighbours_change_nothing_in_a_drawn_text(language_model: keras.Model) -> None:
    steps = CausalSteps(language_model)
    prompts = np.random.default_rng(9).integers(4, VOCABULARY, (4, 5)).astype("int32")
    lengths = np.array([5, 2, 1, 3], "int32")
    prompts[np.arange(5) >= lengths[:, None]] = 0

    @tf.function(reduce_retracing=True, autograph=False)
    def continued(given: tf.Tensor, lengths: tf.Tensor, seed: tf.Tensor) -> Found:
        batch, last = tf.shape(given)[:1], lengths - 1
        return sample(
            steps, steps.start(given, LONGEST), tf.gather(given, last, batch_dims=1), last,
            tf.fill(batch, 8), temperature=tf.fill(batch, 1.0), top_k=tf.fill(batch, 6), seed=seed,
        )  # fmt: skip

    def rows(some: slice, width: int) -> Found:
        seeds = tf.range(4, dtype=tf.int64)[some]
        return continued(tf.constant(prompts[some, :width]), tf.constant(lengths[some]), seeds)

    together = rows(slice(0, 4), 5)
    for row in range(4):
        alone = rows(slice(row, row + 1), lengths[row])
        length = int(alone.lengths[0])
        assert length == together.lengths[row]
        np.testing.assert_array_equal(alone.tokens[0, :length], together.tokens[row, :length])
