"""Clustering of the twin: tfmot's wrappers, and shared values of our own where they cannot go."""

from __future__ import annotations

# First: it decides what tf.keras is in this process.
import tensorflow_model_optimization as tfmot

# isort: split
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from tensorflow_model_optimization.python.core.clustering.keras.cluster_wrapper import (
    ClusterWeights,
)
from tensorflow_model_optimization.python.core.clustering.keras.clustering_registry import (
    ClusteringRegistry,
)
from tensorflow_model_optimization.python.core.clustering.keras.experimental.cluster import (
    cluster_weights,
)

from compression import bridge
from compression.clustering import grouped
from compression.tfmot.job import Each, Job, child, hold

LARGE = 2**18  # weights; tfmot compares each of them with every centroid in every step
FEW = 4  # weights for each cluster, below which tfmot finds too few to begin with


@child
def run(job: Job) -> None:
    """Options: clusters, init, epochs, learning_rate, targets."""
    options = job.options
    targets: Mapping[str, list[int]] = options["targets"]
    refused = {name: reason for name in targets if (reason := _refusal(job, name))}
    own = [p for name in refused for p in targets[name]]
    wrapped = {name for name in targets if name not in refused}
    together = _held_together(job, own)  # before wrapping: it reads the weights as they are
    model = _wrapped(job, wrapped)
    loose = [p for p in job.held if p not in {p for mine in targets.values() for p in mine}]
    facts = job.fine_tune(model, [*hold(job, loose), *together])
    values = _values(job, model)
    bridge.compare(
        bridge.outputs_of(job.built(values), job.probe),
        bridge.outputs_of(model, job.probe),
        "from tfmot's clustered layers to plain ones",
    )
    for position in {p for mine in targets.values() for p in mine}:
        values[position] = _final(values[position], job.held.get(position), options["clusters"])
    job.answer(values, {"fine_tuning": facts, "refused": refused})


def _refusal(job: Job, name: str) -> str | None:
    """Why tfmot cannot, or would take too long to, cluster a layer, or None."""
    layer, clusters = job.twin.get_layer(name), job.options["clusters"]
    if not ClusteringRegistry.supports(layer):
        return f"tfmot knows no layer {type(layer).__name__}"
    for position in job.options["targets"][name]:
        weight = job.variables[position].numpy()
        if weight.size > LARGE:
            return f"{weight.size:,} weights take tfmot too long"
        if np.count_nonzero(weight) < FEW * clusters:
            return f"too few weights for tfmot to begin with {clusters} clusters"
    return None


def _wrapped(job: Job, names: set[str]) -> Any:
    options, targets = job.options, job.options["targets"]
    inits = tfmot.clustering.keras.CentroidInitialization
    init = {
        "kmeans++": inits.KMEANS_PLUS_PLUS,
        "linear": inits.LINEAR,
        "density": inits.DENSITY_BASED,
    }[options["init"]]

    def wrap(layer: Any) -> Any:
        if layer.name not in names:
            return layer
        return cluster_weights(  # the published one cannot keep zeros
            layer,
            number_of_clusters=options["clusters"],
            cluster_centroids_init=init,
            preserve_sparsity=any(p in job.held for p in targets[layer.name]),
        )

    return tf_keras.models.clone_model(job.twin, clone_function=wrap)


def _held_together(job: Job, positions: Sequence[int]) -> list[Each]:
    """Callbacks after which the weights of each group of our own have the group's mean.

    Moving each weight by its gradient and all of a group to their mean is training the group's
    one value by the mean gradient.
    """
    groups = []
    for position in positions:
        variable, held = job.variables[position], job.held.get(position)
        index, count = grouped(
            variable.numpy(), job.options["clusters"], job.options["init"],
            None if held is None else held != 0,
        )  # fmt: skip
        mask = tf.ones((), "float32") if held is None else tf.constant(held)
        groups.append((variable, tf.constant(index), count, mask))

    def gather() -> None:
        for variable, index, count, mask in groups:
            means = tf.math.unsorted_segment_mean(variable * mask, index, count)
            variable.assign(tf.gather(means, index))

    return [Each(gather)] if groups else []


def _values(job: Job, model: Any) -> list[np.ndarray]:
    """All weights in the twin's order, those of tfmot's layers as their centroids."""
    values = [variable.numpy() for variable in job.variables]
    position = {id(variable): index for index, variable in enumerate(job.variables)}
    for layer in model.layers:
        if isinstance(layer, ClusterWeights):
            layer.update_clustered_weights_associations()
            for name, original in layer.original_clusterable_weights.items():
                values[position[id(original)]] = layer.get_weight_from_layer(name).numpy()
    return values


def _final(value: np.ndarray, held: np.ndarray | None, clusters: int) -> np.ndarray:
    """The weight with its old zeros, and no more values than were asked for."""
    if held is not None:
        value = value * held
    if len(np.unique(value)) <= clusters:
        return value
    # A value for each group; the one of the zeros may be empty.
    index, count = grouped(value, clusters, "kmeans++", None if held is None else held != 0)
    means = [
        value[index == group].mean() if (index == group).any() else 0 for group in range(count)
    ]
    return np.asarray(means, value.dtype)[index]
