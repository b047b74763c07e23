"""Augmentation changes training batches, by their keys, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

import zoo
from zoo import datasets
from zoo.cli import main
from zoo.errors import InvalidOption, TrainingInterrupted, UnknownName
from zoo.export import export
from zoo.training import augmentation, callbacks, resume, train
from zoo.training.augmentation import POLICIES, make_policy
from zoo.training.pipeline import training_batches
from zoo.training.runs import Run

from . import tiny

DATA = {"images": tiny.images(), "tokens": tiny.texts()}
MODELS = {
    "images": ("cnn_small", {"filters": 2, "dropout": 0.2}),
    "tokens": (
        "transformer_classifier",
        {"width": 8, "num_heads": 2, "num_blocks": 1, "feed_forward": 8},
    ),
}
SOFT = ("mixup", "cutmix")  # these mix targets, too

every_policy = pytest.mark.parametrize("name", POLICIES)


def data(policy: str) -> datasets.Dataset:
    return DATA[POLICIES[policy].of]


@pytest.fixture
def offered(monkeypatch: pytest.MonkeyPatch) -> Callable[[datasets.Dataset], None]:
    """Makes a data set the one that every recipe's name stands for."""

    def offer(dataset: datasets.Dataset) -> None:
        monkeypatch.setattr(datasets, "load", lambda name: dataset)

    return offer


def trained(policy: str, runs: Path, epochs: int = 2) -> Run:
    name, arguments = MODELS[POLICIES[policy].of]
    recipe = zoo.get(name).recipe.replace(epochs=epochs, batch_size=32, augment=policy)
    return train(
        name,
        recipe=recipe,
        arguments=arguments,
        runs=runs,
        seed=4,
        console=Console(file=StringIO()),
    )


def batches(
    dataset: datasets.Dataset, policy: str, seed: int = 3
) -> Callable[[int], list[tuple[np.ndarray, np.ndarray]]]:
    """The training batches of an epoch."""
    number = tf.Variable(0, dtype=tf.int64)
    transform = make_policy(policy, dataset)
    pipeline = training_batches(dataset.train, 32, seed, number, transform=transform)

    def of_epoch(epoch: int) -> list[tuple[np.ndarray, np.ndarray]]:
        number.assign(epoch)
        return [(x.numpy(), y.numpy()) for x, y in pipeline]

    return of_epoch


def equal(ours: list, theirs: list) -> bool:
    return all(
        np.array_equal(a, b)
        for pair, other in zip(ours, theirs, strict=True)
        for a, b in zip(pair, other, strict=True)
    )


@every_policy
def test_batches_change_by_seed_and_epoch_alone(name: str) -> None:
    plain, changed = batches(data(name), "none"), batches(data(name), name)
    first = changed(0)
    assert not equal([x for x, _ in first], [x for x, _ in plain(0)])
    assert not equal([x for x, _ in first], [x for x, _ in changed(1)])
    assert equal(first, changed(0))
    assert equal(first, batches(data(name), name)(0))
    # Whatever was drawn before does not matter, as after a resumption.
    assert equal(batches(data(name), name)(1), changed(1))
    for (x, y), (before, target) in zip(first, plain(0), strict=True):
        assert (x.shape, x.dtype) == (before.shape, before.dtype)
        if name not in SOFT:
            np.testing.assert_array_equal(y, target)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", [name for name in POLICIES if POLICIES[name].of == "images"])
def test_images_stay_images(name: str, channels: int) -> None:
    changed = batches(tiny.images(channels=channels), name)(0)
    for x, _ in changed:
        assert x.dtype == np.float32
        assert x.min() >= 0
        assert x.max() <= 1
        assert x.std(axis=(1, 2, 3)).min() > 0


@pytest.mark.parametrize("name", SOFT)
def test_targets_are_mixed_as_images_are(name: str) -> None:
    """Images of one value a class show in what shares they were mixed."""
    labels = np.arange(32, dtype="int32") % 3
    x = np.zeros((32, 12, 12, 1), "float32") + labels[:, None, None, None] / 2
    transform = make_policy(name, DATA["images"])
    mixed, targets = transform(tf.constant(x), tf.constant(labels), tf.constant([1, 2], tf.int64))
    np.testing.assert_allclose(targets.numpy().sum(axis=1), 1, atol=1e-6)
    assert (targets.numpy() >= 0).all()
    mean = mixed.numpy().mean(axis=(1, 2, 3))
    # CutMix counts the area of a patch, whose border need not be at a pixel's.
    tolerance = 1e-5 if name == "mixup" else 0.15
    np.testing.assert_allclose(targets.numpy() @ [0, 0.5, 1], mean, atol=tolerance)
    assert np.ptp(np.max(targets, axis=1)) > 0.1


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**40), st.integers(0, 2**40))
def test_token_dropout_keeps_padding_and_other_words(seed: int, step: int) -> None:
    tokens = DATA["tokens"].train.x
    transform = make_policy("token_dropout", DATA["tokens"])
    dropped, y = transform(tf.constant(tokens), "targets", tf.constant([seed, step], tf.int64))
    dropped = dropped.numpy()
    assert y == "targets"
    np.testing.assert_array_equal(dropped == 0, tokens == 0)
    away = dropped != tokens
    assert (dropped[away] == 1).all()
    assert 0.02 < away.sum() / (tokens != 0).sum() < 0.25


