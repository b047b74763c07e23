"""Signatures that write text: translations, and texts that go on.

    predict_text    of a translation: text string (batch,)
                    → translation string (batch,), scores float32 (batch,)
    generate_text   of a language model: text string (batch,), temperature float32 (batch,),
                    top_k int32 (batch,), seed int64 (batch,)
                    → continuation string (batch,), scores float32 (batch,)

Every input has the batch axis, because a row of TensorFlow Serving's JSON gives all of them.
What the values mean stands in zoo/decoding/text.py.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from zoo.decoding.beam import ALPHA
from zoo.decoding.steps import CausalSteps, TranslatorSteps
from zoo.decoding.text import continuation, translation
from zoo.errors import InvalidOption, ShapeError

from .options import Decoding

if TYPE_CHECKING:
    import keras

    from zoo.datasets import Dataset

GENERATE = "generate_text"
KINDS = ("translation", "language_model")  # of tasks that have a signature here


def signature(
    model: keras.Model, tokenizer: tf.Module, dataset: Dataset, decoding: Decoding
) -> tuple[str, Any]:
    """Name and concrete function of the task's text signature.

    Raises:
        InvalidOption: the model has another architecture, or the task no such option.
        ShapeError: the model's vocabulary is not the data set's.
    """
    _check(model, dataset, decoding)
    if dataset.task.kind == "translation":
        steps = TranslatorSteps(model)
        return "predict_text", _predict_text(steps, tokenizer, decoding, dataset.task.spaced)
    return GENERATE, _generate_text(CausalSteps(model), tokenizer, decoding)


def describe(dataset: Dataset, decoding: Decoding) -> dict[str, Any]:
    """How the text signature searches, for the model card."""
    if dataset.task.kind == "translation":
        search = "greedy" if decoding.beam == 1 else "beam"
        return {"search": search, "beam": decoding.beam, "length_penalty": ALPHA}
    return {"search": "sampling", "new_tokens": decoding.new_tokens}


def _predict_text(
    steps: TranslatorSteps, tokenizer: tf.Module, decoding: Decoding, spaced: bool
) -> Any:
    def predict_text(**given: tf.Tensor) -> Mapping[str, tf.Tensor]:
        text = tf.ensure_shape(given["text"], (None,))
        found, scores = translation(steps, tokenizer, text, decoding.beam, spaced)
        return {"translation": found, "scores": scores}

    return tf.function(predict_text, autograph=False).get_concrete_function(
        text=tf.TensorSpec((None,), tf.string, name="text")
    )


def _generate_text(steps: CausalSteps, tokenizer: tf.Module, decoding: Decoding) -> Any:
    specs = {
        name: tf.TensorSpec((None,), kind, name=name)
        for name, kind in (
            ("text", tf.string),
            ("temperature", tf.float32),
            ("top_k", tf.int32),
            ("seed", tf.int64),
        )
    }

    def generate_text(**given: tf.Tensor) -> Mapping[str, tf.Tensor]:
        given = {name: tf.ensure_shape(value, (None,)) for name, value in given.items()}
        for name in ("temperature", "top_k", "seed"):
            same = tf.debugging.assert_equal(
                tf.shape(given[name]), tf.shape(given["text"]), f"{name} needs one value a text"
            )
            with tf.control_dependencies([same]):
                given[name] = tf.identity(given[name])
        found, scores = continuation(steps, tokenizer, most=decoding.new_tokens, **given)
        return {"continuation": found, "scores": scores}

    return tf.function(generate_text, autograph=False).get_concrete_function(**specs)


def _check(model: keras.Model, dataset: Dataset, decoding: Decoding) -> None:
    kind = dataset.task.kind
    wanted = {"translation": ["source", "target"], "language_model": ["tokens"]}[kind]
    names = {layer.name for layer in model.layers}
    marks = {"translation": "decoder_1_cross_query", "language_model": "block_1_self_query"}
    if sorted(tensor.name for tensor in model.inputs) != wanted or marks[kind] not in names:
        builder = {"translation": "transformer_translator", "language_model": "causal_lm"}[kind]
        raise InvalidOption(
            f"Model {model.name!r} cannot write text for data set {dataset.name!r}: only "
            f"{builder} can; export it with dataset=None."
        )
    words, size = model.outputs[0].shape[-1], dataset.preprocessing.vocabulary_size
    if words != size:
        raise ShapeError(
            f"Model {model.name!r} has logits for {words} tokens and data set {dataset.name!r} has "
            f"{size}: export it with the data set it was trained on."
        )
    for option, value in dataclasses.asdict(decoding).items():
        own = {"beam": "translation", "new_tokens": "language_model"}[option]
        if value != getattr(Decoding(), option) and kind != own:
            raise InvalidOption(
                f"{option} is an option of a {own} export, and {dataset.name} is a {kind} task."
            )
