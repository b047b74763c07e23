"""The `explain` signature: which parts of an example speak for the predicted class.

Inputs are those of the raw signature. Outputs, of a classifier with C classes:

    label             string (batch,)
    classes           string (batch, C)
    probabilities     float32 (batch, C)
    attributions      float32, the shape of the model's input: image, sequence or features, in its
                      own scale; one value a token for text, padding is 0
    tokens            string (batch, steps), the words that the values belong to; text only
    output            float32 (batch,), probability of the label
    baseline_output   float32 (batch,), what the same class has for the baseline

The attributions of an example sum to `output - baseline_output` within 2 %, or within 0.0002
where these two hardly differ: see attribution.py. The explained output is the probability, as in
the paper, and not its logarithm or a logit: any client can check it against the raw signature,
and it needs fewest steps (log-probabilities were measured to need twice as many).

The baseline is zero: a black image, the training mean of standardised features, and for tokens
the zero embedding of the paper's section 6.3. The mask of padded steps stays the example's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import keras
import tensorflow as tf

from zoo.errors import InvalidOption

from .attribution import Attribution, integrated_gradients

if TYPE_CHECKING:
    from zoo.datasets import Task

EXPLAIN = "explain"


def explanation(
    model: keras.Model, task: Task, inputs: tf.Tensor, chosen: tf.Tensor
) -> dict[str, tf.Tensor]:
    """`attributions`, `output` and `baseline_output` of the chosen classes.

    One example after the other, so that memory does not grow with the batch, and an example's
    answer does not depend on its neighbours.

    Args:
        model: with one input and one output of probabilities.
        task: classification or binary.
        inputs: of the model, with its batch axis.
        chosen: class numbers, int64 `(batch,)`.

    Raises:
        InvalidOption: the input is of whole numbers and no layer embeds them.
    """
    embedding = _embedding(model) if "int" in model.inputs[0].dtype else None

    def explained(example: tuple[tf.Tensor, tf.Tensor]) -> Attribution:
        x, number = example
        if embedding is None:
            function = _probability(model, task, number)
            return integrated_gradients(function, tf.cast(x, tf.float32))
        vectors = tf.cast(embedding(x[tf.newaxis])[0], tf.float32)  # (T, width)
        function = _probability_of_vectors(model, task, number, embedding, x)
        return integrated_gradients(function, vectors, sum_last=True)

    shape, scalar = inputs.shape[1:], tf.TensorSpec((), tf.float32)
    found = tf.map_fn(
        explained,
        (inputs, chosen),
        fn_output_signature=Attribution(tf.TensorSpec(shape, tf.float32), scalar, scalar),
        parallel_iterations=1,
    )
    return {
        "attributions": found.values,
        "output": found.output,
        "baseline_output": found.baseline_output,
    }


def _probability(
    model: keras.Model, task: Task, number: tf.Tensor
) -> Callable[[tf.Tensor], tf.Tensor]:
    """Model inputs `(n, …)` → probability of class `number`, float32 `(n,)`."""

    def function(points: tf.Tensor) -> tf.Tensor:
        (outputs,) = keras.tree.flatten(model(points, training=False))
        return tf.gather(class_probabilities(outputs, task), number, axis=-1)

    return function


def _probability_of_vectors(
    model: keras.Model, task: Task, number: tf.Tensor, embedding: keras.Layer, tokens: tf.Tensor
) -> Callable[[tf.Tensor], tf.Tensor]:
    """The same from embedded tokens `(n, steps, width)`; masks still come from the tokens."""

    def function(vectors: tf.Tensor) -> tf.Tensor:
        repeated = tf.repeat(tokens[tf.newaxis], tf.shape(vectors)[0], axis=0)  # (n, T)
        repeated = tf.ensure_shape(repeated, (None, *tokens.shape))
        with _returning(embedding, vectors):
            return _probability(model, task, number)(repeated)

    return function


def class_probabilities(outputs: tf.Tensor, task: Task) -> tf.Tensor:
    """Model outputs `(batch, C)`, or `(batch, 1)` of a binary task → float32 `(batch, C)`."""
    outputs = tf.cast(outputs, tf.float32)
    return tf.concat([1 - outputs, outputs], axis=-1) if task.kind == "binary" else outputs


def _embedding(model: keras.Model) -> keras.Layer:
    """The one layer that turns the model's token ids into vectors."""
    (tokens,) = model.inputs
    found = [
        layer
        for layer in model.layers
        if getattr(layer, "output", None) is not None
        and layer.input is tokens
        and len(layer.output.shape) == len(tokens.shape) + 1
        and "float" in layer.output.dtype
    ]
    if len(found) != 1:
        raise InvalidOption(
            f"Model {model.name!r} takes whole numbers and {len(found)} of its layers embed them, "
            "so its explanation has no path: export it with explain=False."
        )
    return found[0]


@contextmanager
def _returning(layer: keras.Layer, value: tf.Tensor) -> Iterator[None]:
    """The layer returns `value`, in its own precision, whatever it is called with."""
    # Past Keras's __setattr__, which would look into a function for variables.
    vars(layer)["call"] = lambda *_, **__: tf.cast(value, layer.compute_dtype)
    try:
        yield
    finally:
        del vars(layer)["call"]
