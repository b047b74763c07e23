"""Loading and warming a version, and letting go of it."""

from __future__ import annotations

import gc
import shutil
import weakref
from pathlib import Path

import numpy as np
import pytest

from serving import tensor_proto
from serving.server import servable, session
from serving.server.flags import Flags
from serving.server.loading import make_loader
from serving.server.predict import prepare, signature_for
from serving.server.status import Code, ServingError
from serving.server.warmup import WARMUP_FILE


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.serving import models

    return models.save_scale(tmp_path_factory.mktemp("saved") / "1", 3.0)


def _write_warmup(version: Path, *names: str, records: tuple[bytes, ...] = ()) -> None:
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    (version / WARMUP_FILE).parent.mkdir(exist_ok=True)
    entry = prediction_log_pb2.PredictionLog()
    for name in names:
        tensor_proto.fill(entry.predict_log.request.inputs[name], np.ones(2, np.float32))
    with tf.io.TFRecordWriter(str(version / WARMUP_FILE)) as writer:
        for record in records or (entry.SerializeToString(),) * 3:
            writer.write(record)


@pytest.fixture
def version(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "1"))


def test_warmup_runs_the_records(version: Path, caplog: pytest.LogCaptureFixture) -> None:
    _write_warmup(version, "x")
    caplog.set_level("INFO")
    loaded = make_loader(Flags())("m", 1, version)
    assert "Number of warmup records read: 3." in caplog.text
    signature = signature_for(loaded, "")
    np.testing.assert_array_equal(
        prepare(loaded, signature, {"x": np.float32([2])}).now()["y"], [6]
    )
    loaded.close()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"names": ("x", "zz")},
            "input size does not match signature: 2!=1 len({x,zz}) != len({x}). "
            "Sent extra: {zz}. Missing but required: {}.",
        ),
        ({"records": (b"garbage",)}, "Failed to parse warmup record: garbage from {file}"),
    ],
)
def test_a_bad_record_fails_the_load(version: Path, arguments: dict, message: str) -> None:
    _write_warmup(version, *arguments.pop("names", ()), **arguments)
    with pytest.raises(ServingError) as caught:
        make_loader(Flags())("m", 1, version)
    assert caught.value.code is Code.INVALID_ARGUMENT
    assert caught.value.message == message.replace("{file}", str(version / WARMUP_FILE))
    make_loader(Flags(enable_model_warmup=False))("m", 1, version).close()


def test_unloading_frees_the_graph(saved: Path) -> None:
    loaded = session.load(saved)
    loaded.run(loaded.signatures["serving_default"], {"x": np.float32([1])})
    graph = weakref.ref(loaded._session.graph)
    loaded.close()
    gc.collect()
    assert graph() is None


def test_output_filter_and_shared_outputs(saved: Path) -> None:
    loaded = session.load(saved)
    signature = loaded.signatures["serving_default"]
    assert prepare(loaded, signature, {"x": np.float32([1])}, ["y"]).now().keys() == {"y"}
    signature.outputs["again"] = signature.outputs["y"]
    both = loaded.run(signature, {"x": np.float32([1])})
    np.testing.assert_array_equal(both["again"], both["y"])
    loaded.close()


@pytest.fixture(scope="module")
def convolution(tmp_path_factory: pytest.TempPathFactory) -> servable.Servable:
    """A convolution as plain Keras exports it, without a check of its own."""
    import keras

    folder = tmp_path_factory.mktemp("convolution") / "1"
    image = keras.Input((8, 8, 1), name="image")
    keras.Model(image, keras.layers.Conv2D(2, 3)(image)).export(folder, verbose=False)
    return session.load(folder)


@pytest.mark.parametrize("shape", [(8, 8, 1), (8,), (), (0,), (1, 1, 8, 8, 1)])
def test_a_wrong_rank_never_reaches_a_convolution(
    convolution: servable.Servable, shape: tuple[int, ...]
) -> None:
    """Without the check, these end the process: run in the server, a request would end it."""
    signature = signature_for(convolution, "")
    with pytest.raises(ServingError, match="the signature takes") as error:
        prepare(convolution, signature, {"image": np.zeros(shape, np.float32)})
    assert error.value.code is Code.INVALID_ARGUMENT
    good = prepare(convolution, signature, {"image": np.zeros((2, 8, 8, 1), np.float32)}).now()
    assert next(iter(good.values())).shape == (2, 6, 6, 2)
