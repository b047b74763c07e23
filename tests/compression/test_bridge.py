"""The bridge to tf_keras: every model goes there, is pruned and clustered, and comes back."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import zoo
from compression import bridge, masks
from compression.errors import BridgeMismatch, NotApplicable
from compression.subject import Step, Subject
from tests.zoo.test_models import SMALL, TABLE, examples, vocabulary_size
from zoo.datasets import Dataset, Split, Task

COUNT = 16  # examples
KINDS = {
    "probabilities": "classification",
    "probability": "binary",
    "values": "regression",
    "logits": "language_model",
}
# The masks that tfmot refuses somewhere, each with a model that has both kinds of layers.
PATTERNS = {
    "cnn_small": "block:2x2",
    "gru": "2:4",
    "resnet": "block:4x2",
    "simple_rnn": "block:2x2",
    "transformer_classifier": "2:4",
    "vit": "block:4x2",
}
CLUSTERED = ("bidirectional_lstm", "gru", "lenet5", "transformer_encoder", "vit")
EPOCHS = 0.5  # one step

# Work on many folders in one process: importing tfmot takes longer than the work. Eagerly, as
# tracing does too; the tests of each technique run it as it is.
SCRIPT = """
import sys, traceback
from pathlib import Path
from compression.tfmot import cluster, prune
import tensorflow as tf
tf.config.run_functions_eagerly(True)
for folder in sys.argv[1:]:
    try:
        (prune if Path(folder).name.startswith("prune") else cluster).run(Path(folder))
    except Exception:
        (Path(folder) / "failure.txt").write_text(traceback.format_exc())
