"""What every registered model must pass."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import zoo
from zoo.errors import ShapeError
from zoo.export import export, load

# Parameters with default arguments, then changed arguments with their parameters.
TABLE = {
    "bidirectional_lstm": (
        1_347_080,
        {"input_shape": (11, 3), "units": 4, "num_classes": 2, "dropout": 0.1},
        274,
    ),
    "causal_lm": (
        478_720,
        {
            "vocabulary_size": 50,
            "max_length": 16,
            "width": 8,
            "num_heads": 2,
            "feed_forward": 12,
            "num_blocks": 1,
            "dropout": 0.0,
        },
        1_076,
    ),
    "cnn": (225_034, {"input_shape": (32, 32, 3), "num_classes": 5, "filters": (8,)}, 231_397),
    "cnn_small": (
        54_410,
        {"input_shape": (12, 10, 1), "filters": 4, "num_classes": 3, "dropout": 0.2},
        283,
    ),
    "dense": (52_650, {"input_shape": (4, 4, 1), "units": (7,), "num_classes": 2}, 135),
    "gru": (4_713, {"bidirectional": True, "units": 8, "dropout": 0.1}, 1_209),
    "lenet5": (61_706, {"input_shape": (12, 14, 3), "num_classes": 3}, 15_331),
    "lstm": (74_881, {"input_shape": (10, 3), "units": 4, "dense_units": 5}, 159),
    "mlp_regressor": (193, {"input_shape": (3,), "num_outputs": 2, "units": 4}, 26),
    "resnet": (
        270_810,
        {"input_shape": (9, 12, 3), "num_classes": 5, "depth": 50},
        23_571_397,
    ),
    "simple_rnn": (1_737, {"input_shape": (7, 2), "units": 5, "num_classes": 4}, 64),
    "softmax_regression": (650, {"input_shape": (3,), "num_classes": 2}, 8),
    "transformer_classifier": (
        1_347_464,
        {"vocabulary_size": 50, "max_length": 16, "width": 8, "num_heads": 2, "num_blocks": 1},
        2_976,
    ),
    "transformer_encoder": (
        496_256,
        {
            "vocabulary_size": 50,
            "max_length": 20,
            "num_segments": 3,
            "width": 8,
            "num_heads": 2,
            "feed_forward": 16,
            "embedding_width": 6,
            "shared_layers": True,
            "position_offset": 2,
        },
        1_234,
    ),
    "transformer_translator": (
        1_449_984,
        {
            "vocabulary_size": 50,
            "max_length": 16,
            "width": 8,
            "num_heads": 2,
            "feed_forward": 12,
            "num_encoder_blocks": 1,
            "num_decoder_blocks": 1,
            "shared_embeddings": False,
        },
        2_568,
    ),
    "vit": (
        139_018,
        {
            "input_shape": (8, 12, 3),
            "patch_size": 4,
            "width": 8,
            "num_heads": 2,
            "num_blocks": 1,
            "dropout": 0.1,
        },
        3_066,
    ),
}
# Small enough for one training step and an export each, large enough to be the same architecture.
SMALL = {
    "bidirectional_lstm": {"vocabulary_size": 200, "max_length": 24, "num_classes": 3, "units": 8},
    "resnet": {"input_shape": (8, 8, 1), "num_classes": 3, "depth": 8},
    "transformer_classifier": {"vocabulary_size": 200, "max_length": 24, "num_classes": 3},
    "transformer_encoder": {"vocabulary_size": 50, "max_length": 24, "width": 16, "num_blocks": 1},
    "vit": {"input_shape": (8, 8, 1), "patch_size": 4, "width": 16, "num_blocks": 1},
}

every_model = pytest.mark.parametrize("name", zoo.list_models())


INPUTS = {"image", "features", "sequence", "tokens", "segments", "source", "target"}
OUTPUTS = {"probabilities", "probability", "values", "logits"}
STEPS = 12  # of an input whose length is free


def examples(model: keras.Model, count: int = 4, seed: int = 0) -> Any:
    """Inputs of the model's shape; sequences end in padding of different lengths."""
    rng = np.random.default_rng(seed)
    arrays = {tensor.name: _example(model, tensor, count, rng) for tensor in model.inputs}
    return arrays if len(arrays) > 1 else next(iter(arrays.values()))


