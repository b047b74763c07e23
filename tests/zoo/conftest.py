"""A store with a translator and a language model, untrained, for tests of the whole package."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

import zoo
from zoo.datasets import Dataset, Split, SubwordPreprocessing, Task
from zoo.datasets.subwords import learn_pieces
from zoo.export import export
from zoo.export.options import Decoding

TEXTS = ["Turn on the light", "", "Turn off the heater", "Licht 打开 🙂"]
ANSWERS = ["Enciende la luz", "", "Apaga el calefactor", "Luz"]
LONGEST = 24  # tokens


def dataset(kind: str) -> Dataset:
    """Four texts of each split, for a translation or a language model."""
    preprocessing = SubwordPreprocessing(learn_pieces([*TEXTS, *ANSWERS] * 3, 40), LONGEST)
    graph = preprocessing.prepare()
    source, y = (graph(texts).numpy() for texts in (TEXTS, ANSWERS))
    if kind == "language_model":
        split = Split(source, np.where(source > 0, source, 0))
    else:
        given = np.pad(y[:, :-1] * (y[:, :-1] != 2), ((0, 0), (1, 0)), constant_values=1)
        split = Split({"source": source, "target": given}, y)
    return Dataset(
        name=f"few_{kind}",
        task=Task(kind),
        train=split,
        validation=split,
        test=split,
        preprocessing=preprocessing,
        licence="CC0-1.0",
        source="made by the tests",
        model_arguments={
            "vocabulary_size": preprocessing.vocabulary_size,
            "max_length": preprocessing.max_length,
        },
        originals=dict.fromkeys(("train", "validation", "test"), TEXTS),
        references=dict.fromkeys(("train", "validation", "test"), ANSWERS),
    )


def small(name: str, data: Dataset) -> keras.Model:
    """A model of the data set whose random weights say something different about each text."""
    sizes = {"width": 16, "num_heads": 2, "feed_forward": 16}
    blocks = {
        "causal_lm": {"num_blocks": 1},
        "transformer_translator": {"num_encoder_blocks": 1, "num_decoder_blocks": 1},
    }
    model = zoo.build(name, **sizes, **blocks[name], **data.model_arguments)
    rng = np.random.default_rng(0)
    for weight in model.weights:
        drawn = rng.normal(scale=0.5, size=weight.shape)
        weight.assign(drawn + 1 if "gamma" in weight.path else drawn)
    return model


@pytest.fixture(scope="session")
def few_translations() -> Dataset:
    return dataset("translation")


@pytest.fixture(scope="session")
def few_texts() -> Dataset:
    return dataset("language_model")


@pytest.fixture(scope="session")
def small_translator(few_translations: Dataset) -> keras.Model:
    return small("transformer_translator", few_translations)


@pytest.fixture(scope="session")
def small_language_model(few_texts: Dataset) -> keras.Model:
    return small("causal_lm", few_texts)


@pytest.fixture(scope="session")
def writers(
    tmp_path_factory: pytest.TempPathFactory,
    few_translations: Dataset,
    few_texts: Dataset,
    small_translator: keras.Model,
    small_language_model: keras.Model,
) -> Path:
    """Store with `translator` (1 greedy, 2 with a beam of 3) and `writer`."""
    store = tmp_path_factory.mktemp("writers")
    for beam in (1, 3):
        export(
            small_translator, store, "translator", dataset=few_translations,
            warmup_batch_sizes=(1, 4), decoding=Decoding(beam=beam),
        )  # fmt: skip
    export(
        small_language_model, store, "writer", dataset=few_texts,
        warmup_batch_sizes=(2,), decoding=Decoding(new_tokens=8),
    )  # fmt: skip
    return store
