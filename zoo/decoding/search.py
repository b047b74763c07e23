"""Greedy search and sampling over a step function."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from zoo.decoding.steps import State, Steps

PADDING, START, END, MASK = 0, 1, 2, 3
FORBIDDEN = (PADDING, START, MASK)  # ids that no target has, so that a model may say anything
IMPOSSIBLE = -1e9  # log-probability of what must not be chosen; finite, to add and compare

Choose = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


class Found(NamedTuple):
    """Generated sequences.

    Attributes:
        tokens: int32 `(batch, longest limit)`, each row up to and with its end token, then 0.
        scores: float32 `(batch,)`, sum of the tokens' log-probabilities under the model.
        lengths: int32 `(batch,)`, number of tokens, the end token included.
    """

    tokens: tf.Tensor
    scores: tf.Tensor
    lengths: tf.Tensor


def greedy(
    steps: Steps, state: State, tokens: tf.Tensor, positions: tf.Tensor, limits: tf.Tensor
) -> Found:
    """The most probable token at every step.

    Args:
        steps: the model.
        state: from its `start`.
        tokens: int32 `(batch,)`, the last token that is given (the start token, say).
        positions: int32 `(batch,)`, where it stands.
        limits: int32 `(batch,)`, most tokens to generate; a row may stop earlier at its end token.
            `positions + limits` must not be more than the model's positions.
    """

    def choose(log_probabilities: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        return tf.argmax(log_probabilities, axis=-1, output_type=tf.int32)

    return _generate(steps, state, tokens, positions, limits, choose)


def sample(
    steps: Steps,
    state: State,
    tokens: tf.Tensor,
    positions: tf.Tensor,
    limits: tf.Tensor,
    *,
    temperature: tf.Tensor,
    top_k: tf.Tensor,
    seed: tf.Tensor,
) -> Found:
    """Draws every token from softmax(logits / temperature), cut to the `top_k` most probable.

    Each row has its own random numbers, from its seed alone, whatever stands beside it. The
    first five arguments are `greedy`'s.

    Args:
        temperature: float32 `(batch,)`; 0 or less (and NaN) takes the most probable token.
        top_k: int32 `(batch,)`; 0 or less is no cut.
        seed: int64 `(batch,)`.
    """
    uniform = _uniform(seed, tf.reduce_max(tf.concat([limits, [1]], 0)))  # (B, longest)
    drawn = temperature > 0
    divisor = tf.where(drawn, tf.maximum(temperature, 1e-6), 1.0)[:, None]

    def choose(log_probabilities: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        size = tf.shape(log_probabilities)[-1]
        ranked, ids = tf.math.top_k(log_probabilities, size)  # ties: the smaller id first
        kept = tf.range(size)[None] < tf.where(top_k > 0, top_k, size)[:, None]
        weights = tf.where(kept, tf.exp((ranked - ranked[:, :1]) / divisor), 0.0)
        reached = tf.cumsum(weights, axis=-1)
        point = uniform[:, step] * reached[:, -1]  # below the sum: the last kept is reached
        rank = tf.searchsorted(reached, point[:, None], side="right")[:, 0]
        # A product that is rounded up to the sum must not end behind the last that is kept.
        rank = tf.minimum(rank, tf.reduce_sum(tf.cast(weights > 0, tf.int32), axis=-1) - 1)
        return tf.gather(ids, tf.where(drawn, rank, 0), batch_dims=1)

    return _generate(steps, state, tokens, positions, limits, choose)


def log_probabilities(logits: tf.Tensor) -> tf.Tensor:
    """Log-softmax of `(..., vocabulary)` logits over the tokens that may be generated."""
    forbidden = tf.reduce_sum(tf.one_hot(FORBIDDEN, tf.shape(logits)[-1]), axis=0)
    return tf.nn.log_softmax(logits + forbidden * IMPOSSIBLE)


def _generate(
    steps: Steps,
    state: State,
    tokens: tf.Tensor,
    positions: tf.Tensor,
    limits: tf.Tensor,
    choose: Choose,
) -> Found:
    batch, longest = tf.shape(tokens)[0], tf.reduce_max(tf.concat([limits, [0]], 0))

    def running(step: tf.Tensor, done: tf.Tensor, *_) -> tf.Tensor:
        return (step < longest) & ~tf.reduce_all(done)

    def advance(step, done, last, out, scores, lengths, state):
        # A row that is done stays at its last position, which is inside the cache.
        logits, state = steps(last, positions + tf.minimum(step, tf.maximum(limits - 1, 0)), state)
        chances = log_probabilities(logits)
        chosen = choose(chances, step)
        gained = tf.gather(chances, chosen, batch_dims=1)
        chosen = tf.where(done, PADDING, chosen)
        out = tf.tensor_scatter_nd_update(out, [[step]], chosen[None])
        scores += tf.where(done, 0.0, gained)
        lengths += tf.cast(~done, tf.int32)
        done |= (chosen == END) | (step + 1 >= limits)
        return step + 1, done, chosen, out, scores, lengths, state

    start = (
        tf.constant(0),
        limits <= 0,
        tokens,
        tf.zeros((longest, batch), tf.int32),
        tf.zeros((batch,)),
        tf.zeros((batch,), tf.int32),
        dict(state),
    )
    _, _, _, out, scores, lengths, _ = loop(running, advance, start)
    return Found(tf.transpose(out), scores, lengths)


def loop(running: Callable, advance: Callable, start: tuple) -> tuple:
    """tf.while_loop over the steps, whatever is known of the batch size beforehand."""
    counter, *vectors, state = start
    invariants = (
        counter.shape,
        *(tf.TensorShape([None] * len(vector.shape)) for vector in vectors),
        {name: tf.TensorShape([None, *value.shape[1:]]) for name, value in state.items()},
    )
    return tf.while_loop(running, advance, start, shape_invariants=invariants)


def _uniform(seed: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """float32 `(batch, count)` in [0, 1), each row from its own seed."""
    return tf.map_fn(
        lambda one: tf.random.stateless_uniform((count,), tf.stack([one, tf.zeros_like(one)])),
        seed,
        fn_output_signature=tf.TensorSpec((None,), tf.float32),
    )