def _example(model: keras.Model, tensor: Any, count: int, rng: np.random.Generator) -> np.ndarray:
    shape = (count, *(size or STEPS for size in tensor.shape[1:]))
    if tensor.name == "segments":
        return np.zeros(shape, "int32")
    if "int" in tensor.dtype:
        values = rng.integers(1, vocabulary_size(model), shape).astype("int32")
    else:
        values = rng.random(shape, dtype="float32")
    if tensor.name != "image":
        for row in range(count if len(shape) > 2 or "int" in tensor.dtype else 0):
            values[row, max(2, shape[1] - 3 * row) :] = 0
    return values


def vocabulary_size(model: keras.Model) -> int:
    """Token ids that the model's first embedding knows."""
    sizes = (
        getattr(layer, "input_dim", None) or getattr(layer, "vocabulary_size", None)
        for layer in model.layers
    )
    return next(size for size in sizes if size)


def first_rows(x: Any, rows: slice) -> Any:
    return {key: value[rows] for key, value in x.items()} if isinstance(x, dict) else x[rows]


def targets(model: keras.Model, x: Any, seed: int = 0) -> tuple[np.ndarray, Any]:
    """Random targets and the loss that goes with the model's output."""
    from zoo.training.losses import TokenCrossEntropy

    rng = np.random.default_rng(seed)
    width, kind = model.outputs[0].shape[-1], model.output_names[0]
    first = next(iter(x.values())) if isinstance(x, dict) else x
    count = len(first)
    if kind == "probabilities":
        return rng.integers(0, width, count), "sparse_categorical_crossentropy"
    if kind == "probability":
        return rng.integers(0, 2, (count, 1)).astype("float32"), "binary_crossentropy"
    if kind == "logits":
        return rng.integers(1, width, first.shape), TokenCrossEntropy()
    return rng.normal(size=(count, width)).astype("float32"), "mean_squared_error"


def test_the_table_names_every_model() -> None:
    assert sorted(TABLE) == zoo.list_models()


@every_model
def test_builds_from_defaults_with_named_tensors(name: str) -> None:
    model = zoo.build(name)
    assert isinstance(model, keras.Model)
    assert not model.compiled
    assert model.name == name
    assert {tensor.name for tensor in model.inputs} <= INPUTS
    assert model.output_names[0] in OUTPUTS
    assert model.count_params() == TABLE[name][0]


@every_model
def test_builds_from_changed_arguments(name: str) -> None:
    _, arguments, parameters = TABLE[name]
    assert zoo.build(name, **arguments).count_params() == parameters


@every_model
def test_docstring_says_input_output_errors_and_source(name: str) -> None:
    text = zoo.get(name).builder.__doc__
    for part in ("Input `", "Output `", "Raises:", "ShapeError"):
        assert part in text
    assert any(year in text for year in map(str, range(1980, 2027)))


@every_model
def test_importable_under_its_own_name(name: str) -> None:
    import zoo.models

    assert name in zoo.models.__all__
    assert getattr(zoo.models, name) is zoo.get(name).builder


@every_model
def test_outputs_are_probabilities_or_values(name: str) -> None:
    model = zoo.build(name, **SMALL.get(name, {}))
    outputs = model.predict(examples(model), verbose=0)
    assert outputs.dtype == np.float32
    assert (len(outputs), outputs.shape[-1]) == (4, model.outputs[0].shape[-1])
    assert np.isfinite(outputs).all()
    if model.output_names[0] == "probabilities":
        np.testing.assert_allclose(outputs.sum(axis=1), 1, atol=1e-5)
    if model.output_names[0] == "probability":
        assert ((outputs >= 0) & (outputs <= 1)).all()


@every_model
def test_config_round_trip(name: str) -> None:
    model = zoo.build(name, **SMALL.get(name, {}))
    copy = keras.Model.from_config(model.get_config())
    copy.set_weights(model.get_weights())
    x = examples(model)
    np.testing.assert_array_equal(copy.predict(x, verbose=0), model.predict(x, verbose=0))


