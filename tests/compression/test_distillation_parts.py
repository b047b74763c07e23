"""What distillation is made of: soft targets, their loss, and views on logits."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from compression.distillation.live import LabelCrossEntropy
from compression.distillation.soft import SoftCrossEntropy, softened
from compression.distillation.views import logits_view
from zoo import registry
from zoo.datasets import Task

P = np.array([[0.7, 0.2, 0.1], [0.05, 0.05, 0.9]], "float32")
Q = np.array([[0.5, 0.3, 0.2], [0.2, 0.2, 0.6]], "float32")
LABELS = np.array([[0, 1, 0], [0, 0, 1]], "float32")


def test_softening():
    np.testing.assert_allclose(softened(P, 1.0), P, rtol=1e-5)
    np.testing.assert_allclose(softened(P, 1e6), np.full((2, 3), 1 / 3), rtol=1e-4)
    logits = np.log(P) / 3
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(softened(P, 3.0), expected, rtol=1e-5)
    assert np.isfinite(softened(np.array([[1.0, 0.0]]), 3.0)).all()


def test_the_loss_is_labels_and_divergence():
    soft = softened(P, 2.0)
    targets = np.hstack([LABELS, soft])
    hard = -(LABELS * np.log(Q)).sum(1)
    divergence = 4 * (soft * np.log(soft / softened(Q, 2.0))).sum(1)
    for alpha in (0.0, 0.3, 1.0):
        found = SoftCrossEntropy(2.0, alpha)(targets, Q)
        expected = np.mean((1 - alpha) * hard + alpha * divergence)
        np.testing.assert_allclose(found, expected, rtol=1e-4)
    same = SoftCrossEntropy(2.0, 1.0)(targets, P)
    np.testing.assert_allclose(same, 0.0, atol=1e-5)


def test_the_loss_smooths_labels():
    smooth = LABELS * 0.9 + 0.1 / 3
    found = SoftCrossEntropy(2.0, 0.0, 0.1)(np.hstack([LABELS, P]), Q)
    np.testing.assert_allclose(found, -np.mean((smooth * np.log(Q)).sum(1)), rtol=1e-4)


def test_one_probability_stands_for_two():
    one, table = Q[:, :1], np.hstack([1 - Q[:, :1], Q[:, :1]])
    targets = np.array([[0, 1, 0.3, 0.7], [1, 0, 0.6, 0.4]], "float32")
    loss = SoftCrossEntropy(3.0, 0.5)
    np.testing.assert_allclose(loss(targets, one), loss(targets, table), rtol=1e-5)


def test_label_cross_entropy_is_that_of_keras():
    logits = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    labels = np.array([0, 2, 1, 1])
    expected = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(labels, logits)
    np.testing.assert_allclose(LabelCrossEntropy()(labels, logits), expected, rtol=1e-5)
    np.testing.assert_allclose(
        LabelCrossEntropy()(labels[:, None].astype("float32"), logits), expected, rtol=1e-5
    )
    smooth = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.2)
    np.testing.assert_allclose(
        LabelCrossEntropy(0.2)(labels, logits), smooth(np.eye(3)[labels], logits), rtol=1e-5
    )


@pytest.mark.parametrize("loss", [SoftCrossEntropy(2.0, 0.3, 0.1), LabelCrossEntropy(0.1)])
def test_losses_are_saved_with_a_model(loss):
    assert type(loss).from_config(loss.get_config()).get_config() == loss.get_config()


def test_a_view_shares_the_weights():
    model = registry.build("dense", input_shape=(4, 4, 1), units=(5,), num_classes=3)
    x = np.random.default_rng(0).random((6, 4, 4, 1)).astype("float32")
    view = logits_view(model, Task("classification", ("a", "b", "c")))
    for scale in (1.0, 3.0):
        model.set_weights([w * scale for w in model.get_weights()])
        logits = view.predict(x, verbose=0)
        np.testing.assert_allclose(
            softened_logits(logits), model.predict(x, verbose=0), rtol=1e-4, atol=1e-6
        )
    paths = {v.path for v in model.trainable_weights}
    assert {v.path for v in view.trainable_weights} == paths
    assert (logits.min(axis=1) < 0).any()
    assert (logits.max(axis=1) > 0).any()


def test_a_sigmoid_has_two_columns():
    model = registry.build("lstm", input_shape=(4, 1), units=3, dense_units=3)
    x = np.random.default_rng(0).normal(size=(6, 4, 1)).astype("float32")
    logits = logits_view(model, Task("binary", ("no", "yes"))).predict(x, verbose=0)
    second = softened_logits(logits)[:, 1:]
    np.testing.assert_allclose(second, model.predict(x, verbose=0), rtol=1e-4)


def test_another_last_layer_gives_logarithms():
    inputs = keras.Input((4,))
    outputs = keras.layers.Softmax(name="probabilities")(keras.layers.Dense(3)(inputs))
    model = keras.Model(inputs, outputs)
    x = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")
    logits = logits_view(model, Task("classification", ("a", "b", "c"))).predict(x, verbose=0)
    np.testing.assert_allclose(softened_logits(logits), model.predict(x, verbose=0), rtol=1e-4)


def softened_logits(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)
