"""Signatures that take what a client has: image bytes, text, unscaled features."""

from __future__ import annotations

import numpy as np
import pytest

from zoo import export
from zoo.errors import DataError
from zoo.export.signatures import class_names


@pytest.mark.parametrize(
    ("model", "data", "signature", "argument"),
    [
        ("image_model", "images", "predict_bytes", "image_bytes"),
        ("text_model", "texts", "predict_text", "text"),
        ("series_model", "series", "predict_raw", "features"),
        ("coin_model", "coins", "predict_raw", "features"),
    ],
)
def test_classes_with_probabilities(request, tmp_path, model, data, signature, argument):
    model, data = request.getfixturevalue(model), request.getfixturevalue(data)
    call = export.load(export.export(model, tmp_path, "m", dataset=data))[signature]
    names = [name.encode() for name in data.task.class_names]
    for index in range(2):
        answer = call(**{argument: [data.raw("validation", index)]})
        assert answer.keys() == {"label", "classes", "probabilities"}
        expected = model(data.validation.x[index : index + 1], training=False).numpy()
        if data.task.kind == "binary":
            expected = np.concatenate([1 - expected, expected], axis=-1)
        assert answer["probabilities"].dtype == np.float32
        np.testing.assert_allclose(answer["probabilities"], expected, rtol=0, atol=1e-6)
        assert answer["classes"].tolist() == [names]
        assert answer["label"].tolist() == [names[expected.argmax()]]


def test_batches(tmp_path, images, image_model):
    call = export.load(export.export(image_model, tmp_path, "m", dataset=images))["predict_bytes"]
    pngs = [images.raw("test", index) for index in range(5)]
    answer = call(image_bytes=pngs)
    expected = image_model.predict(images.test.x[:5], verbose=0)
    np.testing.assert_allclose(answer["probabilities"], expected, rtol=0, atol=1e-6)
    assert answer["label"].shape == (5,)
    assert answer["classes"].shape == (5, 3)


def test_values_of_a_regression(tmp_path, table, table_model):
    call = export.load(export.export(table_model, tmp_path, "m", dataset=table))["predict_raw"]
    answer = call(features=[table.raw("validation", index) for index in range(3)])
    assert list(answer) == ["values"]
    expected = table_model(table.validation.x[:3], training=False)
    np.testing.assert_allclose(answer["values"], expected, rtol=1e-5, atol=1e-5)


def test_bytes_that_are_no_image(tmp_path, images, image_model):
    call = export.load(export.export(image_model, tmp_path, "m", dataset=images))["predict_bytes"]
    with pytest.raises(DataError, match=r"'predict_bytes' .* Unknown image file format") as error:
        call(image_bytes=[b"not an image"])
    assert "\n" not in str(error.value)


def test_words_outlive_the_exporter(tmp_path, texts, text_model):
    """The vocabulary is in the version, not in the folder that the exporter made it from."""
    version = export.export(text_model, tmp_path, "m", dataset=texts)
    assert [path.name for path in (version / "assets").iterdir()] == ["vocabulary.txt"]
    moved = version.rename(tmp_path / "moved")
    export.verify(moved)
    assert export.load(moved)["predict_text"](text=["oil"])["label"].shape == (1,)


def test_classes_without_names_are_numbered(images):
    task = type(images.task)("classification")
    assert class_names(task, 3) == ["0", "1", "2"]


def test_no_raw_signature_without_a_data_set(tmp_path, image_model):
    assert list(export.load(export.export(image_model, tmp_path, "m"))) == ["serving_default"]
