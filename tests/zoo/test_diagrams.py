"""Flowcharts hold every layer, joined as in the model, and equal blocks as one box."""

from __future__ import annotations

import re

import keras
import pytest

import zoo
from zoo.diagrams import mermaid


def boxes(text: str) -> dict[str, str]:
    """Box number → label."""
    return dict(re.findall(r'^  (n\d+)\["(.*)"\]$', text, re.MULTILINE))


def edges(text: str) -> set[tuple[str, str]]:
    """Pairs of the boxes' names."""
    names = {key: re.match(r"<b>(.*?)</b>", label)[1] for key, label in boxes(text).items()}
    pairs = re.findall(r"^  (n\d+) --> (n\d+)$", text, re.MULTILINE)
    return {(names[a], names[b]) for a, b in pairs}


def test_a_chain() -> None:
    text = mermaid(zoo.build("cnn_small"))
    assert text.startswith("flowchart TD\n")
    assert edges(text) == {
        ("image", "conv"),
        ("conv", "pool"),
        ("pool", "flatten"),
        ("flatten", "probabilities"),
    }
    assert "<b>conv</b><br>Conv2D<br>26 × 26 × 32, 320 parameters" in text


def test_equal_blocks_are_one_box() -> None:
    text = mermaid(zoo.build("transformer_classifier", num_blocks=3, max_length=16))
    label = next(label for label in boxes(text).values() if "block_1" in label)
    assert label.startswith("<b>block_1 … block_3</b>")
    assert ("dropout", "block_1 … block_3") in edges(text)
    assert ("block_1 … block_3", "mean") in edges(text)
    assert ("keep", "block_1 … block_3") in edges(text)


def test_blocks_of_another_width_are_not() -> None:
    image = keras.Input((4,), name="image")
    x = keras.layers.Dense(3, name="block_1_inner")(image)
    x = keras.layers.Dense(3, name="block_1_outer")(x)
    x = keras.layers.Dense(3, name="block_2_inner")(x)
    x = keras.layers.Dense(5, name="block_2_outer")(x)
    text = mermaid(keras.Model(image, x))
    assert edges(text) == {("image", "block_1"), ("block_1", "block_2")}


@pytest.mark.parametrize("name", zoo.list_models())
def test_boxes_hold_all_parameters_and_every_box_is_joined(name: str) -> None:
    model = zoo.build(name)
    text = mermaid(model)
    counts = re.findall(r"([\d,]+) parameters", text)
    assert sum(int(count.replace(",", "")) for count in counts) == model.count_params()
    joined = {name for edge in edges(text) for name in edge}
    assert len(joined) == len(boxes(text))
