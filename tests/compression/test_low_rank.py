"""Two thin layers for a large one: equality at full rank, budgets, what is left alone."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np
import pytest

import zoo
from compression import low_rank
from compression.errors import NotApplicable
from compression.factors import approximate
from compression.low_rank import factorize, factorized
from compression.subject import Subject
from tests.compression.shrinking import random_model
from tests.zoo.test_models import examples
from tests.zoo.training.tiny import images, texts
from zoo.datasets import Dataset, Split, Task
from zoo.errors import InvalidOption, ShapeError, UnknownName
from zoo.recipe import Recipe

CNN = {"filters": (6, 8), "dense_units": 24}


@pytest.fixture(scope="module")
def subject() -> Subject:
    """A convolutional network of a few epochs."""
    data = images()
    keras.utils.set_random_seed(0)
    model = zoo.build("cnn", **CNN, **data.model_arguments)
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    model.fit(data.train.x, data.train.y, epochs=15, batch_size=16, verbose=0)
    arguments = {**CNN, **data.model_arguments}
    recipe = Recipe(dataset="mnist", epochs=4, batch_size=16)
    return Subject.of(model, builder="cnn", arguments=arguments, dataset=data, recipe=recipe)


FULL = {
    "cnn": ({"input_shape": (14, 13, 2), "filters": (6, 5)}, ["conv_1", "conv_2", "hidden"]),
    "bidirectional_lstm": ({"vocabulary_size": 20, "max_length": 8, "width": 6, "units": 4},
                           ["embedding", "probabilities"]),
    "vit": ({"input_shape": (8, 8, 1), "patch_size": 4, "width": 12, "num_blocks": 1},
            ["patches", "block_1_inner", "block_1_outer", "probabilities"]),
    "resnet": ({"input_shape": (8, 8, 1), "depth": 8}, ["stem_conv", "stage_2_block_1_1_conv"]),
    "transformer_encoder": (
        {"vocabulary_size": 20, "max_length": 12, "width": 8, "num_heads": 2, "feed_forward": 6,
         "shared_layers": True, "head": "pooler"},
        ["segment", "block_inner", "pooled"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("builder", FULL)
def test_at_full_rank_the_answers_are_the_same(builder: str) -> None:
    arguments, names = FULL[builder]
    model = random_model(builder, arguments)
    found = {}
    for name in names:
        weight = model.get_layer(name).weights[0].numpy()
        found[name] = approximate(weight.reshape(-1, weight.shape[-1]), 0.0)
    result = factorized(model, found)
    x = examples(model)
    for one, other in zip(answers(model, x), answers(result, x), strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-5)
    assert [t.name for t in result.inputs] == [t.name for t in model.inputs]
    assert result.output_names == model.output_names
    layers = {layer.name for layer in result.layers}
    for name in names:
        pair = f"{name}_projection" if name in ("embedding", "segment") else f"{name}_low_rank"
        assert {name, pair} <= layers
    again = keras.Model.from_config(result.get_config())
    again.set_weights(result.get_weights())
    for one, other in zip(answers(result, x), answers(again, x), strict=True):
        np.testing.assert_array_equal(one, other)


def answers(model: keras.Model, x: Any) -> list[np.ndarray]:
    return [np.asarray(part) for part in keras.tree.flatten(model(x, training=False))]


@pytest.mark.parametrize("error", [0.01, 0.2, 0.7])
def test_the_rank_is_the_lowest_within_the_error(error: float) -> None:
    matrix = np.random.default_rng(0).normal(size=(30, 20)) @ np.diag(0.8 ** np.arange(20))
    factors = approximate(matrix, error)
    distance = np.linalg.norm(matrix - factors.first @ factors.second) / np.linalg.norm(matrix)
    assert distance <= error + 1e-6
    assert factors.error == pytest.approx(distance, abs=1e-5)
    left, values, right = np.linalg.svd(matrix)
    less = factors.rank - 1
    best = left[:, :less] * values[:less] @ right[:less]
    assert np.linalg.norm(matrix - best) / np.linalg.norm(matrix) > error


def test_weighing_by_inputs_spends_the_rank_where_inputs_are() -> None:
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(16, 12))
    x = rng.normal(size=(500, 4)) @ rng.normal(size=(4, 16))  # in four directions only
    moment = x.T @ x / len(x)
    values, vectors = np.linalg.eigh(moment + 1e-9 * np.eye(16))
    root = (vectors * np.sqrt(values)) @ vectors.T
    factors = approximate(matrix, 0.001, root)
    assert factors.rank == 4
    answer = x @ factors.first @ factors.second
    np.testing.assert_allclose(answer, x @ matrix, atol=0.01 * np.abs(x @ matrix).max())
    assert approximate(matrix, 0.001).rank == 12


@pytest.mark.parametrize("weighting", ["inputs", "none"])
def test_the_budget_holds_in_the_model(subject: Subject, weighting: str) -> None:
    before = subject.model.get_weights()
    result = factorize(subject, error=0.4, weighting=weighting, epochs=0)
    step = result.steps[-1]
    assert step.technique == "factorize"
    assert len(step.facts["layers"]) > 0
    assert not result.rebuildable
    assert result.model.count_params() == step.facts["parameters"][1] < step.facts["parameters"][0]
    for name, fact in step.facts["layers"].items():
        old, new = subject.model.get_layer(name), result.model.get_layer(name)
        first = result.model.get_layer(f"{name}_low_rank").kernel.numpy()
        kernel = old.kernel.numpy()
        flat = kernel.reshape(-1, kernel.shape[-1])
        product = first.reshape(-1, first.shape[-1]) @ new.kernel.numpy().reshape(fact["rank"], -1)
        assert fact["error"] <= 0.4
        assert fact["weights"][1] == first.size + new.kernel.numpy().size < fact["weights"][0]
        x = flat, product
        if weighting == "inputs":
            given = keras.Model(subject.model.inputs, old.input)
            seen = given.predict(subject.dataset.train.x, verbose=0)
            x = (linear(seen, matrix.reshape(kernel.shape)) for matrix in (flat, product))
        wide, thin = x
        distance = np.linalg.norm(wide - thin) / np.linalg.norm(wide)
        assert distance <= 0.4 * 1.05  # training examples beyond those it was weighed with
    for one, other in zip(before, subject.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def linear(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """A layer's answer without bias and activation."""
    if kernel.ndim == 2:
        return x @ kernel
    return keras.ops.convert_to_numpy(keras.ops.conv(x, kernel.astype("float32"), padding="valid"))


