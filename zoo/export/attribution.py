"""Integrated gradients of one example, as a TensorFlow graph.

For a model's output F, an example x and a baseline x₀, the attribution of the value x_i is

    A_i = (x_i - x₀_i) ∫₀¹ ∂F(x₀ + a (x - x₀)) / ∂x_i da,    Σ_i A_i = F(x) - F(x₀)

(Sundararajan, Taly, Yan, "Axiomatic Attribution for Deep Networks", 2017, equation 1 and
proposition 1). The sum is exact for the integral, so it also measures the error of a numerical
one, and on any part of the path: F is known at both ends of it. The rule here divides the path
where that error is largest until all of them together are a hundredth of the difference. Trained
convolutions need 24 to 72 gradients for that; a recurrent network whose output jumps within a
thousandth of the path, for which 512 equal steps are 50 % wrong, needs a few hundred.

Every operation is one of TensorFlow's own, so that the graph runs in TensorFlow Serving.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

# The path begins at this fraction of the example instead of at zero itself: where a Masking layer
# takes zeros for padding, the real steps of the baseline stay real.
START = 1e-6
INTERVALS = 8  # equal ones at the beginning
SPLIT = 8  # of the intervals, those with the largest errors, are halved in a round
ROUNDS = 24  # at most: 8 × (1 + 2 × 24) × 3 gradients
TOLERANCE = 0.01  # sum of all errors, as a fraction of the difference of the outputs
SMALLEST = 1e-4  # sum of all errors where the outputs hardly differ, in units of the output

# Gauss-Legendre with three points on [0, 1]. The middle one is where an interval is halved, so
# that F is known there already.
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(3)
NODES, WEIGHTS = (_NODES + 1) / 2, _WEIGHTS / 2


class Attribution(NamedTuple):
    """Attributions with the shape of the example, or less its last axis; float32 scalars F."""

    values: tf.Tensor
    output: tf.Tensor
    baseline_output: tf.Tensor


class _Intervals(NamedTuple):
    """Parts of the path, in any order; every field's first axis counts them."""

    left: tf.Tensor  # (K,)
    right: tf.Tensor  # (K,)
    low: tf.Tensor  # (K,) F at the left end
    middle: tf.Tensor  # (K,)
    high: tf.Tensor  # (K,)
    shares: tf.Tensor  # (K, …) attributions of this part

    def errors(self) -> tf.Tensor:
        """By how much the shares miss the difference of the ends, float32 (K,)."""
        sums = tf.reduce_sum(tf.reshape(self.shares, (tf.shape(self.left)[0], -1)), axis=1)
        return tf.abs(sums - (self.high - self.low))


def integrated_gradients(
    function: Callable[[tf.Tensor], tf.Tensor], x: tf.Tensor, *, sum_last: bool = False
) -> Attribution:
    """Attributions of `function(x)` against zeros.

    Args:
        function: F, float32 `(n, …)` → float32 `(n,)`.
        x: one example, float32 `(…)`.
        sum_last: add up the last axis, as for the embedding of a token.
    """

    def along(fractions: tf.Tensor) -> tf.Tensor:
        return tf.reshape(fractions, [-1] + [1] * x.shape.rank) * x

    # A function, so that model and gradient are in the graph once for both places of use.
    @tf.function(input_signature=[tf.TensorSpec((None,), tf.float32)] * 4, autograph=False)
    def measured(left: tf.Tensor, right: tf.Tensor, low: tf.Tensor, high: tf.Tensor) -> _Intervals:
        width = (right - left)[:, tf.newaxis]  # (K, 1)
        points = along(left[:, tf.newaxis] + width * tf.constant(NODES, tf.float32))  # (3K, …)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(points)
            outputs = function(points)
        gradients = tape.gradient(outputs, points, unconnected_gradients="zero")
        # A product and a sum: TensorFlow 2.21's oneDNN writes beyond its memory in a batched
        # matrix product of ranks 4 and 1, which an einsum becomes (issue 117700).
        shares = gradients * along(width * tf.constant(WEIGHTS, tf.float32))
        shares = tf.reshape(shares, tf.concat([[-1, len(NODES)], tf.shape(x)], axis=0))
        shares = tf.reduce_sum(tf.ensure_shape(shares, (None, len(NODES), *x.shape)), axis=1)
        if sum_last:
            shares = tf.reduce_sum(shares, axis=-1)
        middle = tf.reshape(outputs, (-1, len(NODES)))[:, len(NODES) // 2]
        return _Intervals(left, right, low, middle, high, shares)

    def halved(round_: tf.Tensor, parts: _Intervals) -> tuple[tf.Tensor, _Intervals]:
        order = tf.argsort(parts.errors(), direction="DESCENDING")
        worst, kept = (
            _Intervals(*(tf.gather(field, rows) for field in parts))
            for rows in (order[:SPLIT], order[SPLIT:])
        )
        centre = (worst.left + worst.right) / 2
        halves = measured(
            tf.concat([worst.left, centre], axis=0),
            tf.concat([centre, worst.right], axis=0),
            tf.concat([worst.low, worst.middle], axis=0),
            tf.concat([worst.middle, worst.high], axis=0),
        )
        joined = (tf.concat(pair, axis=0) for pair in zip(kept, halves, strict=True))
        return round_ + 1, _Intervals(*joined)

    edges = tf.constant(np.linspace(START, 1, INTERVALS + 1), tf.float32)
    outputs = function(along(edges))
    baseline_output, output = outputs[0], outputs[-1]
    allowed = tf.maximum(TOLERANCE * tf.abs(output - baseline_output), SMALLEST)
    parts = measured(edges[:-1], edges[1:], outputs[:-1], outputs[1:])
    free = _Intervals(*(tf.TensorShape([None, *field.shape[1:]]) for field in parts))
    _, parts = tf.while_loop(
        lambda round_, parts: (round_ < ROUNDS) & (tf.reduce_sum(parts.errors()) > allowed),
        halved,
        (tf.constant(0), parts),
        shape_invariants=(tf.TensorShape(()), free),
    )
    return Attribution(tf.reduce_sum(parts.shares, axis=0), output, baseline_output)
