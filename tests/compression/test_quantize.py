"""Quantized forms: what each one takes, refuses and says of itself."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from compression import cpu, tflite
from compression.errors import NotApplicable, UnsupportedCpu
from compression.quantization import FORMS, quantize
from compression.quantization.calibration import examples
from compression.quantization.layers import skipped_layers
from compression.quantization.speed import expected_slower
from compression.subject import Step, Subject
from compression.tuning import fine_tune
from zoo import datasets, registry
from zoo.errors import InvalidOption, UnknownName


@pytest.fixture(scope="module")
def subject() -> Subject:
    """Softmax regression on the digits, trained for a few steps."""
    dataset = datasets.load("digits")
    model = registry.build("softmax_regression")
    made = Subject.of(model, builder="softmax_regression", dataset=dataset)
    fine_tune(made, model, epochs=10, learning_rate=0.05)
    return made


def of(builder: str, **arguments) -> Subject:
    """Of an untrained model; the data set is not its own and is not used."""
    model = registry.build(builder, **arguments)
    return Subject.of(model, builder=builder, arguments=arguments, dataset=datasets.load("digits"))


def accuracy(subject: Subject) -> float:
    test = subject.dataset.test
    name = subject.model.inputs[0].name
    if subject.form is not None and subject.form.tflite is not None:
        (found,) = tflite.ask(subject.form.tflite, {name: test.x}).values()
    else:
        model = subject.model if subject.form is None else subject.form.model
        found = model.predict(test.x, verbose=0)
    return float((found.argmax(axis=1) == test.y).mean())


@pytest.mark.parametrize(
    "form", ["float32", "float16", "dynamic_range", "int8_weights", "int8", "int4", "keras_int8"]
)
def test_a_form_keeps_the_accuracy(subject: Subject, form: str) -> None:
    weights = subject.model.get_weights()
    made = quantize(subject, form=form, calibration=64)
    before, after = accuracy(subject), accuracy(made)
    assert before > 0.85
    assert abs(after - before) <= (0.1 if form == "int4" else 0.03)
    assert made.form.name == form
    assert made.steps[-1].technique == form
    json.dumps(made.steps[-1].to_json())
    assert made.form.server_flags == FORMS[form].server_flags
    for old, new in zip(weights, subject.model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_sizes_of_the_forms(subject: Subject) -> None:
    size = {
        form: quantize(subject, form=form).steps[-1].facts["bytes"]
        for form in ("float32", "float16", "dynamic_range", "int4")
    }
    assert size["int4"] < size["dynamic_range"] < size["float16"] < size["float32"]
    assert size["float32"] - size["dynamic_range"] > 0.7 * 640 * 3


def test_clustered_weights_stay_clustered(subject: Subject) -> None:
    """16 values in a matrix are 16 in int8 with one scale; a scale for each column makes more."""
    from compression.tflite import flatbuffer

    model = registry.build("softmax_regression")
    kernel, bias = subject.model.get_weights()
    levels = np.linspace(kernel.min(), kernel.max(), 16)
    model.set_weights([levels[np.abs(kernel[..., None] - levels).argmin(-1)], bias])
    path = model.layers[-1].kernel.path
    clustered = dataclasses.replace(subject, model=model, clusters={path: 16})

    def values(made: Subject) -> int:
        buffers = [buffer.data for buffer in flatbuffer.read(made.form.tflite).buffers]
        (found,) = [data for data in buffers if data is not None and len(data) == 640]
        return len(np.unique(found))

    assert values(quantize(clustered)) <= 16
    assert values(quantize(clustered, granularity="channel")) > 16


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (np.zeros((4, 8, 8), np.float32), r"shape \(4, 8, 8\) and the model takes \(None, 64\)"),
        ({"image": np.zeros((4, 64))}, "lacks the input 'features'"),
        (np.zeros((0, 64)), "no examples"),
        (0, "at least 1"),
    ],
)
def test_calibration_data_that_does_not_fit(subject: Subject, data, words: str) -> None:
    with pytest.raises(InvalidOption, match=words):
        quantize(subject, form="int8", calibration=data)


def test_calibration_examples_come_from_the_training_split(subject: Subject) -> None:
    (found,) = examples(subject, 20).values()
    known = {row.tobytes() for row in subject.dataset.train.x}
    assert len(found) == 20
    assert all(row.tobytes() in known for row in found)
    (again,) = examples(subject, 20).values()
    np.testing.assert_array_equal(found, again)


@pytest.mark.parametrize("form", ["int8", "bfloat16"])
def test_recurrent_models_are_told_what_they_can_take(form: str) -> None:
    with pytest.raises(NotApplicable, match=r"layer 'lstm'.* dynamic_range.* can\.$"):
        quantize(of("lstm", input_shape=(4, 1), units=3, dense_units=2), form=form, force=True)


def test_what_makes_no_sense(subject: Subject) -> None:
    with pytest.raises(UnknownName, match="dynamic_range"):
        quantize(subject, form="dynamic_rang")
    with pytest.raises(InvalidOption, match="granularity is 'row'"):
        quantize(subject, granularity="row")
    with pytest.raises(NotApplicable, match="no embeddings"):
        quantize(subject, form="int4_embeddings")
    made = subject.then(Step("dynamic_range"), form=quantize(subject).form)
    with pytest.raises(InvalidOption, match="form dynamic_range already"):
        quantize(made, form="int8")


def test_a_form_without_its_instructions(subject: Subject, monkeypatch) -> None:
    monkeypatch.setattr(cpu, "features", lambda: frozenset({"avx512f"}))
    with pytest.raises(UnsupportedCpu, match=r"bfloat16 needs amx_bf16.*\.$"):
        quantize(subject, form="bfloat16")
    made = quantize(subject, form="bfloat16", force=True)
    assert "amx_bf16" in made.steps[-1].facts["expected_slower"]
    assert abs(accuracy(made) - accuracy(subject)) < 0.03
    assert expected_slower("dynamic_range", subject.model) is None


def test_layers_left_alone_are_named() -> None:
    model = registry.build("resnet", input_shape=(8, 8, 1), depth=20)
    assert skipped_layers(model, FORMS["float16"]) == {}
    assert any("a few numbers" in why for why in skipped_layers(model, FORMS["int8"]).values())
    skipped = skipped_layers(model, FORMS["keras_int8"]).values()
    assert "Keras cannot quantize a Conv2D" in {*skipped}
