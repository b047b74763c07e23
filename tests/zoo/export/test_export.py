"""What an exported version answers, weighs and leaves unchanged."""

from __future__ import annotations

import os
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2

from zoo import export
from zoo.errors import DataError, InvalidOption, ShapeError, StoreError

from .conftest import functional, graph_ops

layers = keras.layers


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("model", "data"),
    [
        ("image_model", "images"),
        ("text_model", "texts"),
        ("series_model", "series"),
        ("table_model", "table"),
        ("coin_model", "coins"),
    ],
)
def test_serving_default_answers_as_the_model(request, tmp_path, model, data):
    model, data = request.getfixturevalue(model), request.getfixturevalue(data)
    version = export.export(model, tmp_path, model.name, dataset=data, explain=False)
    assert version == tmp_path / model.name / "1"
    export.verify(version)
    serve = export.load(version)["serving_default"]
    for x in (data.test.x, data.test.x[:1]):  # any batch size
        outputs = serve(**{model.inputs[0].name: x})
        assert list(outputs) == model.output_names
        (answer,) = outputs.values()
        np.testing.assert_allclose(answer, model(x, training=False), rtol=0, atol=1e-6)
        np.testing.assert_allclose(answer, model.predict(x, verbose=0), rtol=0, atol=1e-6)


def test_several_inputs_and_outputs_keep_their_names(tmp_path, wide_model):
    version = export.export(wide_model, tmp_path, "wide")
    numbers = np.random.default_rng(0)
    words = numbers.integers(0, 10, (6, 9), np.int32)
    picture = numbers.normal(size=(6, 4, 4, 3)).astype(np.float32)
    outputs = export.load(version)["serving_default"](picture=picture, words=words)
    topic, score = wide_model([words, picture], training=False)
    np.testing.assert_allclose(outputs["topic"], topic, rtol=0, atol=1e-6)
    np.testing.assert_allclose(outputs["score"], score, rtol=0, atol=1e-6)
    assert export.read_card(version)["signatures"] == {
        "serving_default": {
            "inputs": {
                "words": {"dtype": "int32", "shape": [None, None]},
                "picture": {"dtype": "float32", "shape": [None, 4, 4, 3]},
            },
            "outputs": {
                "topic": {"dtype": "float32", "shape": [None, 5]},
                "score": {"dtype": "float32", "shape": [None, 1]},
            },
        }
    }


def test_models_built_from_dictionaries(tmp_path):
    a, b = keras.Input((2,), name="a"), keras.Input((2,), name="b")
    outputs = {"difference": layers.Subtract()([a, b]), "sum": layers.Add()([a, b])}
    model = keras.Model({"b": b, "a": a}, outputs, name="by_name")
    serve = export.load(export.export(model, tmp_path, "by_name"))["serving_default"]
    answer = serve(a=[[3, 4]], b=[[1, 1]])
    assert {name: value.tolist() for name, value in answer.items()} == {
        "difference": [[2, 3]],
        "sum": [[4, 5]],
    }


def test_sequential_models_are_functional_enough(tmp_path):
    model = keras.Sequential([keras.Input((2,), name="x"), layers.Dense(1, name="y")])
    x = np.ones((3, 2), np.float32)
    answer = export.load(export.export(model, tmp_path, "stack"))["serving_default"](x=x)
    np.testing.assert_allclose(answer["y"], model(x), atol=1e-6)


def test_models_that_hold_a_lookup_table(tmp_path):
    word = keras.Input((1,), dtype="string", name="word")
    numbers = layers.StringLookup(vocabulary=["b", "a"], name="index")(word)
    model = keras.Model(word, numbers, name="lookup")
    serve = export.load(export.export(model, tmp_path, "lookup"))["serving_default"]
    assert serve(word=[["a"], ["b"], ["c"]])["index"].tolist() == [[2], [1], [0]]


@pytest.fixture(scope="module")
def trained():
    """A model of 0.9 MB whose optimizer holds twice that again."""
    image = keras.Input((28, 28, 1), name="image")
    x = layers.Flatten()(image)
    x = layers.Dropout(0.3)(layers.Dense(256, activation="relu")(x))
    x = layers.Dense(10, activation="softmax", name="probabilities")(x)
    model = keras.Model(image, x, name="trained")
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(np.ones((32, 28, 28, 1), np.float32), np.zeros(32), verbose=0)
    return model


