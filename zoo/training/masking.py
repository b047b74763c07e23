"""Masks of a masked language model, drawn anew for every training batch.

Liu et al., "RoBERTa", 2019, section 4.1: dynamic masking.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from zoo.datasets import Dataset
from zoo.datasets.masking import mask_tokens
from zoo.training.pipeline import Transform


def masking(dataset: Dataset) -> Transform:
    """A transform of training batches; see `mask_tokens` and `training_batches`."""
    size = dataset.model_arguments["vocabulary_size"]

    def transform(x: Any, y: tf.Tensor, key: tf.Tensor) -> tuple[Any, tf.Tensor]:
        shown, asked = mask_tokens(x["tokens"], key, size)
        return {**x, "tokens": shown}, asked

    return transform
