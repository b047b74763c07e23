"""TFLite files: every builder's answers, recurrent layers as loops, sizes, refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from compression import isolated
from compression.errors import ConverterCrashed, NotApplicable
from compression.tflite import Numbers, ask, conversion, flatbuffer, saved, worker
from zoo import registry

TEXT = {"vocabulary_size": 30, "max_length": 8, "width": 8}
BLOCK = {"num_heads": 2, "feed_forward": 16, "num_blocks": 1}
SERIES = {"input_shape": (6, 3), "units": 5}
BUILDERS = {
    "softmax_regression": {},
    "mlp_regressor": {},
    "dense": {"input_shape": (6, 6, 1), "units": (12, 5)},
    "cnn_small": {"input_shape": (8, 8, 1), "filters": 3},
    "cnn": {"input_shape": (12, 12, 1), "filters": (3, 4), "dense_units": 6},
    "lenet5": {},
    "resnet": {"input_shape": (8, 8, 1)},
    "vit": {"input_shape": (8, 8, 1), "patch_size": 4, "width": 8, **BLOCK},
    "simple_rnn": SERIES,
    "lstm": {**SERIES, "dense_units": 4},
    "gru": {**SERIES, "bidirectional": True},
    "bidirectional_lstm": {**TEXT, "units": 4},
    "transformer_classifier": {**TEXT, **BLOCK},
    "transformer_encoder": {**TEXT, **BLOCK},
    "causal_lm": {**TEXT, **BLOCK},
}


def converted(model, folder: Path, **numbers: str) -> bytes:
    """The worker's own code, in this process: a child costs seconds."""
    from dataclasses import asdict

    saved.write(model, folder / worker.SAVED_MODEL, conversion.LONGEST_UNROLLED)
    isolated.write_json(folder / worker.JOB, asdict(Numbers(**numbers)))
    worker.convert(folder)
    return (folder / worker.RESULT).read_bytes()


def randomised(model, seed: int = 0):
    """With weights that make every one of them count, those that begin at zero too."""
    random = np.random.default_rng(seed)
    for weight in model.weights:
        values = random.normal(0, 0.3, weight.shape)
        weight.assign(np.abs(values) + 0.5 if "variance" in weight.path else values)
    return model


def some_inputs(model, rows: int, steps: int = 7) -> dict[str, np.ndarray]:
    """Random examples; sequences have padding, one of them inside."""
    random = np.random.default_rng(rows)
    found = {}
    for tensor in model.inputs:
        shape = (rows, *(size or steps for size in tensor.shape[1:]))
        if tensor.dtype == "int32":
            array = random.integers(0, 2 if tensor.name == "segments" else 30, shape)
        else:
            array = random.normal(size=shape)
        if len(shape) in (2, 3) and tensor.name in ("tokens", "sequence"):
            array[0, -2:] = 0
            array[-1, 1] = 0
        found[tensor.name] = array.astype(tensor.dtype)
    return found