@every_model
def test_keras_file_round_trip(name: str, tmp_path: Path) -> None:
    model = zoo.build(name, **SMALL.get(name, {}))
    model.save(tmp_path / "model.keras")
    copy = zoo.load_model(tmp_path / "model.keras")
    x = examples(model)
    np.testing.assert_array_equal(copy.predict(x, verbose=0), model.predict(x, verbose=0))


@every_model
@pytest.mark.parametrize("changed", [False, True], ids=["defaults", "changed"])
def test_tf_keras_twin_gives_equal_outputs(name: str, changed: bool) -> None:
    arguments = TABLE[name][1] if changed else SMALL.get(name, {})
    tf_keras.utils.set_random_seed(0)
    model = zoo.build(name, **arguments)
    twin = zoo.build(name, keras=tf_keras, **arguments)
    assert isinstance(twin, tf_keras.Model)
    # Zeros and ones would hide a wrong order of weights. Only a little off, so that deep models
    # keep outputs that differ and no variance is negative.
    rng = np.random.default_rng(1)
    weights = [
        (w + 0.1 * (w.std() or 1.0) * rng.uniform(-1, 1, w.shape)).astype(w.dtype)
        for w in twin.get_weights()
    ]
    model.set_weights(weights)
    twin.set_weights(weights)
    x = examples(model)
    outputs = model.predict(x, verbose=0)
    scale = max(1.0, abs(outputs).max())  # logits have no bound
    np.testing.assert_allclose(outputs, twin.predict(x, verbose=0), atol=1e-5 * scale, rtol=0)


@every_model
def test_one_step_lowers_the_loss(name: str) -> None:
    keras.utils.set_random_seed(3)
    model = zoo.build(name, **SMALL.get(name, {}))
    x = examples(model, 16)
    y, loss = targets(model, x)
    model.compile(keras.optimizers.SGD(0.01), loss)
    before = model.evaluate(x, y, verbose=0)
    model.train_on_batch(x, y)
    assert model.evaluate(x, y, verbose=0) < before


@every_model
def test_same_seed_same_weights(name: str) -> None:
    def trained() -> list[np.ndarray]:
        keras.utils.set_random_seed(11)
        model = zoo.build(name, **{**SMALL.get(name, {}), **dropout})
        x = examples(model, 16)
        y, loss = targets(model, x)
        model.compile("adam", loss)
        model.fit(x, y, epochs=2, batch_size=8, verbose=0)
        return model.get_weights()

    dropout = {"dropout": 0.5} if "dropout" in zoo.get(name).parameters else {}
    for first, second in zip(trained(), trained(), strict=True):
        np.testing.assert_array_equal(first, second)


@every_model
def test_export_and_reload_with_equal_outputs(name: str, tmp_path: Path) -> None:
    model = zoo.build(name, **SMALL.get(name, {}))
    version = export(model, tmp_path, name, warmup_batch_sizes=())
    serving = load(version)["serving_default"]
    for count in (1, 4):
        x = examples(model, count)
        served = serving(**(x if isinstance(x, dict) else {model.inputs[0].name: x}))
        assert list(served) == model.output_names
        np.testing.assert_allclose(
            served[model.output_names[0]], model.predict(x, verbose=0), atol=1e-6, rtol=1e-6
        )


@every_model
def test_padding_changes_nothing(name: str) -> None:
    """A padded example gives the same with more examples, of other lengths, beside it."""
    model = zoo.build(name, **SMALL.get(name, {}))
    x = examples(model)
    together = model.predict(x, verbose=0)
    alone = model.predict(first_rows(x, slice(3, None)), verbose=0)
    scale = max(1, np.abs(alone).max())  # logits are larger than probabilities
    np.testing.assert_allclose(together[3:], alone, atol=2e-6 * scale)