def test_weights_are_written_once(tmp_path, trained):
    version = export.export(trained, tmp_path, "trained")
    parameters = 4 * trained.count_params()
    assert parameters <= size(version / "variables") <= 1.02 * parameters
    trained.export(tmp_path / "plain", verbose=False)
    assert size(tmp_path / "plain" / "variables") > 1.9 * parameters
    reader = tf.train.load_checkpoint(str(version / "variables" / "variables"))
    shapes = [tuple(shape) for key, shape in reader.get_variable_to_shape_map().items() if shape]
    assert sorted(shapes) == sorted(tuple(weight.shape) for weight in trained.weights)


def test_the_model_goes_on_training_as_before(tmp_path, trained):
    before = [variable.numpy() for variable in (*trained.variables, *trained.optimizer.variables)]
    export.export(trained, tmp_path, "trained")
    after = [variable.numpy() for variable in (*trained.variables, *trained.optimizer.variables)]
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(old, new)
    trained.fit(np.ones((32, 28, 28, 1), np.float32), np.zeros(32), verbose=0)


@pytest.mark.parametrize(
    ("model", "data"),
    [("image_model", "images"), ("text_model", "texts"), ("series_model", "series")],
)
def test_the_graph_runs_in_a_session(request, tmp_path, model, data):
    """The way TensorFlow Serving runs it: restored into one graph, called by tensor names."""
    model, data = request.getfixturevalue(model), request.getfixturevalue(data)
    version = export.export(model, tmp_path, model.name, dataset=data)
    expected = model.predict(data.validation.x[:1], verbose=0)
    raw = data.raw("validation", 0)
    raw = np.array([raw], None if isinstance(raw, np.ndarray) else object)
    requests = {
        "serving_default": data.validation.x[:1],
        data.preprocessing.signature: raw,
        "explain": raw,
    }
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        meta_graph = tf.compat.v1.saved_model.load(session, ["serve"], str(version))
        assert meta_graph.signature_def.keys() - {"__saved_model_init_op"} == requests.keys()
        for name, values in requests.items():
            signature = meta_graph.signature_def[name]
            (fed,), fetched = signature.inputs.values(), signature.outputs["probabilities"]
            call = session.make_callable([fetched.name], feed_list=[fed.name])
            np.testing.assert_allclose(call(values)[0], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("shape", [(8, 8, 1), (2, 8, 8), (1, 8, 8, 3), (1, 4, 16, 1), (8,), ()])
def test_a_wrong_shape_does_not_end_the_server(tmp_path, image_model, shape):
    """A session's raw callable checks nothing, and oneDNN aborts a process for a wrong rank."""
    version = export.export(image_model, tmp_path, "images")
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        meta_graph = tf.compat.v1.saved_model.load(session, ["serve"], str(version))
        signature = meta_graph.signature_def["serving_default"]
        options = config_pb2.CallableOptions(
            feed=[signature.inputs["image"].name],
            fetch=[signature.outputs["probabilities"].name],
        )
        call = session._make_callable_from_options(options)
        with pytest.raises(tf.errors.InvalidArgumentError, match="expected shape"):
            call(np.zeros(shape, np.float32))
        assert call(np.zeros((2, 8, 8, 1), np.float32))[0].shape == (2, 3)


def test_no_op_that_a_plain_server_lacks(tmp_path, images, image_model, texts, text_model):
    for data, model in ((images, image_model), (texts, text_model)):
        ops = graph_ops(export.export(model, tmp_path, model.name, dataset=data))
        assert "StatefulPartitionedCall" in ops
        assert not {op for op in ops if "PyFunc" in op or op.startswith("Xla") or "Cudnn" in op}


def test_half_precision_weights_and_outputs(tmp_path, images):
    image = keras.Input((8, 8, 1), name="image")
    x = layers.Flatten()(image)
    x = layers.Dense(3, activation="softmax", dtype="mixed_bfloat16", name="probabilities")(x)
    model = functional(image, x, "half")
    signatures = export.load(export.export(model, tmp_path, "half", dataset=images))
    answer = signatures["predict_bytes"](image_bytes=[images.raw("test", 0)])["probabilities"]
    assert answer.dtype == np.float32
    expected = np.asarray(model(images.test.x[:1], training=False), np.float32)
    np.testing.assert_allclose(answer, expected, atol=1e-2)


def test_versions_grow(tmp_path, coin_model):
    for number in (1, 2):
        assert export.export(coin_model, tmp_path, "coins").name == str(number)
    assert export.versions(tmp_path, "coins") == [1, 2]
    assert export.latest(tmp_path, "coins") == tmp_path / "coins" / "2"
    assert export.models(tmp_path) == ["coins"]


def refused(*arguments, error=InvalidOption, **keywords) -> str:
    with pytest.raises(error) as caught:
        export.export(*arguments, **keywords)
    text = str(caught.value)
    assert "\n" not in text
    assert text.endswith(".")
    return text


def test_models_that_cannot_be_exported(tmp_path):
    class Subclassed(keras.Model):
        def call(self, x):
            return x

    x = keras.Input((3,), name="x")
    twice = layers.Dense(1, name="twice")
    cases = {
        "no named input": Subclassed(),
        "keras.Model of Keras 3": tf.Module(),
        "named 'class'": _named("class"),
        "named 'my-input'": _named("my-input"),
        "two outputs named 'twice'": keras.Model(x, [twice(x), twice(x + 1)]),
        "stateful": _stateful(),
    }
    for reason, model in cases.items():
        assert reason in refused(model, tmp_path, "bad")
    assert export.models(tmp_path) == []


def _named(name: str) -> keras.Model:
    x = keras.Input((3,), name=name)
    return keras.Model(x, layers.Dense(1, name="y")(x), name="named")


def _stateful() -> keras.Model:
    x = keras.Input(batch_shape=(2, 5, 3), name="x")
    inner = keras.Sequential([layers.GRU(2, stateful=True)])
    return keras.Model(x, inner(x), name="remembers")


def test_the_other_backend_is_named(tmp_path, coin_model, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    assert "KERAS_BACKEND=tensorflow" in refused(coin_model, tmp_path, "coins")


def test_data_sets_that_do_not_fit(tmp_path, images, coins, table, coin_model, wide_model):
    assert "one tensor for one answer" in refused(wide_model, tmp_path, "x", dataset=coins)
    for data in (images, table):
        text = refused(coin_model, tmp_path, "x", dataset=data, error=ShapeError)
        assert data.name in text
    assert export.models(tmp_path) == []


def test_preprocessing_that_makes_another_shape(tmp_path, images):
    x = keras.Input((4,), name="x")
    model = functional(x, layers.Dense(3, activation="softmax", name="y")(x), "other")
    text = refused(model, tmp_path, "other", dataset=images, error=ShapeError)
    assert "takes x of shape (None, 4)" in text
    assert "(None, 8, 8, 1)" in text


def test_logits_are_not_published_as_probabilities(tmp_path, images, coins):
    for data, units in ((images, 3), (coins, 1)):
        x = keras.Input(data.train.x.shape[1:], name="x")
        logits = layers.Dense(units, bias_initializer="ones")(layers.Flatten()(x))
        model = functional(x, logits, "logits")
        assert "softmax" in refused(model, tmp_path, "logits", dataset=data)
        assert list((tmp_path / "logits").glob(".staging*")) == []
        assert export.versions(tmp_path, "logits") == []


def test_weights_that_are_not_numbers(tmp_path, coins, coin_model):
    broken = keras.models.clone_model(coin_model)
    broken.set_weights([weight * np.nan for weight in broken.get_weights()])
    assert "nan" in refused(broken, tmp_path, "broken", dataset=coins)


def test_stores_that_cannot_be_written(tmp_path, coin_model):
    (tmp_path / "file").write_text("")
    (tmp_path / "coins").write_text("")
    for store in (tmp_path / "file", tmp_path, Path("/proc/store")):
        refused(coin_model, store, "coins", error=StoreError)


def test_a_bad_name_costs_nothing(tmp_path):
    assert "'../x'" in refused(None, tmp_path, "../x")
    assert os.listdir(tmp_path) == []


def test_loaded_signatures_explain_wrong_values(tmp_path, coin_model):
    serve = export.load(export.export(coin_model, tmp_path, "coins"))["serving_default"]
    with pytest.raises(InvalidOption, match="takes features and was given image"):
        serve(image=[[0]])
    with pytest.raises(DataError, match="serving_default"):
        serve(features=["text"])
    with pytest.raises(DataError, match=r"\[1,2\] is not compatible with expected shape"):
        serve(features=[[1.0, 2.0]])


def test_folders_that_hold_no_model(tmp_path):
    with pytest.raises(StoreError, match="no readable SavedModel"):
        export.load(tmp_path)
