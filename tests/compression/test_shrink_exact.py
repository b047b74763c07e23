"""Removing units that nothing reads changes no output, for every builder."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

import zoo
from compression.structured import find_groups
from compression.structured.slicing import narrow
from compression.structured.tracing import Trace
from tests.compression.shrinking import CASES, SMALL, random_model
from tests.zoo.test_models import examples
from zoo.errors import ShapeError

every_case = pytest.mark.parametrize(
    "case", [case for case in CASES if case != "softmax_regression"]
)


def outputs(model: keras.Model, x: Any) -> list[np.ndarray]:
    answer = model(x, training=False)
    return [np.asarray(part) for part in keras.tree.flatten(answer)]


def some_units(groups: list[Any]) -> dict[str, list[np.ndarray]]:
    """A random choice of units to keep, at least one, in each exact group."""
    rng = np.random.default_rng(0)
    kept = {}
    for group in groups:
        if group.exact and group.obstacle is None:
            count = int(rng.integers(1, len(group.spaces[0])))
            kept[group.name] = [
                np.sort(rng.choice(units, count, replace=False)) for units in group.spaces
            ]
    return kept


def silence(model: keras.Model, removed: set[int]) -> None:
    """Zero in every weight that reads one of the units."""
    trace = Trace(model)
    variables = {variable.path: variable for variable in model.weights}
    for member in trace.members:
        if member.reads:
            value = variables[member.variable].numpy().copy()
            gone = np.isin(trace.units.roots(member.units), list(removed))
            np.moveaxis(value, member.axis, 0)[gone] = 0
            variables[member.variable].assign(value)


def test_every_model_is_among_the_cases() -> None:
    assert sorted(SMALL) == zoo.list_models()


@every_case
def test_removing_what_nothing_reads_changes_no_output(case: str) -> None:
    builder, arguments = CASES[case]
    model = random_model(builder, arguments)
    groups = find_groups(model, builder, arguments)
    kept = some_units(groups)
    assert kept
    removed = {
        unit
        for group in groups
        for units, some in zip(group.spaces, kept.get(group.name, group.spaces), strict=True)
        for unit in set(units.tolist()) - set(some.tolist())
    }
    x = examples(model)
    loud = outputs(narrow(model, builder, arguments, kept).model, x)
    assert not all(map(np.allclose, outputs(model, x), loud))
    silence(model, removed)
    before = outputs(model, x)
    weights = [weight.numpy().copy() for weight in model.weights]
    narrowed = narrow(model, builder, arguments, kept)
    for one, other in zip(before, outputs(narrowed.model, x), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
    for one, other in zip(weights, model.weights, strict=True):
        np.testing.assert_array_equal(one, other)
    assert narrowed.model.count_params() < model.count_params()
    again = zoo.build(builder, **narrowed.arguments)
    assert [tuple(w.shape) for w in again.weights] == [
        tuple(w.shape) for w in narrowed.model.weights
    ]
    for group, after in zip(groups, find_groups(again, builder, narrowed.arguments), strict=True):
        left = len(kept[group.name][0]) * group.step if group.name in kept else group.size
        assert (group.name, left) == (after.name, after.size)


# The same without the trace: the rows that read a unit are named by hand.
BY_HAND = {
    "conv_1": ("cnn", {"conv_2/kernel": (2, 1)}),
    "hidden": ("cnn", {"probabilities/kernel": (0, 1)}),
    "lstm": ("lstm", {"lstm/lstm_cell/recurrent_kernel": (0, 1), "hidden/kernel": (0, 1)}),
    "rnn": (
        "simple_rnn",
        {"rnn/simple_rnn_cell/recurrent_kernel": (0, 1), "probabilities/kernel": (0, 1)},
    ),
    "block_1_attention": ("vit", {"block_1_attention/attention_output/kernel": (0, 1)}),
    "block_1_self_attention": ("causal_lm", {"block_1_self_output/kernel": (0, 4)}),
    "block_2_inner": ("transformer_classifier", {"block_2_outer/kernel": (0, 1)}),
    "stage_2_block_1_1_conv": ("resnet", {"stage_2_block_1_2_conv/kernel": (2, 1)}),
    "embedding": (
        "bidirectional_lstm",
        {f"both_ways/{way}_lstm/lstm_cell/kernel": (0, 1) for way in ("forward", "backward")},
    ),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_the_weights_that_read_a_unit_are_those_named_by_hand(name: str) -> None:
    builder, readers = BY_HAND[name]
    model = random_model(builder, SMALL[builder])
    group = next(g for g in find_groups(model, builder, SMALL[builder]) if g.name == name)
    for variable in model.weights:
        if variable.path in readers:
            axis, rows = readers[variable.path]
            value = variable.numpy().copy()
            np.moveaxis(value, axis, 0)[rows : 2 * rows] = 0  # the second unit
            variable.assign(value)
    kept = {name: [np.delete(units, 1) for units in group.spaces]}
    x = examples(model)
    narrowed = narrow(model, builder, SMALL[builder], kept)
    for one, other in zip(outputs(model, x), outputs(narrowed.model, x), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_the_width_of_all_blocks_keeps_positions_in_order_and_scale() -> None:
    """Sine and cosine stay pairs, and the smaller root of the width is made up for."""
    builder, arguments = CASES["transformer_classifier"]
    model = random_model(builder, arguments)
    group = next(g for g in find_groups(model, builder, arguments) if g.name == "width")
    assert (group.size, group.step, group.exact, group.residual) == (12, 2, False, True)
    narrowed = narrow(model, builder, arguments, {"width": [group.spaces[0][[1, 2, 4, 5]]]})
    assert narrowed.arguments["width"] == 8
    assert narrowed.arguments["head_width"] == 4
    old, new = (m.get_layer("embedding").embeddings.numpy() for m in (model, narrowed.model))
    columns = [2, 3, 4, 5, 8, 9, 10, 11]
    np.testing.assert_allclose(new * 8**0.5, old[:, columns] * 12**0.5, rtol=1e-5)


@pytest.mark.parametrize("case", ["vit", "causal_lm", "transformer_encoder", "albert"])
def test_the_width_of_all_blocks_can_shrink(case: str) -> None:
    builder, arguments = CASES[case]
    model = random_model(builder, arguments)
    shared = [g for g in find_groups(model, builder, arguments) if g.residual]
    assert all(g.obstacle is None and not g.exact for g in shared)
    kept = {g.name: [units[: len(units) // 2] for units in g.spaces] for g in shared}
    narrowed = narrow(model, builder, arguments, kept)
    for group in shared:
        assert narrowed.arguments[group.argument] == group.size // 2
    assert all(np.isfinite(part).all() for part in outputs(narrowed.model, examples(model)))


def test_a_width_that_is_an_output_or_scaled_by_a_tied_matrix_is_left_alone() -> None:
    for case in ("pooler", "transformer_translator"):
        builder, arguments = CASES[case]
        groups = find_groups(random_model(builder, arguments), builder, arguments)
        assert "inputs or outputs" in next(g for g in groups if g.name == "width").obstacle


@pytest.mark.parametrize(
    ("builder", "arguments", "words"),
    [
        ("transformer_classifier", {"num_heads": (4, 2, 1)}, "3 number.* for 2 block"),
        ("vit", {"feed_forward": (8,)}, "1 number.* for 4 block"),
        ("causal_lm", {"feed_forward": (8, 0)}, "feed_forward in positive"),
        ("transformer_encoder", {"num_heads": (1, 2), "shared_layers": True}, "for 1 block"),
        ("transformer_translator", {"head_width": 0}, "head_width in positive"),
        ("transformer_classifier", {"num_heads": (4, 3)}, "3 attention heads do not divide"),
        ("lenet5", {"filters": (6, 16, 20)}, "two filters, not 3"),
        ("resnet", {"depth": 8, "inner_filters": (16, 32)}, "3 convolutions inside"),
        ("resnet", {"depth": 50, "inner_filters": (64,) * 16}, "32 convolutions inside"),
    ],
)
def test_widths_that_make_no_model(builder: str, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ShapeError, match=words):
        zoo.build(builder, **arguments)


def test_widths_of_bottlenecks_are_two_for_each_block() -> None:
    arguments = {"input_shape": (33, 33, 3), "depth": 50, "num_classes": 3}
    inner = tuple(range(1, 33))
    model = zoo.build("resnet", **arguments, inner_filters=inner)
    groups = find_groups(model, "resnet", {**arguments, "inner_filters": inner})
    assert [group.size for group in groups] == list(inner)
    assert all(group.obstacle is None and group.exact for group in groups)
