"""Quantization-aware training of the twin, and its conversion to a TFLite file."""

from __future__ import annotations

# First: it decides what tf.keras is in this process.
import tensorflow_model_optimization as tfmot

# isort: split
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf
import tf_keras

from compression import isolated
from compression.errors import NotApplicable
from compression.tfmot.job import Each, Job, child

SAVED_MODEL, RESULT = "quantized", "model.tflite"
ANNOTATED = (tf_keras.layers.Dense, tf_keras.layers.Conv2D)


@child
def run(job: Job) -> None:
    """Options: scheme ("default", "prune", "cluster" or "prune_cluster"), epochs, learning_rate."""
    model, whole = _quantized(job)
    facts = job.fine_tune(model, _held(job, model))
    _save(job, model)
    (job.folder / RESULT).write_bytes(_converted(job.folder / SAVED_MODEL))
    wrapped = [layer.layer.name for layer in model.layers if _is_wrapper(layer)]
    layers = [n for n in wrapped if _has_weights(job.twin, n)]
    isolated.write_json(
        job.folder / "answer.json", {"fine_tuning": facts, "whole": whole, "layers": layers}
    )


def _quantized(job: Job) -> tuple[Any, bool]:
    """The twin with fake quantization: of every layer where tfmot can, else of Dense and Conv2D."""
    reasons = []
    for whole in (True, False):
        try:
            model = _annotated(job.twin, whole)
            with tfmot.quantization.keras.quantize_scope():
                return tfmot.quantization.keras.quantize_apply(model, _scheme(job)), whole
        except (ValueError, RuntimeError, TypeError, AttributeError, KeyError) as error:
            reasons.append(" ".join(str(error).split())[:160])
    raise NotApplicable(
        f"tfmot cannot quantize this model in training ({reasons[-1]}): use quantize with the "
        "form dynamic_range instead."
    )


def _annotated(twin: Any, whole: bool) -> Any:
    annotate = tfmot.quantization.keras.quantize_annotate_layer
    if whole:
        return tfmot.quantization.keras.quantize_annotate_model(twin)

    def chosen(layer: Any) -> Any:
        return annotate(layer) if type(layer) in ANNOTATED else layer

    return tf_keras.models.clone_model(twin, clone_function=chosen)


def _scheme(job: Job) -> Any:
    combine, name = tfmot.experimental.combine, job.options["scheme"]
    if name == "prune":
        return combine.Default8BitPrunePreserveQuantizeScheme()
    if name in ("cluster", "prune_cluster"):
        keep = name == "prune_cluster"
        return combine.Default8BitClusterPreserveQuantizeScheme(preserve_sparsity=keep)
    from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
        default_8bit_quantize_scheme,
    )

    return default_8bit_quantize_scheme.Default8BitQuantizeScheme()


def _is_wrapper(layer: Any) -> bool:
    return type(layer).__name__.startswith("QuantizeWrapper")


def _has_weights(twin: Any, name: str) -> bool:
    names = {layer.name for layer in twin.layers if layer.trainable_weights}
    return name in names


def _held(job: Job, model: Any) -> list[Each]:
    """Callbacks that keep the zeros of layers that no scheme looks after."""
    position = {id(variable): index for index, variable in enumerate(job.variables)}
    names = {layer.name for layer in job.twin.layers}
    pairs = []
    for layer in model.layers:
        if _is_wrapper(layer) or layer.name not in names:
            continue
        for mine, old in zip(layer.weights, job.twin.get_layer(layer.name).weights, strict=True):
            if position[id(old)] in job.held:
                pairs.append((mine, tf.constant(job.held[position[id(old)]])))

    def mask() -> None:
        for variable, kept in pairs:
            variable.assign(variable * kept)

    return [Each(mask)] if pairs else []


def _save(job: Job, model: Any) -> None:
    """A SavedModel with `serving_default`, of the zoo's tensor names and any batch size."""
    twin = job.twin
    specs = {
        tensor.name: tf.TensorSpec((None, *tensor.shape[1:]), tensor.dtype, name=tensor.name)
        for tensor in twin.inputs
    }

    def serving_default(**tensors: tf.Tensor) -> dict[str, tf.Tensor]:
        given = tensors if isinstance(twin.input, Mapping) else next(iter(tensors.values()))
        found = model(given, training=False)
        if not isinstance(found, Mapping):
            flat = tf.nest.flatten(found)
            found = dict(zip(twin.output_names, flat, strict=True))
        return {name: _summing_to_one(name, value) for name, value in found.items()}

    module = tf.Module()
    module.model = model
    function = tf.function(serving_default, autograph=False).get_concrete_function(**specs)
    tf.saved_model.save(
        module, str(job.folder / SAVED_MODEL), signatures={"serving_default": function}
    )


def _summing_to_one(name: str, value: tf.Tensor) -> tf.Tensor:
    """An int8 softmax counts in 256ths, so that its rows sum to one only about."""
    if name != "probabilities":
        return tf.cast(value, tf.float32)
    return tf.math.divide_no_nan(value, tf.reduce_sum(value, axis=-1, keepdims=True))


def _converted(folder: Path) -> bytes:
    from compression.tflite.flatbuffer import stripped

    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    return stripped(converter.convert())
