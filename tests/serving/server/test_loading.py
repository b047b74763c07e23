"""Loading and warming a version, and letting go of it."""

from __future__ import annotations

import gc
import os
import shutil
import weakref
from pathlib import Path

import numpy as np
import pytest

from serving import tensor_proto
from serving.config import Batching
from serving.config.batching import PER_MODEL_FILE
from serving.errors import ConfigError
from serving.server import servable, session
from serving.server.flags import Flags
from serving.server.loading import make_loader, set_environment
from serving.server.metrics import Metrics
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
    metrics = Metrics()
    loaded = make_loader(Flags(), metrics)("m", 1, version)
    assert "Number of warmup records read: 3." in caplog.text
    assert list(metrics.warmup_latency.state()) == [(str(version), "OK")]
    assert metrics.warmup_records.state() == {(str(version),): 3}
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
    metrics = Metrics()
    make_loader(Flags(enable_model_warmup=False), metrics)("m", 1, version).close()
    (version / WARMUP_FILE).unlink()
    make_loader(Flags(), metrics)("m", 1, version).close()
    assert metrics.warmup_latency.state() == {}  # there is nothing to read


@pytest.mark.parametrize(
    ("file", "content", "code", "message"),
    [
        ("saved_model.pb", b"\0", Code.DATA_LOSS, "Can't parse {file} as binary proto"),
        ("saved_model.pbtxt", b"garbage", Code.DATA_LOSS, "Can't parse {file} as text proto"),
        (
            "saved_model.pb",
            b"",
            Code.NOT_FOUND,
            "Could not find meta graph def matching supplied tags: { serve }. To inspect available "
            "tag-sets in the SavedModel, please use the SavedModel CLI: `saved_model_cli`",
        ),
        (
            "readme",
            b"",
            Code.UNIMPLEMENTED,
            "Session Bundle is deprecated and removed.",
        ),
    ],
)
def test_a_broken_model_in_the_words_of_tensorflow(
    tmp_path: Path, file: str, content: bytes, code: Code, message: str
) -> None:
    (tmp_path / file).write_bytes(content)
    with pytest.raises(ServingError) as caught:
        make_loader(Flags())("m", 1, tmp_path)
    assert (caught.value.code, caught.value.message) == (
        code,
        message.replace("{file}", str(tmp_path / file)),
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"this is no TFRecord file", "corrupted record at 0 (Is this even a TFRecord file?)"),
        (None, "truncated record at 0' failed with Read less bytes than requested"),
    ],
)
def test_warmup_that_is_no_whole_file(version: Path, content: bytes | None, message: str) -> None:
    _write_warmup(version, "x")
    file = version / WARMUP_FILE
    file.write_bytes(content or file.read_bytes()[:30])
    metrics = Metrics()
    with pytest.raises(ServingError) as caught:
        make_loader(Flags(), metrics)("m", 1, version)
    assert list(metrics.warmup_latency.state()) == [(str(version), f"DATA_LOSS: {message}")]
    assert (caught.value.code, caught.value.message) == (
        Code.DATA_LOSS,
        f"{message}. Please verify your warmup data is in TFRecord format.",
    )


