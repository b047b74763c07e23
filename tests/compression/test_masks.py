"""Masks of weight matrices, and the choice of layers."""

from __future__ import annotations

import numpy as np
import pytest

import zoo
from compression import masks
from zoo.errors import InvalidOption

SHAPES = [(8, 12), (3, 3, 8, 5), (12, 2, 4), (5, 7)]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("sparsity", [0.1, 0.5, 0.8, 0.99])
def test_the_smallest_weights_go(rng: np.random.Generator, shape: tuple, sparsity: float):
    weight = rng.normal(size=shape)
    mask = masks.make(weight, masks.parse("unstructured"), sparsity)
    assert mask.sum() == max(1, round(weight.size * (1 - sparsity)))
    assert abs(weight[mask]).min() >= abs(weight[~mask]).max()


def test_equal_weights_do_not_change_how_many_stay():
    mask = masks.make(np.ones((4, 5)), masks.parse("unstructured"), 0.75)
    assert mask.sum() == 5


@pytest.mark.parametrize("inputs", [0, -2])
@pytest.mark.parametrize("shape", SHAPES)
def test_two_of_four_along_the_inputs(rng: np.random.Generator, shape: tuple, inputs: int):
    weight = rng.normal(size=shape)
    mask = masks.make(weight, masks.parse("2:4"), 0.8, inputs)
    assert masks.keeps_two_of_four(weight * mask, inputs)
    along = np.moveaxis(weight, inputs, -1)[..., :4].reshape(-1, min(4, weight.shape[inputs]))
    kept = np.moveaxis(mask, inputs, -1)[..., :4].reshape(along.shape)
    assert (kept.sum(axis=1) == 2).all()
    np.testing.assert_array_equal(
        np.sort(abs(along[kept].reshape(-1, 2))), np.sort(abs(along))[:, -2:]
    )


def test_a_dense_matrix_is_not_two_of_four(rng: np.random.Generator):
    assert not masks.keeps_two_of_four(rng.normal(size=(8, 3)))


def test_whole_blocks_go_together(rng: np.random.Generator):
    weight = rng.normal(size=(8, 12))
    weight[4:8, 4:8] = 9
    mask = masks.make(weight, masks.parse("block:4x4"), 0.8)
    tiles = mask.reshape(2, 4, 3, 4).sum(axis=(1, 3))
    assert sorted(np.unique(tiles)) == [0, 16]
    assert tiles[1, 1] == 16
    assert (tiles == 16).sum() == 1  # of six, a fifth


def test_blocks_that_do_not_divide_the_matrix(rng: np.random.Generator):
    weight = rng.normal(size=(3, 2, 5))  # six inputs, five outputs
    weight[2, :, 4] = 9  # alone in the corner: a block of two weights, not of eight
    mask = masks.make(weight, masks.parse("block:4x4"), 0.7)
    assert mask.shape == weight.shape
    assert mask[2, :, 4].all()
    assert mask.sum() == 2


def test_kernels_of_attention_are_matrices_of_their_inputs():
    kernel = np.zeros((4, 2, 3))
    kernel[:2] = 1
    mask = masks.make(kernel, masks.parse("block:2x6"), 0.5, inputs=0)
    np.testing.assert_array_equal(mask, kernel != 0)
    assert masks.input_axis("block_1_attention/query/kernel", 3) == 0
    assert masks.input_axis("block_1_attention/attention_output/kernel", 3) == -2
    assert masks.input_axis("conv/kernel", 4) == -2


@pytest.mark.parametrize("text", ["3:4", "block:0x4", "block:4", "blocks", "", None])
def test_unknown_patterns_are_one_sentence(text: str):
    with pytest.raises(InvalidOption, match=r"unstructured, 2:4 or block:RxC"):
        masks.parse(text)


def test_targets_are_matrices_of_the_matching_layers():
    model = zoo.build("bidirectional_lstm", vocabulary_size=9, max_length=5, units=3, width=2)
    found = masks.targets(model, ["both*", "prob*"])
    shapes = {name: [model.weights[p].shape for p in mine] for name, mine in found.items()}
    assert shapes == {
        "both_ways": [(2, 12), (3, 12), (2, 12), (3, 12)],
        "probabilities": [(6, 8)],
    }
    assert list(masks.targets(model, "*")) == ["embedding", "both_ways", "probabilities"]


@pytest.mark.parametrize("layers", [["hidden*"], "keep", ["probabilities", "x"], []])
def test_a_layer_pattern_that_matches_nothing_is_one_sentence(layers: list[str]):
    model = zoo.build("bidirectional_lstm", vocabulary_size=9, max_length=5, units=3, width=2)
    with pytest.raises(InvalidOption) as error:
        masks.targets(model, layers)
    assert "\n" not in str(error.value)


def test_share_of_zeros():
    assert masks.zeros([np.zeros(3), np.ones(1)]) == 0.75
    assert masks.zeros({}) == 0.0
