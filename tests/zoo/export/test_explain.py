"""Attributions that add up, of every registered classifier."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import zoo
from serving.client import GrpcClient, RestClient
from serving.server import background
from tests.zoo.test_models import SMALL, examples
from zoo import export
from zoo.datasets import Task
from zoo.errors import InvalidOption
from zoo.export.attribution import integrated_gradients
from zoo.export.explain import explanation
from zoo.export.recurrent import without_cudnn

CLASSIFIERS = [
    name
    for name in zoo.list_models()
    if zoo.build(name, **SMALL.get(name, {})).output_names[0] in ("probabilities", "probability")
]


def adds_up(answer: dict[str, np.ndarray], tolerance: float = 0.02) -> None:
    sums = answer["attributions"].reshape(len(answer["output"]), -1).sum(axis=1)
    differences = answer["output"] - answer["baseline_output"]
    assert (abs(differences) > 0.005).any()
    np.testing.assert_allclose(sums, differences, rtol=tolerance, atol=2e-4)


def trained(name: str) -> tuple[keras.Model, np.ndarray]:
    """A model that tells a few examples apart, so that outputs depend on inputs; the examples."""
    keras.utils.set_random_seed(5)
    model = zoo.build(name, **SMALL.get(name, {}))
    x = examples(model, 3)
    classes = min(3, max(2, model.outputs[0].shape[-1]))
    y = np.arange(3) % classes
    loss = "sparse_categorical_crossentropy"
    if model.output_names[0] == "probability":
        y, loss = y[:, np.newaxis].astype("float32"), "binary_crossentropy"
    model.compile(keras.optimizers.Adam(5e-3), loss, jit_compile=False)
    model.fit(x, y, epochs=15, verbose=0)
    return model, x


@pytest.mark.slow
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_attributions_add_up(name: str) -> None:
    """Within 2 % of the difference of the outputs; both outputs are the model's own."""
    model, x = trained(name)
    binary = model.output_names[0] == "probability"
    task = Task("binary" if binary else "classification")
    table = model.predict(x, verbose=0)
    table = np.hstack([1 - table, table]) if binary else table
    chosen = table.argmax(axis=1)
    with without_cudnn(model):
        graph = tf.function(lambda x, c: explanation(model, task, x, c), autograph=False)
        answer = {key: value.numpy() for key, value in graph(x, chosen).items()}
    adds_up(answer)
    assert answer["attributions"].shape == x.shape
    np.testing.assert_allclose(answer["output"], table.max(axis=1), rtol=0, atol=1e-5)
    if "int" in model.inputs[0].dtype:  # padding explains nothing
        assert not answer["attributions"][x == 0].any()
    elif model.inputs[0].name == "image":
        black = model.predict(np.zeros_like(x), verbose=0)
        wanted = np.take_along_axis(black, chosen[:, np.newaxis], axis=1)[:, 0]
        np.testing.assert_allclose(answer["baseline_output"], wanted, rtol=0, atol=1e-4)


