"""Weights of one run as the beginning of another."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import keras
import numpy as np
import pytest

import zoo
from zoo import datasets
from zoo.cli import main
from zoo.datasets import Task
from zoo.errors import InvalidOption, RunError, ShapeError, StoreError
from zoo.export import export, read_card
from zoo.export.runs import export_run
from zoo.recipe import Recipe
from zoo.training import resume, train, transfer
from zoo.training.runs import Run

RECIPE = Recipe(dataset="digits", epochs=2, batch_size=64, learning_rate=0.05)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """softmax_regression on the digits: the smallest run there is."""
    return train("softmax_regression", recipe=RECIPE, runs=tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def version(source: Run) -> Path:
    return export_run(source, source.folder.parents[1] / "store")


def small_cnn(classes: int = 10) -> keras.Model:
    return zoo.build("cnn", num_classes=classes, filters=(4, 6), dense_units=8)


def as_source(model: keras.Model, classes: tuple[str, ...]) -> transfer.Source:
    weights = {layer.name: layer.get_weights() for layer in model.layers if layer.weights}
    return transfer.Source(Path("runs/cnn/1"), "cnn", "mnist", classes, weights)


def with_classes(*names: str):
    return dataclasses.replace(datasets.load("digits"), task=Task("classification", names))


def test_run_version_and_model_folder_hold_the_same(source: Run, version: Path) -> None:
    wanted = source.load_model().get_layer("probabilities").get_weights()
    for place in (source.folder, version, version.parent):
        found = transfer.read_source(place)
        assert (found.model, found.dataset) == ("softmax_regression", "digits")
        assert found.class_names == tuple("0123456789")
        for given, weight in zip(found.weights["probabilities"], wanted, strict=True):
            np.testing.assert_array_equal(given, weight)


def test_the_head_is_new_where_the_classes_differ() -> None:
    keras.utils.set_random_seed(1)
    trained, ten = small_cnn(), tuple("0123456789")
    model = small_cnn(3)
    before = model.get_layer("probabilities").get_weights()
    found = transfer.copy(model, "cnn", with_classes("a", "b", "c"), as_source(trained, ten))
    assert found == {"copied": ["conv_1", "conv_2", "hidden"], "new": ["probabilities"]}
    for name in found["copied"]:
        for old, new in zip(
            trained.get_layer(name).weights, model.get_layer(name).weights, strict=True
        ):
            np.testing.assert_array_equal(old, new)
    for old, new in zip(before, model.get_layer("probabilities").get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    # As many classes, but others: a new head, too; the same ones: all is copied.
    others = transfer.copy(small_cnn(), "cnn", with_classes(*"abcdefghij"), as_source(trained, ten))
    assert others["new"] == ["probabilities"]
    assert not transfer.copy(small_cnn(), "cnn", with_classes(*ten), as_source(trained, ten))["new"]


def test_frozen_layers_stay_bit_equal() -> None:
    """BatchNormalization too, whose statistics training would move."""
    keras.utils.set_random_seed(2)
    image = keras.Input((8, 8, 1), name="image")
    x = keras.layers.Conv2D(4, 3, name="conv_1")(image)
    x = keras.layers.BatchNormalization(name="norm_1")(x)
    x = keras.layers.Dropout(0.2, name="dropout_1")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    x = keras.layers.Dense(3, activation="softmax", name="probabilities")(x)
    model = keras.Model(image, x)
    assert transfer.freeze_layers(model, ["conv*", "norm_?"]) == ["conv_1", "norm_1"]
    before = {layer.name: layer.get_weights() for layer in model.layers}
    model.compile("adam", "sparse_categorical_crossentropy", jit_compile=False)
    numbers = np.random.default_rng(0)
    model.fit(numbers.random((32, 8, 8, 1)), numbers.integers(0, 3, 32), epochs=2, verbose=0)
    for name in ("conv_1", "norm_1"):
        for old, new in zip(before[name], model.get_layer(name).get_weights(), strict=True):
            np.testing.assert_array_equal(old, new)
    assert (before["probabilities"][0] != model.get_layer("probabilities").get_weights()[0]).any()


@pytest.mark.slow
def test_a_run_says_what_became_of_the_layers(
    source: Run, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """From the command line: table, run.json, metrics.json, model card, frozen weights."""
    runs = ["--runs", str(tmp_path), "--epochs", "1", "--batch-size", "16"]
    assert main(["train", "dense", "--dataset", "mnist_0_4", "--limit", "64", *runs]) == 0
    (first,) = (tmp_path / "dense").iterdir()
    capsys.readouterr()
    more = ["--from", str(first), "--freeze", "hidden*", "--limit", "32", "--dataset", "mnist_5_9"]
    assert main(["train", "dense", *more, *runs]) == 0
    said = capsys.readouterr().err
    for words in ("hidden_1", "copied, frozen", "50,240", "probabilities", "new"):
        assert words in said
    (second,) = set((tmp_path / "dense").iterdir()) - {first}
    run, old = Run.open(second), Run.open(first).load_model()
    assert run.info["limit"] == 32
    assert (
        run.info["transfer"]
        == run.metrics()["transfer"]
        == {
            "source": str(first),
            "freeze": ["hidden*"],
            "copied": ["hidden_1", "hidden_2"],
            "new": ["probabilities"],
            "frozen": ["hidden_1", "hidden_2"],
        }
    )
    new = run.load_model()
    for name in ("hidden_1", "hidden_2"):
        for a, b in zip(*(m.get_layer(name).get_weights() for m in (old, new)), strict=True):
            np.testing.assert_array_equal(a, b)
    card = read_card(export_run(run, tmp_path / "store", explain=False))
    assert card["training"]["transfer"] == run.info["transfer"]
    assert card["training"]["limit"] == 32


@pytest.mark.slow
def test_a_cut_off_run_goes_on_from_its_source(source: Run, tmp_path: Path) -> None:
    """After no epoch the source is read again, after one the checkpoint holds the weights."""

    def begun(runs: Path) -> Run:
        return train(
            "softmax_regression", recipe=RECIPE, source=source.folder, limit=300, runs=runs, seed=4
        )

    whole = begun(tmp_path / "whole")
    cut = begun(tmp_path / "cut")
    info = json.loads((cut.folder / "run.json").read_text())
    (cut.folder / "run.json").write_text(json.dumps({**info, "state": "interrupted", "epochs": 0}))
    again = resume(cut.folder)
    wanted, found = (run.load_model().get_weights() for run in (whole, again))
    for a, b in zip(wanted, found, strict=True):
        np.testing.assert_array_equal(a, b)
    assert again.metrics()["test"] == whole.metrics()["test"]


def test_limited_examples_are_stratified_and_seeded() -> None:
    data = datasets.load("digits")
    few = data.limited(50, 3)
    assert np.bincount(few.train.y).tolist() == [5] * 10
    assert (few.test, few.validation) == (data.test, data.validation)
    for index in range(50):
        np.testing.assert_array_equal(
            few.preprocessing.graph([few.raw("train", index)])[0], few.train.x[index]
        )
    np.testing.assert_array_equal(few.train.x, data.limited(50, 3).train.x)
    assert (few.train.x != data.limited(50, 4).train.x).any()
    assert len(datasets.load("diabetes").limited(7, 0).train) == 7
    for count in (0, len(data.train) + 1):
        with pytest.raises(InvalidOption, match="digits has"):
            data.limited(count, 0)


@pytest.mark.parametrize(
    ("patterns", "words"),
    [
        (["conv*", "zz*"], "'zz\\*' freezes no layer of cnn: choose from conv_1, conv_2, hidden"),
        (["flatten"], "freezes no layer"),
        (["*"], "every layer of cnn, so that nothing is left"),
    ],
)
def test_patterns_that_freeze_nothing_or_all(patterns: list[str], words: str) -> None:
    with pytest.raises(InvalidOption, match=words):
        transfer.freeze_layers(small_cnn(), patterns)


def test_sources_that_do_not_fit_are_one_line(source: Run, version: Path, tmp_path: Path) -> None:
    data, model = datasets.load("digits"), zoo.build("softmax_regression")
    with pytest.raises(RunError, match="neither a run folder nor a model or version in a store"):
        transfer.read_source(tmp_path)
    with pytest.raises(InvalidOption, match="holds a softmax_regression and not a cnn"):
        transfer.begin(small_cnn(), "cnn", data, source.folder, [])
    other = zoo.build("softmax_regression", input_shape=(9,))
    with pytest.raises(ShapeError, match="No layer of the softmax_regression"):
        transfer.begin(other, "softmax_regression", data, source.folder, [])
    plain = export(model, tmp_path, "plain", warmup_batch_sizes=())
    with pytest.raises(StoreError, match="names no registered model"):
        transfer.read_source(plain)
    (version.parent / "9").mkdir()
    card = json.loads((version / "model_card.json").read_text())
    (version.parent / "9" / "model_card.json").write_text(json.dumps(card))
    with pytest.raises(StoreError, match="cannot be read"):
        transfer.read_source(version.parent)


def test_freezing_needs_a_source(capsys: pytest.CaptureFixture) -> None:
    assert main(["train", "cnn", "--freeze", "conv*"]) == 2
    assert capsys.readouterr().err == (
        "Error: --freeze keeps what --from copies: say what to begin with.\n"
    )