def answers(model, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    found = model(inputs if len(inputs) > 1 else next(iter(inputs.values())), training=False)
    found = found if isinstance(found, dict) else {model.output_names[0]: found}
    return [np.asarray(found[name]) for name in sorted(found)]


@pytest.mark.parametrize("builder", BUILDERS)
def test_every_builder_converts_and_answers_the_same(builder: str, tmp_path: Path) -> None:
    model = randomised(registry.build(builder, **BUILDERS[builder]))
    content = converted(model, tmp_path)
    for rows in (1, 4):
        inputs = some_inputs(model, rows)
        found = ask(content, inputs)
        for name, expected in zip(sorted(found), answers(model, inputs), strict=True):
            np.testing.assert_allclose(found[name], expected, atol=1e-5)
    inputs = some_inputs(model, 5)
    np.testing.assert_allclose(
        next(iter(ask(content, inputs, batch_size=2).values())),
        next(iter(ask(content, inputs).values())),
        atol=1e-6,
    )


def test_every_registered_builder_is_tried_but_the_translator() -> None:
    assert {*registry.list_models()} - {*BUILDERS} <= {"transformer_translator"}


def test_recurrent_layers_of_every_kind(tmp_path: Path) -> None:
    """Both directions, all steps and the last, masks, states handed on, and another cell."""
    import keras

    layers = keras.layers
    inputs = keras.Input((6, 3), name="sequence")
    x = layers.Masking()(inputs)
    x = layers.GRU(4, return_sequences=True, go_backwards=True)(x)
    x = layers.Bidirectional(layers.SimpleRNN(3, return_sequences=True, activation="relu"))(x)
    x, h, c = layers.LSTM(5, return_sequences=True, return_state=True, use_bias=False)(x)
    x = layers.LSTM(5, return_sequences=True)(x, initial_state=[h, c])
    x = layers.GRU(4, return_sequences=True, reset_after=False)(x)  # there is no loop for it here
    x = layers.Bidirectional(layers.LSTM(2))(x)
    model = randomised(keras.Model(inputs, layers.Dense(2, name="values")(x), name="many"))
    content = converted(model, tmp_path)
    given = some_inputs(model, 4)
    found = ask(content, given)["values"]
    np.testing.assert_allclose(found, answers(model, given)[0], atol=1e-5)
    for layer in model._flatten_layers():  # as they were
        assert not {"call", "inner_loop", "_compute_attention"} & vars(layer).keys()
        assert not getattr(layer, "unroll", False)


def test_attention_that_may_look_nowhere(tmp_path: Path) -> None:
    model = randomised(registry.build("transformer_encoder", **BUILDERS["transformer_encoder"]))
    inputs = some_inputs(model, 2)
    inputs["tokens"][0] = 0  # all of it padding
    found = ask(converted(model, tmp_path), inputs)["logits"]
    np.testing.assert_allclose(found, answers(model, inputs)[0], atol=1e-5)


def test_integer_weights_are_small_and_close(tmp_path: Path) -> None:
    model = randomised(registry.build("transformer_classifier", **TEXT | {"width": 16}, **BLOCK))
    inputs = some_inputs(model, 16)
    (expected,) = answers(model, inputs)
    sizes = {}
    for form, limit in (("int8", 0.05), ("int4", 0.5)):
        (tmp_path / form).mkdir()
        numbers = {"weights": form, "embeddings": form, "activations": "dynamic"}
        content = converted(model, tmp_path / form, **numbers)
        difference = np.abs(ask(content, inputs)["probabilities"] - expected).max()
        assert 0 < difference < limit
        buffers = [buffer.data for buffer in flatbuffer.read(content).buffers]
        sizes[form] = sum(len(data) for data in buffers if data is not None)
    float32 = sum(4 * np.prod(weight.shape) for weight in model.weights)
    assert sizes["int8"] < 0.5 * float32
    assert sizes["int4"] < 0.8 * sizes["int8"]


def test_a_file_holds_no_names_but_its_ends(tmp_path: Path) -> None:
    content = converted(registry.build("dense", **BUILDERS["dense"]), tmp_path)
    model = flatbuffer.read(content)
    (graph,) = model.subgraphs
    outer = {*graph.inputs, *graph.outputs}
    assert [bool(tensor.name) for tensor in graph.tensors] == [
        index in outer for index in range(len(graph.tensors))
    ]
    assert not model.metadata
    assert content[4:8] == b"TFL3"
    # a reshape of known sizes, three products and a softmax
    assert len(graph.operators) == 5


def test_an_operation_tflite_lacks_is_named(tmp_path: Path) -> None:
    import keras
    import tensorflow as tf

    inputs = keras.Input((3, 3), name="matrix")
    output = keras.layers.Lambda(tf.linalg.inv, output_shape=(3, 3), name="inverse")(inputs)
    with pytest.raises(NotApplicable, match=r"no operation MatrixInverse.* SavedModel\.$"):
        conversion.convert(keras.Model(inputs, output))


def test_free_steps_of_a_cell_without_a_loop(tmp_path: Path) -> None:
    import keras

    inputs = keras.Input((None, 3), name="sequence")
    output = keras.layers.GRU(2, reset_after=False, name="old")(inputs)
    with pytest.raises(NotApplicable, match=r"'old' .* reads a free number of steps"):
        conversion.convert(keras.Model(inputs, output))


def test_a_child_that_dies_is_one_sentence_and_the_next_job_runs(tmp_path: Path) -> None:
    with pytest.raises(ConverterCrashed, match=r"^Converting x failed: FileNotFoundError.*\.$"):
        conversion.run_worker("convert", tmp_path, "Converting x")
    with pytest.raises(ConverterCrashed, match=r"^Crashing failed: .*SIGSEGV \(signal 11\)\.$"):
        conversion.run_worker("crash", tmp_path, "Crashing")
    with pytest.raises(ConverterCrashed, match="FileNotFoundError"):
        conversion.run_worker("convert", tmp_path, "Converting x")
