"""A trained model as a tf.Module with explicit signatures over one set of variables.

Keras's own `model.export()` saves every weight twice, as `variables/*` and as `_all_variables/*`
(keras/src/export/saved_model.py). Here the module holds each tf.Variable once, and every signature
is a tf.function that captures it.
"""

from __future__ import annotations

import keyword
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from zoo.errors import InvalidOption, ShapeError
from zoo.layers.positions import longest_sequence

from . import filling, generation
from .explain import EXPLAIN, class_probabilities, explanation
from .options import Decoding
from .recurrent import check_stateless, without_cudnn

if TYPE_CHECKING:
    from zoo.datasets import Dataset, Task

DEFAULT = "serving_default"  # what TensorFlow Serving calls when a request names no signature
Signatures = dict[str, Any]  # name → tf.types.experimental.ConcreteFunction


def build(
    model: keras.Model,
    dataset: Dataset | None,
    *,
    explain: bool = True,
    decoding: Decoding = Decoding(),  # noqa: B008 - frozen
    jit_compile: bool = False,
) -> tuple[tf.Module, Signatures]:
    """The module to save and its signatures.

    `serving_default` takes and returns the model's own tensors, by name, with a free batch size.
    With a data set that has preprocessing, `preprocessing.signature` (predict_bytes, predict_text
    or predict_raw) takes raw examples; its outputs are `label` string (batch,), `classes` string
    (batch, C) and `probabilities` float32 (batch, C), or `values` float32 for a regression.
    A classifier also gets `explain`, see explain.py, of the same raw examples. Tasks of text get
    the signatures of generation.py and filling.py instead.
    """
    check_model(model)
    module = tf.Module(name=model.name)
    serve = _serving_default(model, jit_compile=jit_compile)
    with without_cudnn(model):
        signatures = {DEFAULT: serve.get_concrete_function(**_input_specs(model))}
        preprocessing = None if dataset is None else dataset.preprocessing
        if preprocessing is not None and preprocessing.signature:
            module.preprocessing = preprocessing.prepare()  # keeps its lookup tables
            if dataset.task.kind in generation.KINDS:
                name, function = generation.signature(
                    model, module.preprocessing, dataset, decoding
                )
                signatures[name] = function
            elif dataset.task.kind == filling.KIND:
                name, function = filling.signature(model, serve, module.preprocessing)
                signatures[name] = function
            elif not dataset.task.predicts_tokens:
                signatures |= _of_raw_examples(model, serve, module.preprocessing, dataset, explain)
    _track(module, model, signatures)
    return module, signatures


def _of_raw_examples(
    model: keras.Model, serve: Callable, preprocessing: tf.Module, dataset: Dataset, explain: bool
) -> Signatures:
    spec, prepare = _preparation(model, preprocessing, dataset)
    name = dataset.preprocessing.signature
    signatures = {name: _raw_signature(model, serve, spec, prepare, dataset)}
    if explain and dataset.task.predicts_classes:
        signatures[EXPLAIN] = _explain_signature(
            model, serve, preprocessing, spec, prepare, dataset
        )
    return signatures


def describe(signatures: Signatures) -> dict[str, Any]:
    """{signature: {"inputs" and "outputs": {name: {"dtype", "shape"}}}}; null is a free size."""

    def table(specs: Mapping[str, Any]) -> dict[str, Any]:
        return {
            name: {"dtype": spec.dtype.name, "shape": spec.shape.as_list()}
            for name, spec in specs.items()
        }

    return {
        name: {"inputs": table(inputs(function)), "outputs": table(function.structured_outputs)}
        for name, function in signatures.items()
    }


def inputs(signature: Any) -> dict[str, tf.TensorSpec]:
    """Input names of a concrete function with their specs."""
    return dict(signature.structured_input_signature[1])


