"""Distillation: students learn what the teacher answers, from each kind of target."""

from __future__ import annotations

import dataclasses
import json

import keras
import numpy as np
import pytest

from compression import tuning
from compression.distillation import compare, distill
from compression.errors import NotApplicable
from compression.subject import Subject
from compression.tuning import fine_tune
from zoo import datasets, registry
from zoo.datasets import Split, Task
from zoo.errors import InvalidOption, UnknownName
from zoo.recipe import Recipe


@pytest.fixture(scope="module")
def digits():
    """The digits as 8 × 8 images, with few test examples."""
    found = datasets.load("digits")

    def images(split):
        return Split(split.x.reshape(-1, 8, 8, 1), split.y)

    return dataclasses.replace(
        found,
        train=images(found.train),
        validation=images(found.validation),
        test=images(found.test),
        model_arguments={"input_shape": (8, 8, 1), "num_classes": 10},
    )


@pytest.fixture(scope="module")
def teacher(digits):
    arguments = {"input_shape": (8, 8, 1), "units": (64, 32)}
    keras.utils.set_random_seed(0)
    recipe = registry.get("dense").recipe.replace(epochs=20, jit_compile=False, batch_size=32)
    subject = Subject(registry.build("dense", **arguments), "dense", arguments, digits, recipe)
    fine_tune(subject, subject.model, epochs=20, learning_rate=2e-3)
    return subject


def accuracy(model, split):
    return np.mean(model.predict(split.x, verbose=0).argmax(1) == split.y)


def agreement(student, teacher, split):
    ours, theirs = (m.model.predict(split.x, verbose=0).argmax(1) for m in (student, teacher))
    return np.mean(ours == theirs)


