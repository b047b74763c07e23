"""How much each unit matters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from compression.structured.tracing import Trace

if TYPE_CHECKING:
    from compression.subject import Subject

CRITERIA = ("taylor", "l1", "random")
BATCHES = 32  # over which the first-order term is summed
BATCH = 32  # examples in each


def score(subject: Subject, criterion: str) -> dict[int, float]:
    """Root of a unit → how much the model loses without it; only the order means something.

    `l1`: sum of the absolute weights of a unit, each variable's by its mean over units, so that
        large matrices do not outvote small ones. Li et al., "Pruning Filters for Efficient
        ConvNets", 2017.
    `taylor`: sum of |w · ∂L/∂w| over a unit's weights and over `BATCHES` batches of training
        data, the first-order estimate of what the loss gains without them. Molchanov et al.,
        "Importance Estimation for Neural Network Pruning", 2019.
    `random`: for comparison.
    """
    model, trace = subject.model, Trace(subject.model)
    if criterion == "random":
        roots = sorted({r for m in trace.members for r in trace.units.roots(m.units).tolist()})
        drawn = np.random.default_rng(subject.seed).permutation(len(roots))
        return dict(zip(roots, drawn.astype(float).tolist(), strict=True))
    relative = criterion == "l1"
    weights = {v.path: np.abs(np.asarray(v)) for v in model.trainable_weights}
    values = {p: v for p, v in weights.items() if v.ndim > 1} if relative else taylor(subject)
    return _summed(trace, values, relative)


def _summed(trace: Trace, values: Mapping[str, np.ndarray], relative: bool) -> dict[int, float]:
    """Sums of the variables' entries over everything that a unit owns."""
    total: dict[int, float] = {}
    for member in trace.members:
        if member.variable not in values:
            continue
        array = values[member.variable]
        others = tuple(axis for axis in range(array.ndim) if axis != member.axis)
        along = array.sum(axis=others, dtype="float64")
        along = along / max(along.mean(), 1e-30) if relative else along
        for root, part in zip(trace.units.roots(member.units).tolist(), along, strict=True):
            total[root] = total.get(root, 0.0) + float(part)
    return total


def taylor(subject: Subject) -> dict[str, np.ndarray]:
    """|w · ∂L/∂w| of every trained weight, summed over batches of the training split.

    Returns:
        Path of a variable of the subject's model → float32 of its shape.
    """
    import keras
    import tensorflow as tf

    from zoo.training.fit import compile_model
    from zoo.training.objectives import objective_for

    dataset = subject.dataset
    objective = objective_for(dataset.task)
    twin = keras.models.clone_model(subject.model)  # compiling would change the given model
    twin.set_weights(subject.model.get_weights())
    tokens = objective.tokens(dataset.train)
    compile_model(twin, dataset.task, subject.recipe, BATCHES, None, tokens)

    @tf.function(reduce_retracing=True)
    def products(x, y):
        with tf.GradientTape() as tape:
            loss = twin.compute_loss(x, y, twin(x, training=False))
        weights = [weight.value for weight in twin.trainable_weights]
        slopes = tape.gradient(loss, weights, unconnected_gradients="zero")
        return [tf.abs(w * tf.convert_to_tensor(g)) for w, g in zip(weights, slopes, strict=True)]

    sums = [np.zeros(weight.shape, "float32") for weight in twin.trainable_weights]
    for x, y in _batches(subject):
        for total, part in zip(sums, products(x, y), strict=True):
            total += part.numpy()
    return {w.path: total for w, total in zip(subject.model.trainable_weights, sums, strict=True)}


def _batches(subject: Subject):
    import tensorflow as tf

    from zoo.training.objectives import objective_for
    from zoo.training.pipeline import training_batches

    objective = objective_for(subject.dataset.task)
    split = subject.dataset.train
    return training_batches(
        split,
        min(BATCH, len(split)),
        subject.seed,
        tf.Variable(0, dtype=tf.int64, trainable=False),
        transform=objective.transform(subject.dataset),
        bucketed=objective.bucketed,
    ).take(BATCHES)