def check_model(model: keras.Model) -> None:
    """InvalidOption for anything that cannot become a servable TensorFlow graph."""
    if keras.backend.backend() != "tensorflow":
        raise InvalidOption(
            f"Keras runs on the {keras.backend.backend()} backend here and a SavedModel needs "
            "TensorFlow's: set KERAS_BACKEND=tensorflow, load the model's .keras file and export."
        )
    if not isinstance(model, keras.Model):
        raise InvalidOption(
            f"A {type(model).__module__}.{type(model).__qualname__} cannot be exported: "
            "pass a functional keras.Model of Keras 3."
        )
    if not getattr(model, "inputs", None) or not getattr(model, "outputs", None):
        raise InvalidOption(
            f"Model {model.name!r} has no named input and output tensors: build it with "
            "keras.Model(inputs, outputs)."
        )
    check_stateless(model)
    for kind, names in (("input", _input_names(model)), ("output", output_names(model))):
        for name in names:
            if not name.isidentifier() or keyword.iskeyword(name):
                raise InvalidOption(
                    f"Model {model.name!r} has an {kind} named {name!r}, which TensorFlow cannot "
                    "put in a signature: use letters, digits and '_', and no Python keyword."
                )
            if names.count(name) > 1:
                raise InvalidOption(
                    f"Model {model.name!r} has two {kind}s named {name!r}: give each its own name."
                )


def output_names(model: keras.Model) -> list[str]:
    """Keys of a model that returns a dictionary, else the names of its output layers."""
    structure = getattr(model, "_outputs_struct", None)
    if isinstance(structure, dict) and len(structure) == len(model.outputs):
        return list(structure)
    if hasattr(model, "output_names"):
        return list(model.output_names)
    return [tensor._keras_history.operation.name for tensor in model.outputs]  # Sequential


def _input_names(model: keras.Model) -> list[str]:
    return [tensor.name for tensor in model.inputs]


def _input_specs(model: keras.Model) -> dict[str, tf.TensorSpec]:
    return {
        tensor.name: tf.TensorSpec((None, *tensor.shape[1:]), tensor.dtype, name=tensor.name)
        for tensor in model.inputs
    }


def _serving_default(
    model: keras.Model, *, jit_compile: bool = False
) -> Callable[..., dict[str, tf.Tensor]]:
    """tf.function from the model's inputs, as keywords, to its outputs, by name."""
    names, structure = output_names(model), getattr(model, "_inputs_struct", None)
    specs, longest = _input_specs(model), longest_sequence(model)

    def serving_default(**tensors: tf.Tensor) -> dict[str, tf.Tensor]:
        flat = [_checked(tensors[name], spec, longest) for name, spec in specs.items()]
        arguments = flat[0] if structure is None else keras.tree.pack_sequence_as(structure, flat)
        result = model(arguments, training=False)
        if isinstance(result, dict):
            return {name: result[name] for name in names}
        return dict(zip(names, keras.tree.flatten(result), strict=True))

    return tf.function(serving_default, autograph=False, jit_compile=jit_compile or None)


def _checked(tensor: tf.Tensor, spec: tf.TensorSpec, longest: int | None = None) -> tf.Tensor:
    """The tensor of a request, once its shape is known to fit.

    A server feeds tensors of any shape. Some kernels abort the whole process for a wrong rank
    (oneDNN's convolution: "Check failed: index < num_total_dims"): one request would end the
    server. This op refuses it with InvalidArgument first. `longest` bounds a free second axis.
    """
    tensor = tf.ensure_shape(tensor, spec.shape)
    if longest is None or len(spec.shape) < 2 or spec.shape[1] is not None:
        return tensor
    message = f"{spec.name} has more steps than the {longest} that the model has positions for"
    fits = tf.debugging.assert_less_equal(tf.shape(tensor)[1], longest, message)
    with tf.control_dependencies([fits]):
        return tf.identity(tensor)


def _preparation(
    model: keras.Model, preprocessing: tf.Module, dataset: Dataset
) -> tuple[tf.TensorSpec, Callable[[tf.Tensor], tf.Tensor]]:
    """What a batch of raw examples is, and the function from it to the model's one input."""
    kind = dataset.preprocessing
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise InvalidOption(
            f"Model {model.name!r} has {len(model.inputs)} inputs and {len(model.outputs)} outputs "
            f"and data set {dataset.name!r} makes one tensor for one answer: export it with "
            "dataset=None."
        )
    _check_output(model, dataset)
    (tensor,) = model.inputs
    spec = kind.raw_spec()
    spec = tf.TensorSpec((None, *spec.shape[1:]), spec.dtype, name=kind.input_name)

    def prepare(raw: tf.Tensor) -> tf.Tensor:
        prepared = preprocessing(_checked(raw, spec))
        if not tf.TensorShape(tensor.shape).is_compatible_with(prepared.shape):
            raise ShapeError(
                f"Model {model.name!r} takes {tensor.name} of shape {tuple(tensor.shape)} and the "
                f"examples of data set {dataset.name!r} have {tuple(prepared.shape)}: "
                "export it with the data set it was trained on."
            )
        return tf.ensure_shape(tf.cast(prepared, tensor.dtype), (None, *tensor.shape[1:]))

    return spec, prepare


