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


def sentences(count: int, longest: int = 30, seed: int = 0) -> Split:
    """Token rows of random lengths; the first token is the row's number + 1."""
    rng = np.random.default_rng(seed)
    x = np.zeros((count, longest), "int32")
    for row in range(count):
        x[row, : rng.integers(1, longest + 1)] = row + 1
    return Split(x, x * 2)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 60), st.integers(1, 20), st.integers(0, 100))
def test_bucketed_batches_lose_padding_and_nothing_else(
    count: int, batch_size: int, epoch: int
) -> None:
    split, batch_size = sentences(count), min(batch_size, count)
    number = tf.Variable(epoch, dtype=tf.int64)
    seen = []
    for x, y in training_batches(split, batch_size, 3, number, bucketed=True):
        for row, target in zip(x.numpy(), y.numpy(), strict=True):
            whole = split.x[row[0] - 1]
            np.testing.assert_array_equal(row, whole[: len(row)])
            assert not whole[len(row) :].any()
            np.testing.assert_array_equal(target, row * 2)
            seen.append(int(row[0]))
    assert len(set(seen)) == len(seen) == count // batch_size * batch_size


def test_bucketed_batches_hold_like_lengths() -> None:
    split = sentences(800)
    number = tf.Variable(0, dtype=tf.int64)
    steps = [
        sum(x.shape[1] for x, _ in training_batches(split, 8, 0, number, bucketed=bucketed))
        for bucketed in (False, True)
    ]
    assert steps[1] < 0.75 * steps[0]


def test_source_and_target_are_cut_apart() -> None:
    source, target = sentences(40, 20).x, sentences(40, 30, seed=1).x
    split = Split({"source": source, "target": target}, target)
    number = tf.Variable(0, dtype=tf.int64)
    shapes = {
        (x["source"].shape[1], x["target"].shape[1])
        for x, y in training_batches(split, 4, 0, number, bucketed=True)
        if y.shape == x["target"].shape
    }
    assert any(first != second for first, second in shapes)


def test_a_transform_gets_another_key_each_batch_and_the_same_one_again() -> None:
    def keyed(x, y, key):
        return x, tf.fill(tf.shape(y), key[1])

    number = tf.Variable(2, dtype=tf.int64)
    batches = training_batches(numbered(40), 8, 7, number, transform=keyed)
    keys = [int(y[0]) for _, y in batches]
    assert keys == [10, 11, 12, 13, 14]
    assert [int(y[0]) for _, y in batches] == keys


def test_bucketed_evaluation_sees_every_example_once() -> None:
    split = sentences(50)
    seen = [
        int(row[0]) for x, _ in evaluation_batches(split, 8, bucketed=True) for row in x.numpy()
    ]
    assert sorted(seen) == list(range(1, 51))