@pytest.mark.parametrize("targets", ["soft", "logits", "features"])
def test_the_student_learns_from_the_teacher_alone(teacher, targets):
    train = teacher.dataset.train
    wrong = Split(train.x, np.random.default_rng(0).permutation(train.y))
    blind = dataclasses.replace(
        teacher, dataset=dataclasses.replace(teacher.dataset, train=wrong), seed=3
    )
    before = teacher.model.get_weights()
    layers = (("hidden_2", "hidden_1"),) if targets == "features" else ()
    student = distill(
        blind,
        arguments={"units": (24,)},
        targets=targets,
        layers=layers,
        alpha=1.0,
        epochs=8,
        learning_rate=8e-3,
    )
    assert agreement(student, teacher, teacher.dataset.test) > 0.88
    for old, new in zip(before, teacher.model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert all(layer.trainable for layer in teacher.model.layers)
    assert student.model.inputs[0].name == "image"
    assert student.model.output_names == ["probabilities"]


def test_the_chain_and_the_arguments_are_the_students(teacher):
    student = distill(teacher, student="cnn_small", arguments={"filters": 4}, epochs=0.5)
    assert student.builder == "cnn_small"
    assert student.arguments["filters"] == 4
    assert student.rebuildable
    rebuilt = registry.build(student.builder, **student.arguments)
    assert [w.shape for w in rebuilt.weights] == [w.shape for w in student.model.weights]
    (step,) = student.steps
    assert step.technique == "distill"
    assert step.facts["teacher_parameters"] == teacher.model.count_params()
    assert step.facts["parameters"] == student.model.count_params()
    json.dumps(step.to_json())


def test_with_a_teacher_the_model_goes_on_and_masks_hold(teacher):
    broken = registry.build("dense", **teacher.arguments)
    broken.set_weights(
        [w + np.random.default_rng(1).normal(0, 0.3, w.shape) for w in teacher.model.get_weights()]
    )
    kernel = broken.get_layer("hidden_1").kernel
    mask = np.random.default_rng(2).random(kernel.shape) < 0.5
    subject = dataclasses.replace(teacher, model=broken, masks={kernel.path: mask})
    before = accuracy(broken, teacher.dataset.test)
    recovered = distill(subject, teacher=teacher, epochs=6, learning_rate=5e-3)
    assert accuracy(recovered.model, teacher.dataset.test) > max(0.9, before)
    assert accuracy(broken, teacher.dataset.test) == before
    assert not recovered.model.get_layer("hidden_1").kernel.numpy()[~mask].any()
    assert recovered.masks.keys() == subject.masks.keys()


def test_scratch_does_not_ask_the_teacher(teacher):
    options = {"arguments": {"units": (8,)}, "scratch": True, "epochs": 1}
    other = registry.build("dense", **teacher.arguments)
    first = distill(teacher, **options)
    second = distill(teacher, teacher=other, **options)
    for ours, theirs in zip(first.model.get_weights(), second.model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert first.steps[0].options["targets"] == "labels"


def pair_on(task, split, layers, input_dtype="float32"):
    """A teacher and a student of a few layers, with different weights, on any arrays."""

    def made():
        inputs = keras.Input(split.x.shape[1:], dtype=input_dtype, name="features")
        x = inputs
        for layer, options in layers:
            x = layer(**options)(x)
        return keras.Model(inputs, x)

    keras.utils.set_random_seed(1)
    data = dataclasses.replace(
        datasets.load("digits"), task=task, train=split, validation=split, test=split
    )
    recipe = Recipe("digits", epochs=20, batch_size=32, learning_rate=3e-2)
    subject = Subject(made(), "dense", {}, data, recipe, rebuildable=False)
    return made(), subject


@pytest.mark.parametrize("targets", ["soft", "logits"])
@pytest.mark.parametrize("kind", ["binary", "regression"])
def test_one_probability_and_values(kind, targets):
    """The teacher's rule is not in the labels."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(256, 3)).astype("float32")
    if kind == "binary":
        task, labels = Task("binary", ("no", "yes")), rng.random((256, 1)) < 0.5
    else:
        task, labels = Task("regression"), rng.normal(size=(256, 1))
    end = "sigmoid" if kind == "binary" else None
    layers = [(keras.layers.Dense, {"units": 1, "activation": end, "name": "answer"})]
    teacher, subject = pair_on(task, Split(x, labels.astype("float32")), layers)
    teacher.layers[-1].set_weights([w * 3 for w in teacher.layers[-1].get_weights()])
    student = distill(subject, teacher=teacher, targets=targets, alpha=1.0, epochs=15)
    ours, theirs = (m.predict(x, verbose=0).ravel() for m in (student.model, teacher))
    before = subject.model.predict(x, verbose=0).ravel()
    assert np.mean((ours - theirs) ** 2) < 0.1 * np.mean((before - theirs) ** 2)
    assert not student.rebuildable


def test_token_tasks_have_logits_only():
    """The teacher knows that b follows a, c follows b and so on; the student sees no labels."""
    tokens = np.random.default_rng(0).integers(1, 12, (256, 6)).astype("int32")
    layers = [
        (keras.layers.Embedding, {"input_dim": 12, "output_dim": 16}),
        (keras.layers.Dense, {"units": 12, "name": "logits"}),
    ]
    teacher, subject = pair_on(Task("language_model"), Split(tokens, tokens), layers, "int32")
    with pytest.raises(NotApplicable, match="targets='logits'"):
        distill(subject, teacher=teacher, targets="soft")
    eye = 4 * np.eye(12, 16, dtype="float32")
    teacher.set_weights([eye, np.roll(eye.T, 1, axis=1), np.zeros(12)])
    student = distill(subject, teacher=teacher, alpha=1.0, epochs=15)
    assert student.steps[0].options["targets"] == "logits"
    found = student.model.predict(tokens, verbose=0).argmax(-1)
    assert np.mean(found == (tokens + 1) % 12) > 0.95


def test_an_average_of_weights_forgets_where_it_began():
    memory = {"use_ema": True, "ema_momentum": 0.999, "weight_decay": 0.01}
    assert tuning._options(memory, 200) == memory | {"ema_momentum": 0.95}
    assert tuning._options(memory, 10**6) == memory
    assert tuning._options({"weight_decay": 0.01}, 200) == {"weight_decay": 0.01}


def test_a_comparison_is_over_seeds(teacher):
    found = compare(teacher, arguments={"units": (6,)}, seeds=2, epochs=2)
    json.dumps(found)
    for way in ("distilled", "scratch"):
        values = found[way]["values"]
        assert len(set(values)) == 2  # seeds differ
        assert found[way]["mean"] == pytest.approx(np.mean(values))
        assert found[way]["spread"] == pytest.approx(max(values) - min(values))
    assert found["gain"] == pytest.approx(found["distilled"]["mean"] - found["scratch"]["mean"])
    assert found["teacher"] > 0.9
    assert found["parameters"]["student"] < found["parameters"]["teacher"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "nothing to distill into"),
        ({"arguments": {}, "targets": "hints"}, "soft, logits, features"),
        ({"arguments": {}, "temperature": 0.0}, "temperature is 0.0"),
        ({"arguments": {}, "alpha": 1.5}, "from 0 to 1"),
        ({"arguments": {}, "epochs": -1}, "epochs is -1"),
        ({"arguments": {}, "learning_rate": 0.0}, "learning_rate is 0.0"),
        ({"arguments": {}, "targets": "features"}, "named layers"),
        ({"arguments": {}, "layers": (("hidden_1", "hidden_1"),)}, "named layers"),
        (
            {"arguments": {}, "targets": "features", "layers": (("flatten", "hidden_1", "x"),)},
            "a pair",
        ),
        (
            {
                "student": "cnn_small",
                "targets": "features",
                "layers": (("hidden_1", "conv"),),
            },
            "only the last axes may differ",
        ),
        ({"arguments": {}, "teacher": 3}, "cannot teach"),
    ],
)
def test_options_that_make_no_sense(teacher, options, words):
    with pytest.raises(InvalidOption, match=words):
        distill(teacher, **options)


def test_names_that_nothing_has(teacher):
    with pytest.raises(UnknownName, match="cnn_small"):
        distill(teacher, student="cnn_smal")
    with pytest.raises(UnknownName, match="argument of dense"):
        distill(teacher, arguments={"unit": (8,)})
    with pytest.raises(UnknownName, match="layer of the teacher"):
        distill(teacher, arguments={}, targets="features", layers=(("hidden1", "hidden_1"),))


def test_a_teacher_of_another_task(teacher):
    other = registry.build("dense", input_shape=(8, 8, 1), num_classes=3)
    with pytest.raises(InvalidOption, match="same task"):
        distill(teacher, teacher=other)