@pytest.mark.slow
def test_forward_pass_under_jax(tmp_path: Path) -> None:
    """Every model builds in a process whose backend is JAX and gives TensorFlow's outputs."""
    wanted = {}
    for name in zoo.list_models():
        model = zoo.build(name, **SMALL.get(name, {}))
        model.save(tmp_path / f"{name}.keras")
        x = examples(model)
        wanted[name] = x, model.predict(x, verbose=0)
        arrays = x if isinstance(x, dict) else {model.inputs[0].name: x}
        np.savez(tmp_path / f"{name}.npz", **arrays)
    script = (
        "import sys, keras, numpy, zoo\n"
        "assert keras.backend.backend() == 'jax'\n"
        "for name in zoo.list_models():\n"
        "    model = zoo.load_model(f'{sys.argv[1]}/{name}.keras')\n"
        "    x = dict(numpy.load(f'{sys.argv[1]}/{name}.npz'))\n"
        "    x = x if len(x) > 1 else next(iter(x.values()))\n"
        "    numpy.save(f'{sys.argv[1]}/{name}-jax.npy', model.predict(x, verbose=0))\n"
    )
    import os

    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    subprocess.run([sys.executable, "-c", script, tmp_path], check=True, env=environment)
    for name, (_, outputs) in wanted.items():
        np.testing.assert_allclose(np.load(tmp_path / f"{name}-jax.npy"), outputs, atol=1e-5)


def test_padding_mask_reaches_the_recurrent_layer() -> None:
    """Values behind the last real step must not matter, unlike those before it."""
    for name in ("simple_rnn", "gru"):
        model = zoo.build(name)
        x = examples(model, 1)
        x[0, 20:] = 0
        shorter = zoo.build(name, input_shape=(20, 12))
        shorter.set_weights(model.get_weights())
        np.testing.assert_allclose(
            model.predict(x, verbose=0), shorter.predict(x[:, :20], verbose=0), atol=1e-6
        )


def test_padding_mask_reaches_attention_and_pooling() -> None:
    arguments = SMALL["transformer_classifier"]
    model = zoo.build("transformer_classifier", **arguments)
    shorter = zoo.build("transformer_classifier", **{**arguments, "max_length": 9})
    shorter.set_weights(model.get_weights())
    x = examples(model, 2)
    x[:, 9:] = 0
    np.testing.assert_allclose(
        model.predict(x, verbose=0), shorter.predict(x[:, :9], verbose=0), atol=1e-6
    )


def test_a_text_of_padding_alone_still_has_probabilities() -> None:
    model = zoo.build("transformer_classifier", **SMALL["transformer_classifier"])
    outputs = model.predict(np.zeros((1, 24), "int32"), verbose=0)
    np.testing.assert_allclose(outputs.sum(), 1, atol=1e-5)


def test_positions_are_the_papers_formula() -> None:
    from zoo.layers.positions import sinusoids

    table = sinusoids(50, 6)
    for position in (0, 7, 49):
        for pair in range(3):
            angle = position / 10000 ** (2 * pair / 6)
            assert table[position, 2 * pair] == pytest.approx(np.sin(angle), abs=1e-6)
            assert table[position, 2 * pair + 1] == pytest.approx(np.cos(angle), abs=1e-6)


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("cnn", {"input_shape": (28, 28)}, "height, width, channels"),
        ("cnn", {"input_shape": (5, 5, 1)}, "too small"),
        ("cnn", {"dropout": 1.0}, "dropout from 0 to below 1"),
        ("dense", {"units": (64, 0)}, "units"),
        ("lstm", {"input_shape": (24,)}, "steps, features"),
        ("simple_rnn", {"num_classes": -1}, "num_classes"),
        ("transformer_classifier", {"num_heads": 5}, "do not divide"),
        ("mlp_regressor", {"units": "many"}, "units"),
        ("lenet5", {"input_shape": (11, 28, 1)}, "too small"),
        ("resnet", {"depth": 19}, "8, 14, 18, 20"),
        ("vit", {"patch_size": 5}, "out of 1, 2, 4, 7, 14, 28"),
        ("vit", {"num_heads": 3}, "do not divide"),
    ],
)
def test_shapes_that_do_not_fit_are_one_sentence(name: str, arguments: dict, words: str) -> None:
    with pytest.raises(ShapeError) as error:
        zoo.build(name, **arguments)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_gpu_free_graph_has_no_eager_only_operation() -> None:
    """Builders trace inside a tf.function, as training and export do."""
    for name in zoo.list_models():
        model = zoo.build(name, **SMALL.get(name, {}))
        traced = tf.function(model, reduce_retracing=True)
        assert traced(examples(model)).shape[0] == 4
