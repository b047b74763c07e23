"""No recurrent layer is exported with an op that only a GPU has."""

from __future__ import annotations

import importlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from zoo import export

from .conftest import functional, graph_ops

layers = keras.layers


def nested(x):
    inner = keras.Sequential([layers.Bidirectional(layers.LSTM(3))], name="inner")
    return inner(x)


RECURRENT = {
    "lstm": lambda x: layers.LSTM(4)(x),
    "gru": lambda x: layers.GRU(4)(x),
    "forced": lambda x: layers.GRU(4, use_cudnn=True)(x),
    "bidirectional": lambda x: layers.Bidirectional(layers.GRU(3))(x),
    "nested": nested,
    "cells": lambda x: layers.RNN([layers.LSTMCell(3), layers.GRUCell(2)])(x),
    "simple_rnn": lambda x: layers.SimpleRNN(4)(x),
}
UNMASKED = {"forced", "nested"}
# What Keras would turn into cuDNN where there is a GPU.
TEMPTED = {"lstm", "gru", "forced", "bidirectional", "nested"}


def recurrent_model(kind: str) -> keras.Model:
    sequence = keras.Input((None, 3), name="sequence")
    x = sequence if kind in UNMASKED else layers.Masking()(sequence)
    x = RECURRENT[kind](x)
    return functional(sequence, layers.Dense(2, name="out")(x), kind)


@pytest.fixture
def machine_with_gpu(monkeypatch):
    """Keras takes this machine for one with a GPU, and traces what it would trace there."""
    rnn = importlib.import_module("keras.src.backend.tensorflow.rnn")
    monkeypatch.setattr(rnn, "_is_gpu_available", lambda: True)


@pytest.mark.parametrize("kind", RECURRENT)
def test_no_cudnn_op(tmp_path, kind, machine_with_gpu):
    model = recurrent_model(kind)
    recurrent = [layer for layer in model._flatten_layers() if hasattr(layer, "use_cudnn")]
    before = [layer.use_cudnn for layer in recurrent]
    ops = graph_ops(export.export(model, tmp_path, kind))
    assert not {op for op in ops if "cudnn" in op.lower()}
    assert [layer.use_cudnn for layer in recurrent] == before


@pytest.mark.parametrize("kind", sorted(TEMPTED))
def test_plain_tracing_would_hold_a_cudnn_op(kind, machine_with_gpu):
    """So that the test above can fail."""
    model = recurrent_model(kind)
    trace = tf.function(lambda x: model(x, training=False), autograph=False)
    graph = trace.get_concrete_function(tf.TensorSpec((None, None, 3))).graph
    assert "CudnnRNNV3" in {op.type for op in graph.get_operations()}


@pytest.mark.parametrize("kind", sorted(RECURRENT.keys() - {"forced"}))
def test_equal_answers_for_any_length_and_mask(tmp_path, kind):
    model = recurrent_model(kind)
    serve = export.load(export.export(model, tmp_path, kind))["serving_default"]
    for batch, steps in ((1, 1), (3, 6)):
        x = np.random.default_rng(0).normal(size=(batch, steps, 3)).astype(np.float32)
        x[-1, steps // 2 :] = 0  # the last sequence is shorter, or masked as a whole
        np.testing.assert_allclose(
            serve(sequence=x)["out"], model(x, training=False), rtol=0, atol=1e-6
        )


def test_an_error_while_tracing_gives_the_layers_back():
    from zoo.export.recurrent import without_cudnn

    model = recurrent_model("nested")
    recurrent = [layer for layer in model._flatten_layers() if hasattr(layer, "use_cudnn")]
    assert len(recurrent) >= 2

    def interrupted():
        with without_cudnn(model):
            assert {layer.use_cudnn for layer in recurrent} == {False}
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert {layer.use_cudnn for layer in recurrent} == {"auto"}