def test_warmup_records_without_a_request_are_passed_over(
    version: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from tensorflow_serving.apis import prediction_log_pb2

    caplog.set_level("INFO")
    entry = prediction_log_pb2.PredictionLog()
    entry.log_metadata.SetInParent()
    _write_warmup(version, records=(entry.SerializeToString(),))
    make_loader(Flags(num_request_iterations_for_warmup=2))("m", 1, version).close()
    assert "with model-warmup-options num_request_iterations { value: 2 }" in caplog.text
    assert "Number of warmup records read: 1." in caplog.text
    entry.session_run_log.SetInParent()
    _write_warmup(version, records=(entry.SerializeToString(),))
    with pytest.raises(ServingError) as caught:
        make_loader(Flags())("m", 1, version)
    assert (caught.value.code, caught.value.message) == (
        Code.UNIMPLEMENTED,
        "Unsupported log_type for warmup: 5",
    )


def test_too_much_warmup(version: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.server.warmup.MAX_RECORDS", 2)
    _write_warmup(version, "x")
    with pytest.raises(ServingError) as caught:
        make_loader(Flags())("m", 1, version)
    assert caught.value.message == (
        f"Number of warmup records exceeds the maximum (2) at {version / WARMUP_FILE}"
    )


def test_batching_parameters_that_cannot_be_met_fail_the_load(version: Path) -> None:
    wrong = Batching(fault="input_batch_size_limit must be positive; was 0")
    flags = Flags(enable_batching=True)
    with pytest.raises(ServingError, match="input_batch_size_limit must be") as caught:
        make_loader(flags, batching=wrong)("m", 1, version)
    assert caught.value.code is Code.INVALID_ARGUMENT
    flags = Flags(enable_batching=True, enable_per_model_batching_parameters=True)
    make_loader(flags, batching=wrong)("m", 1, version).close()  # the version's own are asked for
    file = version / "batching_params.pbtxt"
    file.write_text("garbage")
    with pytest.raises(ServingError) as caught:
        make_loader(flags, batching=Batching())("m", 1, version)
    assert caught.value.message == f"Invalid protobuf file: '{file}'"


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


def test_a_version_brings_its_batching_along(version: Path) -> None:
    common = Batching(max_batch_size=7)
    own = Flags(enable_batching=True, enable_per_model_batching_parameters=True)

    def batching(flags: Flags) -> Batching | None:
        loaded = make_loader(flags, batching=common)("m", 1, version)
        loaded.close()
        return loaded.batching

    assert batching(Flags(enable_batching=True)) is common
    assert batching(own) is None  # as TensorFlow Serving has it
    (version / PER_MODEL_FILE).write_text("max_batch_size { value: 3 }")
    assert batching(own).max_batch_size == 3
    assert batching(Flags(enable_batching=True)) is common
    (version / PER_MODEL_FILE).write_text("max_batch_size { value: 3 } allowed_batch_sizes: 2")
    with pytest.raises(ServingError, match="last entry was 2; expected 3") as caught:
        make_loader(own, batching=common)("m", 1, version)
    assert caught.value.code is Code.INVALID_ARGUMENT


@pytest.mark.parametrize(
    "flags",
    [
        Flags(mixed_precision="bfloat16"),
        Flags(xla_cpu_compilation_enabled=True),
        Flags(tensorflow_session_parallelism=2),
        Flags(flush_filesystem_caches=False),
    ],
)
def test_session_flags_change_no_answer(version: Path, flags: Flags) -> None:
    loaded = make_loader(flags)("m", 1, version)
    signature = signature_for(loaded, "")
    found = prepare(loaded, signature, {"x": np.float32([2])}).now()
    np.testing.assert_allclose(found["y"], [6], rtol=0.01)
    loaded.close()


def test_session_config_file(version: Path, tmp_path: Path) -> None:
    file = tmp_path / "session.config"
    file.write_text("intra_op_parallelism_threads: 3")
    loaded = make_loader(Flags(tensorflow_session_config_file=str(file)))("m", 1, version)
    assert loaded._session._config.intra_op_parallelism_threads == 3
    loaded.close()
    file.write_text("nonsense")
    for wrong in (
        Flags(tensorflow_session_config_file=str(file)),
        Flags(tensorflow_session_config_file=str(tmp_path / "none")),
        Flags(mixed_precision="float8"),
    ):
        with pytest.raises(ConfigError):
            make_loader(wrong)


def test_environment_for_xla(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_XLA_FLAGS", "--one")
    set_environment(Flags())
    assert os.environ["TF_XLA_FLAGS"] == "--one"
    set_environment(Flags(xla_cpu_compilation_enabled=True))
    assert os.environ["TF_XLA_FLAGS"] == "--one --tf_xla_cpu_global_jit"


def test_output_filters_without_end(version: Path) -> None:
    """A client may ask for every subset of outputs: there are only so many callables."""
    loaded = session.load(version)
    signature = loaded.signatures["serving_default"]
    for index in range(8):
        signature.outputs[f"y{index}"] = signature.outputs["y"]
    names = list(signature.outputs)
    for subset in range(1, 200):
        wanted = [name for bit, name in enumerate(names) if subset >> bit & 1]
        found = prepare(loaded, signature, {"x": np.float32([1])}, wanted).now()
        assert list(found) == wanted
    assert len(signature.compiled) <= servable.MAX_SHARED + 1
    loaded.close()


@pytest.mark.parametrize("kind", ["classify_log", "regress_log", "multi_inference_log"])
def test_warmup_of_examples(tmp_path: Path, kind: str) -> None:
    from tensorflow_serving.apis import prediction_log_pb2

    from tests.serving import models

    folder = models.save_half_plus_two(tmp_path / "1")
    entry = prediction_log_pb2.PredictionLog()
    request = getattr(entry, kind).request
    features = request.input.example_list.examples.add().features
    features.feature["x"].float_list.value.append(1.0)
    if kind == "multi_inference_log":
        for name in ("regress", "classify"):
            task = request.tasks.add(method_name=f"tensorflow/serving/{name}")
            task.model_spec.signature_name = f"{name}_x_to_y"
    else:
        request.model_spec.signature_name = f"{kind.partition('_')[0]}_x_to_y"
    _write_warmup(folder, records=(entry.SerializeToString(),))
    make_loader(Flags())("m", 1, folder).close()
    features.feature["x"].bytes_list.value.append(b"of another type")
    _write_warmup(folder, records=(entry.SerializeToString(),))
    with pytest.raises(Exception, match="Data types don't match"):
        make_loader(Flags())("m", 1, folder)
