"""Beam search over a step function."""

from __future__ import annotations

import tensorflow as tf

from zoo.decoding.search import END, IMPOSSIBLE, PADDING, Found, log_probabilities, loop
from zoo.decoding.steps import State, Steps

ALPHA = 0.6  # length penalty, as in Vaswani et al. 2017, section 6.1


def length_penalty(lengths: tf.Tensor, alpha: float = ALPHA) -> tf.Tensor:
    """((5 + n) / 6)^α, by which a log-probability is divided so that length costs less.

    Wu et al., "Google's Neural Machine Translation System", 2016, equation 14.
    """
    return ((5.0 + tf.cast(lengths, tf.float32)) / 6.0) ** alpha


def beam_search(
    steps: Steps,
    state: State,
    tokens: tf.Tensor,
    positions: tf.Tensor,
    limits: tf.Tensor,
    *,
    beam: int,
    alpha: float = ALPHA,
) -> Found:
    """The best of the `beam` sequences that are kept at every step.

    Finished sequences stay in the beam and compete with the others by log-probability over length
    penalty; the search ends when all that are kept are finished. A beam of 1 is greedy search, and
    a beam as wide as there are sequences is exhaustive. The first five arguments are `greedy`'s.

    Returns:
        The best sequence of each row; `scores` are its log-probability, not yet divided.
    """
    batch, longest = tf.shape(tokens)[0], tf.reduce_max(tf.concat([limits, [0]], 0))

    def flat(x: tf.Tensor) -> tf.Tensor:
        return tf.reshape(x, tf.concat([[batch * beam], tf.shape(x)[2:]], 0))

    def picked(x: tf.Tensor, parents: tf.Tensor) -> tf.Tensor:
        """Rows `(batch · beam, ...)` of the beams that go on."""
        flat_parents = parents + tf.range(batch)[:, None] * beam
        return tf.gather(x, tf.reshape(flat_parents, [-1]))

    def running(step: tf.Tensor, done: tf.Tensor, *_) -> tf.Tensor:
        return (step < longest) & ~tf.reduce_all(done)

    def advance(step, done, last, out, scores, lengths, state):
        where = positions[:, None] + tf.minimum(step, tf.maximum(limits - 1, 0))[:, None]  # (B, 1)
        logits, state = steps(flat(last), flat(tf.repeat(where, beam, axis=1)), state)
        size = tf.shape(logits)[-1]
        chances = tf.reshape(log_probabilities(logits), (batch, beam, size))
        # A finished sequence goes on with padding, for nothing.
        stay = tf.one_hot(PADDING, size, on_value=0.0, off_value=IMPOSSIBLE)
        chances = tf.where(done[..., None], stay, chances)
        longer = lengths + tf.cast(~done, tf.int32)
        totals = scores[..., None] + chances  # (B, K, V)
        ranks = totals / length_penalty(longer, alpha)[..., None]
        _, best = tf.math.top_k(tf.reshape(ranks, (batch, -1)), beam)  # (B, K)
        parents, chosen = best // size, best % size

        scores = tf.gather(tf.reshape(totals, (batch, -1)), best, batch_dims=1)
        lengths = tf.gather(longer, parents, batch_dims=1)
        done = tf.gather(done, parents, batch_dims=1)
        done |= (chosen == END) | (step + 1 >= limits)[:, None]
        out = tf.transpose(picked(tf.transpose(out), parents))
        out = tf.tensor_scatter_nd_update(out, [[step]], flat(chosen)[None])
        state = {name: picked(value, parents) for name, value in state.items()}
        return step + 1, done, chosen, out, scores, lengths, state

    # All beams begin alike: only the first counts, else the search would keep copies of it.
    first = tf.where(tf.range(beam) == 0, 0.0, IMPOSSIBLE)
    start = (
        tf.constant(0),
        tf.repeat(limits[:, None] <= 0, beam, axis=1),
        tf.repeat(tokens[:, None], beam, axis=1),
        tf.zeros((longest, batch * beam), tf.int32),
        tf.tile(first[None], (batch, 1)),
        tf.zeros((batch, beam), tf.int32),
        {name: tf.repeat(value, beam, axis=0) for name, value in state.items()},
    )
    _, _, _, out, scores, lengths, _ = loop(running, advance, start)
    ranks = scores / length_penalty(lengths, alpha)
    best = tf.argmax(ranks, axis=-1, output_type=tf.int32)  # (B,)
    rows = best + tf.range(batch) * beam
    return Found(
        tf.gather(tf.transpose(out), rows),
        tf.gather(scores, best, batch_dims=1),
        tf.gather(lengths, best, batch_dims=1),
    )
