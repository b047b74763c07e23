"""Beam search."""

from __future__ import annotations

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from zoo.decoding import TranslatorSteps, beam_search, greedy
from zoo.decoding.beam import length_penalty
from zoo.decoding.search import END, Found, log_probabilities

from .conftest import LONGEST, VOCABULARY, Table
from .test_search import run


def test_a_beam_of_one_is_greedy(table: Table) -> None:
    found, best = run(beam_search, table, [8, 3, 1, 0], beam=1), run(greedy, table, [8, 3, 1, 0])
    np.testing.assert_array_equal(found.tokens, best.tokens)
    np.testing.assert_array_equal(found.lengths, best.lengths)
    np.testing.assert_allclose(found.scores, best.scores, atol=1e-5)


@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0])
def test_a_beam_as_wide_as_all_sequences_finds_the_best(alpha: float) -> None:
    """Against every sequence of at most three tokens out of END and three others."""
    for seed in range(4):
        table = Table(np.random.default_rng(seed).normal(scale=2, size=(3, 7, 7)))
        chances = log_probabilities(table.logits).numpy()
        best = {}
        for length in (1, 2, 3):
            for tokens in itertools.product((END, 4, 5, 6), repeat=length):
                if END in tokens[:-1] or (length < 3 and tokens[-1] != END):
                    continue
                score = sum(
                    chances[at, last, token]
                    for at, (last, token) in enumerate(zip((1, *tokens[:-1]), tokens, strict=True))
                )
                best[tokens] = score / float(length_penalty(tf.constant(length), alpha))
        winner = max(best, key=best.get)
        found = run(beam_search, table, [3], beam=64, alpha=alpha)
        assert tuple(found.tokens[0, : found.lengths[0]]) == winner
        penalty = float(length_penalty(tf.constant(len(winner)), alpha))
        assert found.scores[0] / penalty == pytest.approx(best[winner], abs=1e-5)


def test_a_beam_finds_what_is_at_least_as_good_as_greedy() -> None:
    gains = []
    for seed in range(8):
        table = Table(np.random.default_rng(seed).normal(scale=2, size=(6, 9, 9)))
        found, best = run(beam_search, table, [6], beam=4), run(greedy, table, [6])
        gains.append(
            (found.scores / length_penalty(found.lengths))[0]
            - (best.scores / length_penalty(best.lengths))[0]
        )
    assert min(gains) > -1e-5
    assert max(gains) > 0.1


def test_scores_are_the_models_log_probabilities(translator: keras.Model) -> None:
    """By one pass over the whole sequences, without any cache."""
    steps = TranslatorSteps(translator)
    source = np.random.default_rng(1).integers(4, VOCABULARY, (5, 6)).astype("int32")
    source[::2, 3:] = 0

    @tf.function(autograph=False)
    def translated() -> Found:
        return beam_search(
            steps, steps.start(tf.constant(source), LONGEST), tf.fill((5,), 1), tf.fill((5,), 0),
            tf.fill((5,), 10), beam=3,
        )  # fmt: skip

    tokens, scores, lengths = (value.numpy() for value in translated())
    target = np.concatenate([np.ones((5, 1), "int32"), tokens[:, :-1]], axis=1)
    logits = translator({"source": source, "target": target}, training=False)
    each = tf.gather(log_probabilities(logits), tokens, batch_dims=2).numpy()
    counted = np.arange(tokens.shape[1]) < lengths[:, None]
    np.testing.assert_allclose(scores, (each * counted).sum(axis=1), atol=1e-4)
    assert not tokens[~counted].any()


def test_rows_of_a_beam_do_not_touch_each_other(table: Table) -> None:
    together = run(beam_search, table, [8, 2, 5], beam=3)
    for row, limit in enumerate((8, 2, 5)):
        alone = run(beam_search, table, [limit], beam=3)
        length = alone.lengths[0]
        assert length == together.lengths[row]
        np.testing.assert_array_equal(alone.tokens[0, :length], together.tokens[row, :length])
        assert alone.scores[0] == pytest.approx(together.scores[row], abs=1e-5)
