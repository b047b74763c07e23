"""Small models and data sets with every kind of real preprocessing."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from tensorflow.core.protobuf import saved_model_pb2

from zoo.datasets import (
    Dataset,
    ImagePreprocessing,
    NoPreprocessing,
    Split,
    Standardization,
    Task,
    TextPreprocessing,
)

layers = keras.layers


def graph_ops(version: Path) -> set[str]:
    """Types of every op in a SavedModel, those inside functions included."""
    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString((version / "saved_model.pb").read_bytes())
    (meta_graph,) = saved.meta_graphs
    graph = meta_graph.graph_def
    nodes = [node for function in graph.library.function for node in function.node_def]
    return {node.op for node in (*graph.node, *nodes)}


def dataset(name, task, x, y, preprocessing, originals=None) -> Dataset:
    third = len(x) // 3
    splits = [Split(x[start : start + third], y[start : start + third]) for start in (0, third)]
    return Dataset(
        name=name,
        task=task,
        train=splits[0],
        validation=splits[1],
        test=Split(x[2 * third :], y[2 * third :]),
        preprocessing=preprocessing,
        licence="CC0-1.0",
        source="made by the tests",
        model_arguments={},
        originals={} if originals is None else {"validation": originals[third : 2 * third]},
    )


def functional(inputs, outputs, name) -> keras.Model:
    model = keras.Model(inputs, outputs, name=name)
    numbers = np.random.default_rng(0)  # biases are no zeros, batch statistics no ones
    model.set_weights([w + numbers.uniform(0, 0.3, w.shape) for w in model.get_weights()])
    return model


@pytest.fixture(scope="session")
def images() -> Dataset:
    """18 grey images of 8 × 8 pixels, three classes."""
    preprocessing = ImagePreprocessing(8, 8, 1)
    pixels = np.random.default_rng(1).integers(0, 256, (18, 8, 8, 1), np.uint8)
    task = Task("classification", ("zero", "un", "zwölf"))
    y = np.arange(18, dtype=np.int32) % 3
    return dataset("images", task, preprocessing.from_pixels(pixels), y, preprocessing)


@pytest.fixture(scope="session")
def texts() -> Dataset:
    """Six texts of a few words, two classes."""
    preprocessing = TextPreprocessing(("oil", "price", "the", "étude"), max_length=5)
    originals = ["Oil price!", "the étude", "", "oil the zebra", "PRICE", "a b c d e f g h"]
    x = preprocessing.graph(originals).numpy()
    y = np.arange(6, dtype=np.int32) % 2
    task = Task("classification", ("crude", "music"))
    return dataset("texts", task, x, y, preprocessing, originals)


@pytest.fixture(scope="session")
def series() -> Dataset:
    """Sequences of 2 to 7 steps with two features, padded to 7; four classes."""
    numbers = np.random.default_rng(2)
    originals = [numbers.normal(3, 2, (2 + i % 6, 2)).astype(np.float32) for i in range(18)]
    padded = np.stack([np.pad(x, ((0, 7 - len(x)), (0, 0))) for x in originals])
    preprocessing = Standardization.fit(padded, steps=7)
    task = Task("classification", tuple("abcd"))
    y = np.arange(18, dtype=np.int32) % 4
    return dataset("series", task, preprocessing.from_features(padded), y, preprocessing, originals)


@pytest.fixture(scope="session")
def table() -> Dataset:
    """A regression with three features and two targets."""
    features = np.random.default_rng(3).normal(10, 5, (30, 3)).astype(np.float32)
    preprocessing = Standardization.fit(features)
    x = preprocessing.from_features(features)
    return dataset("table", Task("regression"), x, x[:, :2], preprocessing, features)


@pytest.fixture(scope="session")
def coins() -> Dataset:
    """A binary task on four plain features."""
    x = np.random.default_rng(4).normal(size=(30, 4)).astype(np.float32)
    y = (x[:, :1] > 0).astype(np.float32)
    return dataset("coins", Task("binary", ("tails", "heads")), x, y, NoPreprocessing((4,)))


@pytest.fixture(scope="session")
def image_model() -> keras.Model:
    image = keras.Input((8, 8, 1), name="image")
    x = layers.Conv2D(4, 3, activation="relu")(image)
    x = layers.BatchNormalization()(x)
    x = layers.Dropout(0.5)(layers.Flatten()(x))
    x = layers.Dense(3, activation="softmax", name="probabilities")(x)
    return functional(image, x, "image_model")


@pytest.fixture(scope="session")
def text_model() -> keras.Model:
    tokens = keras.Input((5,), dtype="int32", name="tokens")
    x = layers.Embedding(6, 8)(tokens)
    x = layers.MultiHeadAttention(2, 4)(x, x)
    x = layers.GlobalAveragePooling1D()(x)
    x = layers.Dense(2, activation="softmax", name="probabilities")(x)
    return functional(tokens, x, "text_model")


@pytest.fixture(scope="session")
def series_model() -> keras.Model:
    sequence = keras.Input((7, 2), name="sequence")
    x = layers.Bidirectional(layers.GRU(3))(layers.Masking()(sequence))
    x = layers.Dense(4, activation="softmax", name="probabilities")(x)
    return functional(sequence, x, "series_model")


@pytest.fixture(scope="session")
def table_model() -> keras.Model:
    features = keras.Input((3,), name="features")
    x = layers.Dense(5, activation="relu")(features)
    return functional(features, layers.Dense(2, name="values")(x), "table_model")


@pytest.fixture(scope="session")
def coin_model() -> keras.Model:
    features = keras.Input((4,), name="features")
    x = layers.Dense(1, activation="sigmoid", name="probability")(features)
    return functional(features, x, "coin_model")


@pytest.fixture(scope="session")
def wide_model() -> keras.Model:
    """Two inputs of two types, two outputs, one of them from an integer input alone."""
    picture = keras.Input((4, 4, 3), name="picture")
    words = keras.Input((None,), dtype="int32", name="words")
    seen = layers.Flatten()(picture)
    read = layers.GlobalMaxPooling1D()(layers.Embedding(10, 6)(words))
    both = layers.Concatenate()([seen, read])
    topic = layers.Dense(5, activation="softmax", name="topic")(both)
    score = layers.Dense(1, name="score")(read)
    return functional([words, picture], [topic, score], "wide_model")
