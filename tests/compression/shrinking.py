"""Small models of every builder with random weights."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

import zoo

SMALL: dict[str, dict[str, Any]] = {
    "bidirectional_lstm": {"vocabulary_size": 30, "max_length": 8, "width": 6, "units": 5},
    "causal_lm": {
        "vocabulary_size": 30, "max_length": 12, "width": 12, "num_heads": 3, "feed_forward": 10,
    },
    "cnn": {"input_shape": (12, 11, 2), "filters": (6, 5), "dense_units": 7},
    "cnn_small": {"input_shape": (8, 9, 1), "filters": 5},
    "dense": {"input_shape": (4, 4, 1), "units": (7, 6)},
    "gru": {"input_shape": (6, 3), "units": 5, "bidirectional": True},
    "lenet5": {"input_shape": (12, 13, 1)},
    "lstm": {"input_shape": (6, 3), "units": 5, "dense_units": 6},
    "mlp_regressor": {},
    "resnet": {"input_shape": (8, 8, 1), "depth": 8},
    "simple_rnn": {"input_shape": (6, 3), "units": 5},
    "softmax_regression": {},
    "transformer_classifier": {
        "vocabulary_size": 30, "max_length": 8, "width": 12, "num_heads": 3, "feed_forward": 10,
    },
    "transformer_encoder": {
        "vocabulary_size": 30, "max_length": 12, "width": 12, "num_heads": 3, "feed_forward": 10,
    },
    "transformer_translator": {
        "vocabulary_size": 30, "max_length": 12, "width": 12, "num_heads": 3, "feed_forward": 10,
        "num_encoder_blocks": 1,
    },
    "vit": {
        "input_shape": (8, 8, 1), "patch_size": 4, "width": 12, "num_heads": 3, "feed_forward": 10,
        "num_blocks": 2,
    },
}  # fmt: skip
OTHERS = {
    "gru_one_way": ("gru", {"input_shape": (6, 3), "units": 5}),
    "albert": (
        "transformer_encoder",
        {**SMALL["transformer_encoder"], "shared_layers": True, "embedding_width": 8},
    ),
    "pooler": ("transformer_encoder", {**SMALL["transformer_encoder"], "head": "pooler"}),
    "sequences": ("bidirectional_lstm", {"input_shape": (6, 3), "units": 5, "dropout": 0.1}),
}
CASES = {**{name: (name, arguments) for name, arguments in SMALL.items()}, **OTHERS}


def random_model(builder: str, arguments: dict[str, Any]) -> keras.Model:
    """A model every one of whose weights, biases and statistics too, is drawn at random."""
    model = zoo.build(builder, **arguments)
    rng = np.random.default_rng(0)
    for variable in model.weights:
        fan = np.prod(variable.shape[:-1]) if len(variable.shape) > 1 else 4
        drawn = rng.normal(scale=fan**-0.5, size=variable.shape)
        if "variance" in variable.path or variable.path.endswith("bias"):
            drawn = np.abs(drawn) + 0.1  # with negative ones some ReLU would never be on
        variable.assign(drawn)
    return model
