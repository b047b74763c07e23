"""Model builders: pure functions that return uncompiled functional Keras models."""

from __future__ import annotations

from zoo.models.causal_lm import causal_lm
from zoo.models.cnn import cnn, cnn_small
from zoo.models.dense import dense, mlp_regressor, softmax_regression
from zoo.models.encoder import transformer_encoder
from zoo.models.lenet import lenet5
from zoo.models.resnet import resnet
from zoo.models.rnn import bidirectional_lstm, gru, lstm, simple_rnn
from zoo.models.transformer import transformer_classifier
from zoo.models.translator import transformer_translator
from zoo.models.vit import vit

__all__ = [
    "bidirectional_lstm",
    "causal_lm",
    "cnn",
    "cnn_small",
    "dense",
    "gru",
    "lenet5",
    "lstm",
    "mlp_regressor",
    "resnet",
    "simple_rnn",
    "softmax_regression",
    "transformer_classifier",
    "transformer_encoder",
    "transformer_translator",
    "vit",
]
