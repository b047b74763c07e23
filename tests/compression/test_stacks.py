"""Stacks: what parses, which order is refused, what a model can take, and one from end to end."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import keras
import numpy as np
import pytest

import compression
from compression import stacks
from compression.errors import BadStack, NotApplicable
from compression.subject import Form, Subject
from compression.tuning import fine_tune
from zoo import datasets, registry
from zoo.datasets import Split
from zoo.errors import InvalidOption, UnknownName
from zoo.recipe import Recipe


def test_strengths_and_epochs():
    stack = stacks.parse(" shrink:0.5 + distill:4@2.5 + prune:2:4@0 + cluster:32 + dynamic_range ")
    found = [(part.technique, dict(part.options), part.epochs) for part in stack.parts]
    assert found == [
        ("shrink", {"keep": 0.5}, None),
        ("distill", {"temperature": 4.0}, 2.5),
        ("prune", {"pattern": "2:4"}, 0.0),
        ("cluster", {"clusters": 32}, None),
        ("dynamic_range", {}, None),
    ]
    assert str(stack) == "shrink:0.5+distill:4@2.5+prune:2:4@0+cluster:32+dynamic_range"
    assert stacks.parse(str(stack)) == stack


def test_strengths_of_layers():
    (part,) = stacks.parse("shrink:0.5,width=0.25,block_*=1").parts
    assert part.options["keep"] == {"*": 0.5, "width": 0.25, "block_*": 1.0}
    (part,) = stacks.parse("shrink:hidden=0.25").parts
    assert part.options["keep"] == {"hidden": 0.25}
    (part,) = stacks.parse("prune:block:4x1").parts
    assert part.options == {"pattern": "block:4x1"}
    (part,) = stacks.parse("prune:0.6,hidden_1,conv_*").parts
    assert part.options == {"sparsity": 0.6, "layers": ["hidden_1", "conv_*"]}
    (part,) = stacks.parse("prune:0.8,hidden_1=0.5").parts
    assert part.options == {"layers": {"*": 0.8, "hidden_1": 0.5}}


@pytest.mark.parametrize("name", sorted(stacks.RECIPES))
def test_recipes_are_stacks(name):
    assert str(stacks.parse(name)) == stacks.RECIPES[name]


@pytest.mark.parametrize(
    "text", ["prune+int8", "prune+cluster+int8", "shrink+distill+int8", "lowrank+prune+cluster"]
)
def test_stacks_that_work(text):
    assert [part.technique for part in stacks.parse(text).parts] == text.split("+")


@pytest.mark.parametrize(
    ("text", "near"),
    [("prun+dynamic_range", "prune"), ("prune+dynamic_rang", "dynamic_range"), ("smal", "small")],
)
def test_unknown_names(text, near):
    with pytest.raises(UnknownName, match=near):
        stacks.parse(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "joined by"),
        ("prune++dynamic_range", "joined by"),
        ("prune:1.5", "above 0 and below 1"),
        ("prune:much", "above 0 and below 1"),
        ("prune:nan", "above 0 and below 1"),
        ("prune:0.5,", "LAYER"),
        ("prune:0.5,hidden=1", "for each layer"),
        ("cluster:1", "from 2 to 256"),
        ("cluster:2.5", "from 2 to 256"),
        ("shrink:0", "fraction of units"),
        ("shrink:0.5,0.6", "not understood"),
        ("shrink:=0.5", "not understood"),
        ("lowrank:1", "below 1"),
        ("shrink+distill:0", "above 0"),
        ("shrink@-1", "shrink@-1"),
        ("shrink@", "epochs from 0"),
        ("qat:8", "no strength"),
        ("dynamic_range:8", "no strength"),
        ("dynamic_range@1", "no strength"),
    ],
)
def test_strengths_out_of_range(text, words):
    with pytest.raises(BadStack, match=words):
        stacks.parse(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("dynamic_range+prune", "prune cannot follow dynamic_range"),
        ("dynamic_range+float16", "one quantized form"),
        ("qat+dynamic_range", "one quantized form"),
        ("prune+shrink", "shrink before prune"),
        ("cluster+lowrank", "lowrank before cluster"),
        ("shrink+prune+distill", "distill before prune"),
        ("cluster+prune", "prune before cluster"),
        ("lowrank+shrink", "shrink before lowrank"),
        ("lowrank+qat", "dynamic_range or int8"),
        ("distill+dynamic_range", "put shrink or lowrank before"),
        ("prune+prune", "twice"),
    ],
)
def test_orders_that_cannot_work(text, words):
    with pytest.raises(BadStack, match=words):
        stacks.parse(text)


@pytest.fixture(scope="module")
def subject():
    """A dense network on 400 digits."""
    digits = datasets.load("digits").limited(400, 0)

    def images(split):
        return Split(split.x.reshape(-1, 8, 8, 1), split.y)

    parts = {name: images(digits.split(name)) for name in ("train", "validation", "test")}
    arguments = {"input_shape": (8, 8, 1), "units": (32, 16)}
    recipe = Recipe("digits", epochs=15, batch_size=32, learning_rate=3e-3)
    keras.utils.set_random_seed(0)
    made = Subject(
        registry.build("dense", **arguments),
        "dense",
        arguments,
        dataclasses.replace(digits, **parts),
        recipe,
    )
    fine_tune(made, made.model, epochs=15, learning_rate=3e-3)
    return made


def accuracy(model, split):
    return np.mean(model.predict(split.x, verbose=0).argmax(1) == split.y)


def test_a_stack_from_end_to_end(subject):
    before = subject.model.get_weights()
    found = stacks.apply("shrink:0.75+distill+prune:0.3@0+cluster:16@0+dynamic_range", subject)
    assert [step.technique for step in found.steps] == [
        "shrink",
        "distill",
        "prune",
        "cluster",
        "dynamic_range",
    ]
    assert found.arguments["units"] == (24, 12)
    assert found.form.tflite
    assert found.steps[0].facts["fine_tuning"]["epochs"] == 0  # distill trains right after it
    assert found.steps[1].facts["teacher_parameters"] == subject.model.count_params()
    kernel = found.model.get_layer("hidden_1").kernel.numpy()
    assert (kernel == 0).mean() == pytest.approx(0.3, abs=0.05)
    assert len(np.unique(kernel)) <= 17
    assert accuracy(found.model, subject.dataset.test) > 0.8
    for old, new in zip(before, subject.model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_epochs_are_shared_unless_a_part_has_its_own(subject):
    found = stacks.apply("shrink:0.5@0.5+shrink:0.5+distill@1", subject, epochs=0.25)
    shrinks = [step.facts["fine_tuning"]["epochs"] for step in found.steps[:2]]
    assert shrinks == [pytest.approx(0.5, abs=0.1), 0]
    assert found.steps[2].facts["epochs"] == pytest.approx(1, abs=0.1)
    alone = stacks.apply("shrink:0.5", subject, epochs=0.25)
    assert alone.steps[0].facts["fine_tuning"]["epochs"] == pytest.approx(0.25, abs=0.1)
    with pytest.raises(InvalidOption, match="epochs is -1"):
        stacks.apply("shrink", subject, epochs=-1)


def test_what_a_model_cannot_take_is_said_before_anything_runs(subject, monkeypatch):
    arguments = {"input_shape": (64, 1), "units": 4, "dense_units": 4}
    model = registry.build("lstm", **arguments)
    recurrent = dataclasses.replace(subject, model=model, builder="lstm", arguments=arguments)
    monkeypatch.setattr(stacks.running, "_run", lambda *_: pytest.fail("something ran"))
    for text in ("prune+qat", "prune+int8", "bfloat16"):
        with pytest.raises(NotApplicable, match="LSTM: end the stack with dynamic_range"):
            stacks.apply(text, recurrent)
    linear = registry.build("softmax_regression")
    plain = dataclasses.replace(subject, model=linear, builder="softmax_regression", arguments={})
    with pytest.raises(NotApplicable, match="prune"):
        stacks.apply("shrink+dynamic_range", plain)
    with pytest.raises(NotApplicable, match="already"):
        stacks.apply("prune", dataclasses.replace(subject, form=Form("float16")))


def test_the_package_exports_functions_whatever_was_imported_before():
    for name in compression.__all__:
        assert callable(getattr(compression, name)), name
    code = (
        "import compression.publish, compression.qat, sys; from compression import publish, qat;"
        "assert callable(publish) and callable(qat);"
        "assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="squeeze"):
        compression.squeeze  # noqa: B018
