"""What the options of transformer_encoder and bidirectional_lstm mean."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

import zoo
from zoo.errors import ShapeError
from zoo.layers.positions import sinusoids

SMALL = {"vocabulary_size": 40, "max_length": 12, "width": 16, "num_heads": 2, "feed_forward": 24}


def inputs(length: int = 12, rows: int = 3) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "tokens": rng.integers(4, 40, (rows, length)).astype("int32"),
        "segments": rng.integers(0, 2, (rows, length)).astype("int32"),
    }


def answer(model: keras.Model, x: Any) -> Any:
    """The outputs without the seconds that `predict` takes to compile."""
    return keras.tree.map_structure(np.asarray, model(x))


def test_segments_and_positions_change_the_answer() -> None:
    model = zoo.build("transformer_encoder", **SMALL)
    x = inputs()
    before = answer(model, x)
    other = answer(model, {**x, "segments": 1 - x["segments"]})
    turned = answer(model, {name: array[:, ::-1] for name, array in x.items()})
    assert np.abs(before - other).max() > 1e-3
    assert np.abs(before - turned[:, ::-1]).max() > 1e-3


def test_padding_is_not_attended_to() -> None:
    model = zoo.build("transformer_encoder", **SMALL)
    x = inputs()
    x["tokens"][:, 7:] = 0
    short = {name: array[:, :7] for name, array in x.items()}
    np.testing.assert_allclose(answer(model, x)[:, :7], answer(model, short), atol=1e-5)


def test_pooled_is_of_the_first_step() -> None:
    model = zoo.build("transformer_encoder", **SMALL, head="pooler")
    found = answer(model, inputs())
    assert found["sequence"].shape == (3, 12, 16)
    dense = model.get_layer("pooled")
    wanted = np.tanh(found["sequence"][:, 0] @ dense.kernel.numpy() + dense.bias.numpy())
    np.testing.assert_allclose(found["pooled"], wanted, atol=1e-6)


def test_shared_blocks_are_one_block_applied_again() -> None:
    """Two shared blocks give what two blocks with the same weights give."""
    shared = zoo.build("transformer_encoder", **SMALL, num_blocks=2, shared_layers=True)
    two = zoo.build("transformer_encoder", **SMALL, num_blocks=2)
    for layer in two.layers:
        name = layer.name.replace("block_1", "block").replace("block_2", "block")
        layer.set_weights(shared.get_layer(name).get_weights())
    assert shared.count_params() < two.count_params()
    np.testing.assert_allclose(answer(shared, inputs()), answer(two, inputs()), atol=1e-6)


def test_the_offset_skips_rows_of_the_position_table() -> None:
    model = zoo.build("transformer_encoder", **SMALL, position_offset=2)
    plain = zoo.build("transformer_encoder", **SMALL)
    for layer in plain.layers:
        weights = model.get_layer(layer.name).get_weights()
        layer.set_weights([weights[0][2:]] if layer.name == "positions" else weights)
    np.testing.assert_allclose(answer(model, inputs()), answer(plain, inputs()), atol=1e-6)


def test_the_decoder_is_the_embedding_matrix() -> None:
    model = zoo.build("transformer_encoder", **SMALL)
    matrix = model.get_layer("embedding").matrix
    states = keras.Model(model.inputs, model.get_layer("transform_norm").output)
    x = inputs()
    wanted = answer(states, [x["segments"], x["tokens"]]) @ matrix.numpy().T
    np.testing.assert_allclose(answer(model, x), wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"num_heads": 3}, "do not divide"),
        ({"head": "classifier"}, "masked_language_model or pooler"),
        ({"embedding_width": -1}, "embedding_width"),
        ({"position_offset": -2}, "position_offset"),
        ({"num_segments": 0}, "num_segments"),
    ],
)
def test_what_does_not_fit_is_one_sentence(arguments: dict, words: str) -> None:
    with pytest.raises(ShapeError, match=words) as error:
        zoo.build("transformer_encoder", **{**SMALL, **arguments})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "arguments",
    [{"vocabulary_size": 40, "max_length": 9}, {"input_shape": (9, 3)}],
    ids=["tokens", "sequence"],
)
def test_padding_does_not_reach_the_lstm_or_its_mean(arguments: dict) -> None:
    model = zoo.build("bidirectional_lstm", **arguments, units=5, num_classes=3)
    shorter = {"max_length": 5} if "max_length" in arguments else {"input_shape": (5, 3)}
    short = zoo.build("bidirectional_lstm", **{**arguments, **shorter}, units=5, num_classes=3)
    short.set_weights(model.get_weights())
    rng = np.random.default_rng(0)
    wanted = model.inputs[0]
    x = rng.integers(1, 40, (2, *wanted.shape[1:])).astype(wanted.dtype)
    x[:, 5:] = 0
    np.testing.assert_allclose(answer(model, x), answer(short, x[:, :5]), atol=1e-6)


def test_a_text_of_padding_alone_still_has_probabilities() -> None:
    model = zoo.build("bidirectional_lstm", vocabulary_size=40, max_length=9)
    outputs = answer(model, np.zeros((1, 9), "int32"))
    np.testing.assert_allclose(outputs.sum(), 1, atol=1e-5)


@pytest.mark.parametrize("name", ["transformer_encoder", "causal_lm"])
def test_learned_positions_start_from_sinusoids(name: str) -> None:
    """Of the size that the embeddings have, so that neither drowns the other."""
    model = zoo.build(name, vocabulary_size=400, max_length=50, width=16, num_heads=2)
    table = np.asarray(model.get_layer("positions").table)
    embedded = np.asarray(model.get_layer("embedding").matrix)
    assert table.std() == pytest.approx(embedded.std(), rel=0.2)
    wanted = sinusoids(50, 16)
    np.testing.assert_allclose(table / table[0, 1], wanted, atol=1e-6)