def _raw_signature(
    model: keras.Model, serve: Callable, spec: tf.TensorSpec, prepare: Callable, dataset: Dataset
) -> Any:
    """Concrete function of raw examples → answers in the task's own words."""
    (tensor,), (output,) = model.inputs, output_names(model)

    def predict(**raw: tf.Tensor) -> dict[str, tf.Tensor]:
        prepared = prepare(raw[spec.name])
        return answer(serve(**{tensor.name: prepared})[output], dataset.task)

    predict.__name__ = dataset.preprocessing.signature
    return tf.function(predict, autograph=False).get_concrete_function(**{spec.name: spec})


def _explain_signature(
    model: keras.Model,
    serve: Callable,
    preprocessing: tf.Module,
    spec: tf.TensorSpec,
    prepare: Callable,
    dataset: Dataset,
) -> Any:
    """Concrete function of raw examples → answers, and what in the examples speaks for them."""
    (tensor,), (output,) = model.inputs, output_names(model)

    def explain(**raw: tf.Tensor) -> dict[str, tf.Tensor]:
        prepared = prepare(raw[spec.name])
        answered = answer(serve(**{tensor.name: prepared})[output], dataset.task)
        chosen = tf.argmax(answered["probabilities"], axis=-1)
        answered |= explanation(model, dataset.task, prepared, chosen)
        if hasattr(preprocessing, "words"):
            answered["tokens"] = preprocessing.words(raw[spec.name])
        return answered

    return tf.function(explain, autograph=False).get_concrete_function(**{spec.name: spec})


def answer(output: tf.Tensor, task: Task) -> dict[str, tf.Tensor]:
    """Name the classes: model output (batch, C), or (batch, 1) for a binary task or values."""
    if task.kind == "regression":
        return {"values": tf.cast(output, tf.float32)}
    output = class_probabilities(output, task)
    names = tf.constant(class_names(task, output.shape[-1]))  # (C,)
    return {
        "label": tf.gather(names, tf.argmax(output, axis=-1)),
        "classes": tf.tile(names[tf.newaxis], [tf.shape(output)[0], 1]),
        "probabilities": output,
    }


def class_names(task: Task, count: int) -> list[str]:
    """The task's class names, or the class numbers where it has none."""
    return [str(name) for name in task.class_names] or [str(index) for index in range(count)]


def _check_output(model: keras.Model, dataset: Dataset) -> None:
    """ShapeError unless the model's one output has a column for each class of the task."""
    task, shape = dataset.task, tuple(model.outputs[0].shape)
    if task.kind == "regression":
        return
    columns = 1 if task.kind == "binary" else len(task.class_names) or shape[-1]
    if len(shape) != 2 or shape[-1] != columns:
        raise ShapeError(
            f"Model {model.name!r} returns {output_names(model)[0]} of shape {shape} and the "
            f"{task.kind} task of data set {dataset.name!r} needs (None, {columns}): "
            "export it with the data set it was trained on."
        )


def _track(module: tf.Module, model: keras.Model, signatures: Signatures) -> None:
    """Make the module own, once each, everything that the signatures captured."""
    module.weights = [weight.value for weight in model.weights]
    owned = {id(variable) for variable in module.variables}
    captured = [variable for function in signatures.values() for variable in function.variables]
    module.state = [variable for variable in captured if id(variable) not in owned]
    module.tables = [
        value
        for layer in model._flatten_layers()
        for value in vars(layer).values()
        if isinstance(value, tf.saved_model.experimental.TrackableResource)
    ]