def test_a_shift_is_a_shift() -> None:
    """A pixel in the middle goes up to 8 % of the side, and not out of the picture."""
    x = np.zeros((64, 25, 25, 1), "float32")
    x[:, 12, 12] = 1
    transform = make_policy("shift", tiny.images(side=25))
    shifted, _ = transform(tf.constant(x), None, tf.constant([0, 0], tf.int64))
    places = np.argwhere(shifted.numpy()[..., 0] == 1)
    assert len(places) == 64
    assert set(places[:, 1] - 12) == set(places[:, 2] - 12) == {-2, -1, 0, 1, 2}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mixup", "token_dropout"])
def test_validation_and_test_data_are_never_changed(
    name: str, offered: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offered(data(name))
    seen = {}
    fit = keras.Model.fit

    def spy(model: keras.Model, batches: tf.data.Dataset, **options):
        seen["train"], seen["validation"] = batches, options["validation_data"]
        return fit(model, batches, **options)

    monkeypatch.setattr(keras.Model, "fit", spy)
    run = trained(name, tmp_path, epochs=1)
    assert run.info["recipe"]["augment"] == name
    x, y = (np.concatenate(part) for part in zip(*seen["validation"], strict=True))
    np.testing.assert_array_equal(x, data(name).validation.x)
    np.testing.assert_array_equal(y, data(name).validation.y)
    original = {row.tobytes() for row in data(name).train.x}
    rows = [row.tobytes() for x, _ in seen["train"] for row in x.numpy()]
    assert sum(row not in original for row in rows) > len(rows) / 4


@pytest.mark.slow
def test_a_resumed_run_ends_with_the_same_weights(
    offered: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offered(DATA["images"])
    whole = trained("cutmix", tmp_path / "whole")
    recorded = callbacks.Recorder.on_epoch_end

    def cut(recorder: callbacks.Recorder, epoch: int, logs: dict | None = None) -> None:
        recorded(recorder, epoch, logs)
        if epoch == 0:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(callbacks.Recorder, "on_epoch_end", cut)
        with pytest.raises(TrainingInterrupted):
            trained("cutmix", tmp_path / "cut")
    (folder,) = (tmp_path / "cut").glob("*/*")
    resumed = resume(folder, console=Console(file=StringIO()))
    assert resumed.info["epochs"] == 2
    for mine, theirs in zip(
        resumed.load_model().get_weights(), whole.load_model().get_weights(), strict=True
    ):
        np.testing.assert_array_equal(mine, theirs)


def operations(graph: tf.compat.v1.GraphDef) -> Iterator[str]:
    yield from (node.op for node in graph.node)
    for function in graph.library.function:
        yield from (node.op for node in function.node_def)


def drawing(names: Iterator[str]) -> set[str]:
    """Operations that draw numbers or move images."""
    return {name for name in names if "Random" in name or "Projective" in name}


@pytest.mark.slow
def test_nothing_of_it_is_in_the_exported_graph(offered: Callable, tmp_path: Path) -> None:
    dataset = DATA["images"]
    offered(dataset)
    model = trained("affine", tmp_path / "runs", epochs=1).load_model()
    version = export(model, tmp_path / "store", "m", dataset=dataset, warmup_batch_sizes=())
    saved = SavedModel.FromString((version / "saved_model.pb").read_bytes())
    ops = [op for graph in saved.meta_graphs for op in operations(graph.graph_def)]
    assert "Conv2D" in ops
    assert not drawing(iter(ops))

    transform = tf.function(make_policy("affine", dataset))
    traced = transform.get_concrete_function(
        tf.TensorSpec((32, 12, 12, 1)),
        tf.TensorSpec((32,), tf.int32),
        tf.TensorSpec((2,), tf.int64),
    )
    assert drawing(operations(traced.graph.as_graph_def()))  # so it would have been found


@pytest.mark.parametrize(
    ("name", "dataset", "error", "words"),
    [
        ("cutmix", tiny.texts(), InvalidOption, "letters has none: choose none, token_dropout."),
        ("token_dropout", tiny.images(), InvalidOption, "choose none, shift, rotation"),
        ("mixupp", tiny.images(), UnknownName, "did you mean mixup or"),
    ],
)
def test_a_policy_that_does_not_fit_is_one_sentence(
    name: str, dataset: datasets.Dataset, error: type, words: str
) -> None:
    with pytest.raises(error) as raised:
        make_policy(name, dataset)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


def test_the_command_line_takes_and_refuses_policies(
    offered: Callable, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    offered(DATA["images"])
    command = ["train", "cnn_small", "--epochs", "1", "--batch-size", "32", "--json"]
    assert main([*command, "--augment", "mixup", "--runs", str(tmp_path)]) == 0
    run = Run.open(Path(json.loads(capsys.readouterr().out)["run"]))
    assert run.info["recipe"]["augment"] == "mixup"
    for policy, status in (("token_dropout", 2), ("mxup", 1)):
        refused = tmp_path / policy
        assert main([*command, "--augment", policy, "--runs", str(refused)]) == status
        assert capsys.readouterr().err.count("Error:") == 1
        assert not refused.exists()


def test_every_policy_is_named_in_the_help(capsys: pytest.CaptureFixture) -> None:
    assert main(["train", "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for name in [augmentation.NONE, *POLICIES]:
        assert name in shown
