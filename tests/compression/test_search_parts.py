"""Chains of candidates, the bisection over them, Pareto's front, and what a search saves."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compression import stacks
from compression.search import chains, saved
from compression.subject import Step, Subject
from zoo import datasets, registry
from zoo.errors import InvalidOption


@given(st.integers(1, 200), st.data())
def test_the_strongest_that_passes_is_found(count, data):
    first = data.draw(st.integers(0, count))
    asked = []

    def passes(number):
        asked.append(number)
        return number >= first

    found = chains.strongest(count, passes)
    if first == count:
        assert found is None
    else:
        assert first <= found < count
        assert found - first <= count // 16  # the gap that is left open
        assert first or found == 0
    assert len(asked) <= 10
    assert len(asked) == len(set(asked))


def test_no_candidates():
    assert chains.strongest(0, lambda _: True) is None


def test_the_most_sensitive_layer_is_given_back_first():
    found = chains.shrinking({"a": [0.5, 0.4, 0.1, 0.0], "b": [0.3, 0.2, 0.2, 0.1]})
    assert found[:4] == [
        "a=0.125,b=0.125",
        "a=0.25,b=0.125",
        "a=0.5,b=0.125",
        "a=0.5,b=0.25",
    ]
    assert len(found) == 2 * 4
    for text in found:
        stacks.parse(f"shrink:{text}+distill+dynamic_range")
    assert chains.shrinking({}) == []


@given(st.dictionaries(st.sampled_from("abcde"), st.lists(st.floats(0, 1), min_size=4, max_size=4)))
def test_every_step_gives_one_layer_one_level_back(sensitivities):
    found = chains.shrinking(sensitivities)
    assert len(found) == 4 * len(sensitivities)

    def kept(text):
        return {n: float(v) for n, v in (piece.split("=") for piece in text.split(","))}

    for before, after in itertools.pairwise(found):
        old = kept(before)
        new = {**dict.fromkeys(old, 1.0), **kept(after)}
        assert sum(old[name] != new[name] for name in old) == 1
        assert all(new[name] >= old[name] for name in old)


def test_the_most_sensitive_layers_are_left_unpruned_first():
    found = chains.pruning({"a": 0.1, "b": 0.5, "c": 0.3, "d": 0.0})
    assert found[:3] == ["0.8", "0.8,a,c,d", "0.8,a,d"]
    assert found[3] == "0.6"
    for text in found:
        stacks.parse(f"prune:{text}+cluster:16+dynamic_range")


def test_the_front():
    rows = [
        {"size": 4, "time": 1, "accuracy": 0.9},
        {"size": 5, "time": 2, "accuracy": 0.9},  # worse in all
        {"size": 5, "time": 2, "accuracy": 0.95},
        {"size": 3, "time": 9, "accuracy": 0.8},
        {"size": 4, "time": 1, "accuracy": 0.9},  # equal to the first
    ]
    assert chains.front(rows, ("size", "time"), "accuracy") == [0, 2, 3, 4]
    assert chains.front([], ("size",), "accuracy") == []


@pytest.fixture(scope="module")
def subject():
    data = datasets.load("digits")
    model = registry.build("softmax_regression")
    recipe = registry.get("softmax_regression").recipe
    return Subject(model, "softmax_regression", {"input_shape": (64,)}, data, recipe)


def test_a_saved_subject_comes_back(subject, tmp_path):
    kernel = subject.model.get_layer("probabilities").kernel
    mask = np.random.default_rng(0).random(kernel.shape) < 0.5
    made = subject.then(
        Step("prune", {"sparsity": 0.5}, {"sparsity": 0.5}, {"x": "why"}),
        masks={kernel.path: mask},
        clusters={kernel.path: 16},
        rebuildable=False,
    )
    assert saved.load(tmp_path / "one", subject) is None
    saved.save(tmp_path / "one", made)
    back = saved.load(tmp_path / "one", subject)
    for ours, theirs in zip(made.model.weights, back.model.weights, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
    assert [w.path for w in back.model.weights] == [w.path for w in made.model.weights]
    assert dict(back.arguments) == {"input_shape": (64,)}
    assert dict(back.clusters) == {kernel.path: 16}
    assert not back.rebuildable
    assert [step.to_json() for step in back.steps] == [step.to_json() for step in made.steps]
    assert back.recipe == made.recipe
    np.testing.assert_array_equal(back.masks[kernel.path], mask)


def test_a_folder_belongs_to_one_search(subject, tmp_path):
    saved.claim(tmp_path, subject, {"seed": 0})
    saved.claim(tmp_path, subject, {"seed": 0})
    with pytest.raises(InvalidOption, match="another seed"):
        saved.claim(tmp_path, subject, {"seed": 1})
    other = registry.build("softmax_regression")
    with pytest.raises(InvalidOption, match="another weights"):
        saved.claim(tmp_path, dataclasses.replace(subject, model=other), {"seed": 0})