def test_fine_tuning_mends_the_model_and_masks_are_kept(subject: Subject) -> None:
    mask = subject.model.get_layer("conv_1").kernel.numpy() > 0
    masked = Subject.of(
        subject,
        masks={"conv_1/kernel": mask, "hidden/kernel": np.ones((8, 24), bool)},
        clusters={"conv_1/kernel": 16},
    )
    raw = factorize(masked, error=0.5, layers=["hidden"], epochs=0)
    tuned = factorize(masked, error=0.5, layers=["hidden"], epochs=3, learning_rate=3e-3)
    assert set(tuned.masks) == {"conv_1/kernel"}
    assert raw.clusters == {"conv_1/kernel": 16}
    assert tuned.clusters == {}
    assert not tuned.model.get_layer("conv_1").kernel.numpy()[~mask].any()
    assert loss(tuned) < loss(raw)
    assert tuned.steps[-1].options["epochs"] == 3


def loss(subject: Subject) -> float:
    chosen = subject.model.predict(subject.dataset.train.x, verbose=0)
    return -np.log(chosen[np.arange(len(chosen)), subject.dataset.train.y] + 1e-9).mean()


def test_an_embedding_spends_its_rank_on_the_tokens_that_occur() -> None:
    data = texts()
    arguments = {**data.model_arguments, "width": 12, "units": 4}
    model = random_model("bidirectional_lstm", arguments)
    table = model.get_layer("embedding").embeddings
    value = table.numpy().copy()
    value[5:] *= 20  # large rows of tokens that the examples below never have
    table.assign(value)
    few = Split(np.minimum(data.train.x, 4), data.train.y)
    data = dataclasses.replace(data, train=few)
    subject = Subject.of(model, builder="bidirectional_lstm", arguments=arguments, dataset=data)
    result = factorize(subject, error=0.3, layers=["embedding"], epochs=0)
    new = result.model.get_layer("embedding").embeddings.numpy() @ (
        result.model.get_layer("embedding_projection").kernel.numpy()
    )
    used = np.unique(few.x)
    assert np.linalg.norm((new - value)[used]) < 0.3 * np.linalg.norm(value[used])
    assert np.linalg.norm(new - value) > 0.3 * np.linalg.norm(value)


def test_what_is_left_alone_says_why(subject: Subject) -> None:
    arguments = {"vocabulary_size": 40, "max_length": 8, "width": 16, "num_heads": 2}
    cases = {
        "transformer_classifier": {
            "block_1_attention": "one tensor for all heads",
            "probabilities": "saves no weights",
        },
        "causal_lm": {"embedding": "also gives the logits", "block_1_inner": "by its name"},
        "bidirectional_lstm": {"both_ways": "at every step"},
    }
    for builder, reasons in cases.items():
        known = zoo.get(builder).accepted(arguments)
        model = random_model(builder, known)
        given = {"builder": builder, "arguments": known, "dataset": kind(subject, builder)}
        _, skipped = low_rank._factors(Subject.of(model, **given), 0.1, ["*"], "none")
        for name, reason in reasons.items():
            assert reason in skipped[name]


def kind(subject: Subject, builder: str) -> Dataset:
    """A data set of the builder's kind of task; its examples are not looked at."""
    name = "language_model" if builder == "causal_lm" else "classification"
    return dataclasses.replace(subject.dataset, task=Task(name))


def test_bad_options(subject: Subject) -> None:
    for error in (0, 1, -0.1, 2.0, "much"):
        with pytest.raises(InvalidOption, match="error above 0 and below 1"):
            factorize(subject, error=error)
    with pytest.raises(InvalidOption, match="inputs or none"):
        factorize(subject, weighting="outputs")
    with pytest.raises(InvalidOption, match="0 or more epochs"):
        factorize(subject, epochs=-1)
    with pytest.raises(InvalidOption, match="learning_rate above 0"):
        factorize(subject, learning_rate=0.0)
    with pytest.raises(UnknownName, match="did you mean hidden"):
        factorize(subject, layers=["hiden"])


def test_nothing_to_gain_names_what_can_be_done(subject: Subject) -> None:
    with pytest.raises(NotApplicable, match="prune, shrink or quantize"):
        factorize(subject, error=1e-6, weighting="none")
    lstm = zoo.build("lstm", units=1, dense_units=1)
    small = Subject.of(lstm, builder="lstm", dataset=subject.dataset)
    with pytest.raises(NotApplicable, match="No layer of lstm"):
        factorize(small, error=0.5, weighting="none", epochs=0)
    with pytest.raises(ShapeError, match="lstm"):  # its data set is one of images
        factorize(small, error=0.5)
