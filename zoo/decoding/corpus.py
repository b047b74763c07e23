"""Many translations at once, for scores over a whole split."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from zoo.decoding.steps import TranslatorSteps
from zoo.decoding.text import translation

if TYPE_CHECKING:
    import keras

    from zoo.datasets import Dataset


def translate(
    model: keras.Model,
    dataset: Dataset,
    texts: Sequence[str],
    batch_size: int = 128,
    beam: int = 1,
) -> list[str]:
    """Translations by the very graph that `predict_text` of an export runs.

    Args:
        model: a `transformer_translator`.
        dataset: whose preprocessing the model was trained with.
        texts: any number of them, in any order; the shortest are translated first, so that those
            of a batch are of like length.
        batch_size: texts at a time.
        beam: sequences kept at every step; 1 is greedy search.
    """
    steps, tokenizer = TranslatorSteps(model), dataset.preprocessing.prepare()
    spaced = dataset.task.spaced

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string)], autograph=False)
    def graph(text: tf.Tensor) -> tf.Tensor:
        return translation(steps, tokenizer, text, beam, spaced)[0]

    raw = np.array([text.encode() for text in texts], object)
    order = np.argsort([len(text) for text in raw], kind="stable")
    found = np.empty(len(raw), object)
    for first in range(0, len(raw), batch_size):
        rows = order[first : first + batch_size]
        found[rows] = graph(raw[rows]).numpy()
    return [text.decode() for text in found]
