from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from zoo import export
from zoo.errors import InvalidOption
from zoo.export import warmup


@pytest.mark.parametrize(
    ("model", "data"),
    [
        ("image_model", "images"),
        ("text_model", "texts"),
        ("series_model", "series"),
        ("table_model", "table"),
        ("wide_model", None),
    ],
)
def test_every_record_replays(request, tmp_path, model, data):
    model = request.getfixturevalue(model)
    data = data and request.getfixturevalue(data)
    version = export.export(model, tmp_path, "m", dataset=data, warmup_batch_sizes=(32, 1, 5, 1))
    signatures = export.load(version)
    records = list(warmup.read(version))
    sizes = [(name, len(next(iter(batch.values())))) for name, batch in records]
    wanted = {name: (1,) if name == "explain" else (1, 5, 32) for name in sizes_order(sizes)}
    assert sizes == [(name, size) for name in wanted for size in wanted[name]]
    assert {name for name, _ in sizes} == signatures.keys()
    for name, batch in records:
        for value in signatures[name](**batch).values():
            assert len(value) == len(next(iter(batch.values())))


def sizes_order(sizes):
    return list(dict.fromkeys(name for name, _ in sizes))


def test_records_are_what_tensorflow_serving_reads(tmp_path, images, image_model):
    version = export.export(image_model, tmp_path, "digits", dataset=images)
    path = version / "assets.extra" / "tf_serving_warmup_requests"
    records = [*tf.data.TFRecordDataset(str(path)).as_numpy_iterator()]
    assert len(records) == 5
    for record in records:
        log = prediction_log_pb2.PredictionLog.FromString(record)
        assert log.WhichOneof("log_type") == "predict_log"
        spec = log.predict_log.request.model_spec
        assert spec.name == "digits"
        assert spec.signature_name in ("serving_default", "predict_bytes", "explain")
        assert not spec.HasField("version")


def test_requests_are_validation_examples(tmp_path, images, image_model, series, series_model):
    version = export.export(image_model, tmp_path, "m", dataset=images, warmup_batch_sizes=[8])
    batches = dict(warmup.read(version))
    there = len(images.validation.x)  # 6 examples, so that the first two come twice
    rows = [*range(there), 0, 1]
    np.testing.assert_array_equal(batches["serving_default"]["image"], images.validation.x[rows])
    assert batches["predict_bytes"]["image_bytes"].tolist() == [
        images.raw("validation", row) for row in rows
    ]
    version = export.export(
        series_model, tmp_path, "s", dataset=series, warmup_batch_sizes=[6], explain=False
    )
    features = dict(warmup.read(version))["predict_raw"]["features"]
    longest = max(len(series.raw("validation", row)) for row in range(6))
    assert features.shape == (6, longest, 2)
    for row in range(6):
        raw = series.raw("validation", row)
        np.testing.assert_array_equal(features[row, : len(raw)], raw)
        assert not features[row, len(raw) :].any()


def test_no_sizes_no_file(tmp_path, coin_model):
    version = export.export(coin_model, tmp_path, "m", warmup_batch_sizes=())
    assert not (version / "assets.extra").exists()
    assert list(warmup.read(version)) == []


@pytest.mark.parametrize("sizes", [(0,), (-1,), (1.5,), ("1",), (True,), (1, "2"), range(1, 1002)])
def test_sizes_that_make_no_sense(tmp_path, coin_model, sizes):
    with pytest.raises(InvalidOption, match=r"[Ww]armup batch size"):
        export.export(coin_model, tmp_path, "m", warmup_batch_sizes=sizes)


def test_a_thousand_records_over_all_signatures(images):
    signatures = dict.fromkeys(("serving_default", "predict_bytes"), SimpleNamespace())
    with pytest.raises(InvalidOption, match="more than 1000"):
        list(warmup.requests(signatures, images, range(1, 502)))


def test_a_record_that_would_fail_is_never_published(tmp_path):
    import keras

    x = keras.Input((None, 4), name="x")  # one step is too few for this convolution
    model = keras.Model(x, keras.layers.Conv1D(2, 3, name="y")(x), name="short")
    with pytest.raises(InvalidOption, match="fails on a batch of 1"):
        export.export(model, tmp_path, "m")
    assert export.versions(tmp_path, "m") == []
