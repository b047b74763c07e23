"""The signature of a masked language model: texts with gaps, which it fills.

predict_text    text string (batch,), a gap is "[MASK]"
                → filled string (batch,), scores float32 (batch,)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from zoo.datasets.preprocessing import SubwordPreprocessing
from zoo.errors import InvalidOption

if TYPE_CHECKING:
    import keras

Serve = Callable[..., Mapping[str, tf.Tensor]]

KIND = "masked_language_model"  # the task
GAP = r" ?\[MASK\]"  # a piece brings the space before it along
HELD = b"\xff"  # one byte for a gap while a text is cut into pieces: it is in no UTF-8


def signature(model: keras.Model, serve: Serve, tokenizer: tf.Module) -> tuple[str, Any]:
    """Name and concrete function of the signature.

    Args:
        model: what is exported.
        serve: its `serving_default`.
        tokenizer: what `SubwordPreprocessing.prepare()` returns.

    Raises:
        InvalidOption: the model has another architecture.
    """
    inputs = sorted(tensor.name for tensor in model.inputs)
    if inputs != ["segments", "tokens"] or model.output_names != ["logits"]:
        raise InvalidOption(
            f"Model {model.name!r} cannot fill in masked tokens: only a transformer_encoder with "
            "head masked_language_model can; export it with dataset=None."
        )
    positions = model.get_layer("positions")
    fill = filler(serve, tokenizer, positions.max_length - positions.offset)

    def predict_text(**given: tf.Tensor) -> Mapping[str, tf.Tensor]:
        filled, scores = fill(tf.ensure_shape(given["text"], (None,)))
        return {"filled": filled, "scores": scores}

    function = tf.function(predict_text, autograph=False)
    return "predict_text", function.get_concrete_function(
        text=tf.TensorSpec((None,), tf.string, name="text")
    )


def filler(
    serve: Serve, tokenizer: tf.Module, longest: int
) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    """A function that fills each gap with its most probable piece, all gaps at the same time.

    It takes string `(batch,)` and returns the filled texts, string `(batch,)`, valid UTF-8, and
    the log-probability of what is filled in, float32 `(batch,)`. A text without a gap stays as it
    is, with score 0; of one that has more than `longest` tokens the beginning is returned.
    """
    first, end = SubwordPreprocessing.FIRST_BYTE, SubwordPreprocessing.END
    start, mask = SubwordPreprocessing.START, SubwordPreprocessing.MASK
    held = first + HELD[0]

    def fill(text: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        pieces = tokenizer(tf.strings.regex_replace(text, GAP, HELD))[:, : longest - 1]
        tokens = tf.where(pieces == held, mask, pieces)
        given = tf.pad(tokens, [[0, 0], [1, 0]], constant_values=start)
        logits = serve(tokens=given, segments=tf.zeros_like(given))["logits"][:, 1:, :]  # (B, T, V)
        special = tf.range(tf.shape(logits)[-1]) < first
        logits = tf.where(special, logits.dtype.min, logits)
        best = tf.argmax(logits, axis=-1, output_type=tf.int32)  # (B, T)
        gaps = tokens == mask
        chances = tf.reduce_max(tf.nn.log_softmax(logits), axis=-1)
        whole = tf.pad(tf.where(gaps, best, tokens), [[0, 0], [0, 1]], constant_values=end)
        found = tf.strings.unicode_transcode(
            tokenizer.decode(whole), "UTF-8", "UTF-8", errors="replace"
        )
        return found, tf.reduce_sum(tf.where(gaps, chances, 0.0), axis=1)

    return fill