def test_a_linear_function_is_its_weights() -> None:
    weights = np.float32([[1, -2], [0, 4]])
    x = np.float32([[3, 1], [7, 0.5]])

    def function(points: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(points * weights, axis=(1, 2)) + 5

    found = integrated_gradients(function, tf.constant(x))
    np.testing.assert_allclose(found.values, x * weights, rtol=1e-5)
    assert float(found.output) == 8
    assert float(found.baseline_output) == pytest.approx(5, abs=1e-5)
    summed = integrated_gradients(function, tf.constant(x), sum_last=True)
    np.testing.assert_allclose(summed.values, (x * weights).sum(axis=1), rtol=1e-5)


@pytest.mark.parametrize("place", [0.002, 0.3, 0.97])
def test_a_jump_on_the_path_is_found(place: float) -> None:
    """A sigmoid as steep as 1 / 2000 of the path: no 512 equal steps see it."""

    def function(points: tf.Tensor) -> tf.Tensor:
        return tf.sigmoid((points[:, 0] - place) * 2e4 * (1 + points[:, 1]))

    x = tf.constant([1.0, 0.25])
    found = tf.function(integrated_gradients, autograph=False)(function, x)
    assert float(tf.reduce_sum(found.values)) == pytest.approx(
        float(found.output - found.baseline_output), rel=0.02
    )


@pytest.mark.parametrize(
    ("model", "data"),
    [("image_model", "images"), ("text_model", "texts"), ("coin_model", "coins")],
)
def test_the_signature(request, tmp_path, model, data):
    model, data = request.getfixturevalue(model), request.getfixturevalue(data)
    call = export.load(export.export(model, tmp_path, "m", dataset=data))["explain"]
    key = data.preprocessing.input_name
    raw = [data.raw("validation", index) for index in range(2)]
    answer = call(**{key: raw})
    adds_up(answer)
    assert answer["attributions"].shape == data.validation.x[:2].shape
    plain = export.load(tmp_path / "m" / "1")[data.preprocessing.signature](**{key: raw})
    for name, value in plain.items():
        np.testing.assert_array_equal(answer[name], value)
    np.testing.assert_allclose(answer["output"], plain["probabilities"].max(axis=1), atol=1e-6)
    for index in range(2):  # neighbours change nothing
        alone = call(**{key: raw[index : index + 1]})["attributions"][0]
        np.testing.assert_allclose(alone, answer["attributions"][index], atol=1e-6)
    for value in call(**{key: np.empty((0, *np.shape(raw[0])), object)}).values():
        assert len(value) == 0


def test_words_of_the_tokens(tmp_path, texts, text_model):
    call = export.load(export.export(text_model, tmp_path, "m", dataset=texts))["explain"]
    answer = call(text=["The ZEBRA: étude, oil of the price", ""])
    words = [[word.decode() for word in row] for row in answer["tokens"]]
    assert words == [["the", "zebra", "étude", "oil", "of"], [""] * 5]


def test_over_both_protocols(tmp_path, images, image_model):
    """The server has no part in it: one more signature."""
    version = export.export(image_model, tmp_path, "m", dataset=images, warmup_batch_sizes=[1])
    pngs = np.array([images.raw("test", index) for index in range(3)], object)
    wanted = export.load(version)["explain"](image_bytes=pngs)
    with background(tmp_path) as server:
        for client in (
            RestClient("localhost", server.rest_port),
            GrpcClient("localhost", server.grpc_port),
        ):
            with client:
                answer = client.predict("m", {"image_bytes": pngs}, signature="explain")
            adds_up(answer)
            np.testing.assert_allclose(
                answer["attributions"], wanted["attributions"], rtol=0, atol=1e-5
            )


@pytest.mark.parametrize(
    ("model", "data", "options"),
    [
        ("coin_model", None, {}),
        ("table_model", "table", {}),
        ("coin_model", "coins", {"explain": False}),
    ],
)
def test_without(request, tmp_path, model, data, options):
    """No data set, no classes, or not asked for."""
    data = data and request.getfixturevalue(data)
    model = request.getfixturevalue(model)
    version = export.export(model, tmp_path, "m", dataset=data, **options)
    assert "explain" not in export.load(version)


def test_whole_numbers_without_an_embedding(tmp_path, texts):
    tokens = keras.Input((5,), dtype="int32", name="tokens")
    x = keras.layers.CategoryEncoding(6, "multi_hot")(tokens)
    x = keras.layers.Dense(2, activation="softmax", name="probabilities")(x)
    model = keras.Model(tokens, x, name="bag")
    with pytest.raises(InvalidOption, match="'bag' takes whole numbers and 0 of its layers"):
        export.export(model, tmp_path, "m", dataset=texts)
    export.export(model, tmp_path, "m", dataset=texts, explain=False)
