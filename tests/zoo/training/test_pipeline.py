"""The order of examples is a function of seed and epoch, and every batch is full."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.datasets import Split
from zoo.training.pipeline import evaluation_batches, training_batches


def numbered(count: int) -> Split:
    x = np.arange(count, dtype="float32").reshape(-1, 1)
    return Split(x, (x[:, 0] * 10).astype("int32"))


def order(count: int, batch_size: int, seed: int, epoch: int) -> list[int]:
    number = tf.Variable(epoch, dtype=tf.int64)
    batches = list(training_batches(numbered(count), batch_size, seed, number))
    for x, y in batches:
        assert x.shape == (batch_size, 1)
        np.testing.assert_array_equal(y, x[:, 0] * 10)
    return [int(value) for x, _ in batches for value in x[:, 0]]


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 50), st.integers(1, 50), st.integers(0, 2**31), st.integers(0, 1000))
def test_an_epoch_is_full_batches_of_different_examples(
    count: int, batch_size: int, seed: int, epoch: int
) -> None:
    batch_size = min(batch_size, count)
    seen = order(count, batch_size, seed, epoch)
    assert len(seen) == count // batch_size * batch_size
    assert len(set(seen)) == len(seen)
    assert set(seen) <= set(range(count))


def test_order_depends_on_seed_and_epoch_alone() -> None:
    assert order(40, 8, seed=1, epoch=2) == order(40, 8, seed=1, epoch=2)
    assert order(40, 8, seed=1, epoch=2) != order(40, 8, seed=1, epoch=3)
    assert order(40, 8, seed=1, epoch=2) != order(40, 8, seed=2, epoch=2)


def test_the_epoch_is_read_anew_by_every_iteration() -> None:
    number = tf.Variable(0, dtype=tf.int64)
    batches = training_batches(numbered(40), 8, 0, number)
    first = [x.numpy().tolist() for x, _ in batches]
    number.assign(1)
    assert [x.numpy().tolist() for x, _ in batches] != first
    number.assign(0)
    assert [x.numpy().tolist() for x, _ in batches] == first
    assert batches.cardinality() == 5


def test_evaluation_sees_every_example_in_order() -> None:
    seen = [x.numpy()[:, 0].tolist() for x, _ in evaluation_batches(numbered(11), 4)]
    assert seen == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10]]


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 60), st.integers(1, 9), st.integers(1, 4))
def test_replicas_get_equal_parts_of_every_batch(
    count: int, batch_size: int, replicas: int
) -> None:
    sizes = [len(x) for x, _ in evaluation_batches(numbered(count), batch_size, replicas)]
    assert all(size % replicas == 0 for size in sizes)
    assert sum(sizes) == count - count % replicas