"""


def subject_of(name: str) -> Subject:
    """A small model of that name with random weights and data that fit it."""
    arguments = SMALL.get(name) if name in ("resnet", "transformer_encoder") else TABLE[name][1]
    keras.utils.set_random_seed(0)
    model = zoo.build(name, **arguments)
    x, kind = examples(model, COUNT), KINDS[model.output_names[0]]
    kind = {"transformer_encoder": "masked_language_model", "transformer_translator": "translation"}
    kind = kind.get(name, KINDS[model.output_names[0]])
    rng, width = np.random.default_rng(1), model.outputs[0].shape[-1]
    steps = next(iter(x.values())).shape if isinstance(x, dict) else x.shape
    y = {
        "classification": rng.integers(0, width, COUNT).astype("int32"),
        "binary": rng.integers(0, 2, (COUNT, 1)).astype("float32"),
        "regression": rng.normal(size=(COUNT, width)).astype("float32"),
    }.get(kind)
    y = rng.integers(1, width, steps[:2]).astype("int32") if y is None else y
    split = Split(x, y)
    tokens = {"vocabulary_size": vocabulary_size(model)} if "logits" in model.output_names else {}
    data = Dataset(
        name="random", task=Task(kind, tuple("abcdefghij"[:width])), train=split, validation=split,
        test=split, preprocessing=None, licence="none needed", source="made up",
        model_arguments=tokens,
    )  # fmt: skip
    recipe = zoo.get(name).recipe.replace(batch_size=8)
    return Subject(model, name, arguments, data, recipe)


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def crossed(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], bridge.Crossing]:
    """(technique, model) → a crossing whose child is done."""
    root, found = tmp_path_factory.mktemp("bridge"), {}
    for name in zoo.list_models():
        subject = subject_of(name)
        targets, weights = masks.targets(subject.model, "*"), subject.model.weights
        axes = {
            p: masks.input_axis(weights[p].path, len(weights[p].shape))
            for mine in targets.values()
            for p in mine
        }
        pattern = PATTERNS.get(name, "unstructured")
        rest = {"epochs": EPOCHS, "learning_rate": 1e-3, "targets": targets}
        pruning = {
            "sparsities": dict.fromkeys(targets, 0.5), "schedule": "polynomial",
            "pattern": pattern, "axes": axes,
        }  # fmt: skip
        clustering = {"clusters": 6, "init": "linear"}
        for technique, options in (("prune", pruning), ("cluster", clustering)):
            if technique == "cluster" and name not in CLUSTERED:
                continue
            folder = root / f"{technique}-{name}"
            folder.mkdir()
            found[technique, name] = bridge.Crossing(folder, subject)
            found[technique, name].write({**options, **rest})
    found["tampered", ""] = tampered(root / "prune-tampered", found["prune", "softmax_regression"])
    folders = [str(crossing.folder) for crossing in found.values()]
    subprocess.run([sys.executable, "-c", SCRIPT, *folders], check=True, capture_output=True)
    return found


def tampered(folder: Path, crossing: bridge.Crossing) -> bridge.Crossing:
    """The same crossing with other weights than the outputs were computed with."""
    shutil.copytree(crossing.folder, folder)
    weights = dict(np.load(folder / "weights.npz"))
    weights["0"] += np.arange(weights["0"].shape[1], dtype="float32")
    np.savez(folder / "weights.npz", **weights)
    return bridge.Crossing(folder, crossing.subject)


def answer(crossing: bridge.Crossing) -> dict[str, Any]:
    failure = crossing.folder / "failure.txt"
    assert not failure.exists(), failure.read_text()
    return json.loads((crossing.folder / "answer.json").read_text())


@pytest.mark.parametrize("name", zoo.list_models())
def test_every_model_is_pruned_and_comes_back(crossed: dict, name: str):
    crossing = crossed["prune", name]
    refused, model = answer(crossing)["refused"], crossing.trained()
    assert isinstance(model, keras.Model)
    pattern = masks.parse(PATTERNS.get(name, "unstructured"))
    for position in (p for mine in masks.with_matrices(model).values() for p in mine):
        variable = model.weights[position]
        weight, path = np.asarray(variable), variable.path
        axis = masks.input_axis(path, weight.ndim)
        if pattern.two_of_four:
            assert masks.keeps_two_of_four(weight, axis), path
        elif pattern.block == (1, 1):
            assert (weight == 0).mean() == pytest.approx(0.5, abs=0.51 / weight.size), path
        else:
            assert 0.2 <= (weight == 0).mean() <= 0.8, path
        assert not np.signbit(weight[weight == 0]).any()
    moved = [
        not np.array_equal(new, old)
        for new, old in zip(model.get_weights(), crossing.subject.model.get_weights(), strict=True)
    ]
    assert all(moved[p] for mine in masks.with_matrices(model).values() for p in mine)
    wanted = {
        "bidirectional_lstm": {"both_ways"},
        "causal_lm": {"embedding"},
        "cnn_small": {"conv"},
        "gru": {"both_ways"},
        "resnet": {layer.name for layer in model.layers if "conv" in layer.name},
        "simple_rnn": {"rnn"},
        "transformer_classifier": {"block_1_attention"},
        "transformer_encoder": {"embedding"},
        "transformer_translator": {"source_embedding", "target_embedding"},
        "vit": {"patches", "block_1_attention"},
    }
    assert set(refused) == wanted.get(name, set())


@pytest.mark.parametrize("name", CLUSTERED)
def test_every_kind_of_layer_is_clustered_and_comes_back(crossed: dict, name: str):
    crossing = crossed["cluster", name]
    answer(crossing)
    model = crossing.trained()
    for position in (p for mine in masks.with_matrices(model).values() for p in mine):
        variable = model.weights[position]
        assert len(np.unique(np.asarray(variable))) <= 6, variable.path


def test_no_model_is_changed_by_its_crossings(crossed: dict):
    for (technique, _), crossing in crossed.items():
        if technique == "tampered":
            continue
        before = bridge.listed_arrays(crossing.folder / "weights.npz")
        for ours, theirs in zip(crossing.subject.model.get_weights(), before, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_outputs_that_differ_are_an_error_that_says_by_how_much():
    one = [np.zeros((2, 3), "float32")]
    assert bridge.compare([one[0] + 5e-6], one, "out") == pytest.approx(5e-6)
    with pytest.raises(BridgeMismatch, match=r"differ by 0.02 after the hop out and back"):
        bridge.compare([one[0] + 0.02], one, "out and back")
    with pytest.raises(BridgeMismatch, match="nan"):
        bridge.compare([one[0] * np.nan], one, "out")
    large = [one[0] + 1000]  # of logits the rounding grows with them
    bridge.compare([large[0] + 5e-3], large, "out")


def test_a_mismatch_in_the_child_is_the_same_error_here(crossed: dict):
    with pytest.raises(BridgeMismatch, match="from Keras 3 to tf_keras"):
        crossed["tampered", ""].raise_reported()
    crossed["prune", "softmax_regression"].raise_reported()  # has none


def test_a_model_that_no_builder_makes_has_no_twin():
    subject = subject_of("dense")
    changed = dataclasses.replace(subject.then(Step("factorize")), rebuildable=False)
    with pytest.raises(NotApplicable, match="put qat before that"):
        bridge.check(changed, "qat")
    bridge.check(subject, "qat")


def test_a_model_of_other_arguments_is_refused():
    subject = dataclasses.replace(subject_of("dense"), arguments={"units": (3,)})
    with pytest.raises(NotApplicable, match="give the arguments"):
        bridge.check_model(subject)


def test_a_tf_keras_model_is_refused():
    import tf_keras

    subject = subject_of("softmax_regression")
    twin = zoo.build("softmax_regression", keras=tf_keras, **subject.arguments)
    with pytest.raises(NotApplicable, match="not a model of Keras 3"):
        bridge.check_model(dataclasses.replace(subject, model=twin))


def test_masks_find_their_variables_in_a_copy():
    model = subject_of("gru").model
    copy = bridge.copied(model)
    assert [v.path for v in copy.weights] != [v.path for v in model.weights]
    found = bridge.rekeyed({v.path: i for i, v in enumerate(model.weights)}, model, copy)
    assert found == {v.path: i for i, v in enumerate(copy.weights)}


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_losses_are_those_of_the_zoo(smoothing: float):
    import tensorflow as tf

    from compression.tfmot.losses import loss_for
    from zoo.training.losses import ClassCrossEntropy, TokenCrossEntropy

    rng = np.random.default_rng(0)
    x = tf.constant(rng.normal(size=(4, 6, 5)), "float32")
    tokens = tf.constant(rng.integers(0, 5, (4, 6)), "int32")
    for count in (None, 4.5):
        wanted = TokenCrossEntropy(smoothing, count)(tokens, x)
        found = loss_for("translation", smoothing, count)(tokens, x)
        np.testing.assert_allclose(found, wanted, rtol=1e-5)
    outputs, classes = tf.nn.softmax(x[:, 0]), tokens[:, 0]
    wanted = ClassCrossEntropy(smoothing)(classes, outputs)
    found = tf.reduce_mean(loss_for("classification", smoothing)(classes, outputs))
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    right = tf.constant(rng.integers(0, 2, (4, 1)), "float32")
    wanted = keras.losses.BinaryCrossentropy(label_smoothing=smoothing)(right, outputs[:, :1])
    found = loss_for("binary", smoothing)(right, outputs[:, :1])
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_the_bridge_leaves_this_process_alone():
    script = (
        "import sys\n"
        "from compression import bridge, clustering, pruning, qat\n"
        "assert 'tensorflow' not in sys.modules and 'keras' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=Path(bridge.__file__).parents[1])
