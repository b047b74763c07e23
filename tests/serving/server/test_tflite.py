"""TFLite models: their signatures, several requests at a time, and where they are preferred."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from serving.server.flags import Flags
from serving.server.loading import make_loader
from serving.server.predict import prepare, signature_for
from serving.server.session import SessionServable
from serving.server.status import Code, ServingError
from serving.server.tflite import FILE, TFLiteServable


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SavedModel of `mat` with its conversion beside it."""
    import tensorflow as tf

    from tests.serving import models

    folder = tmp_path_factory.mktemp("tflite") / "1"
    rows = {"x": tf.TensorSpec([None, 3], tf.float32)}
    models.save_functions(
        folder,
        serving_default=(lambda x: {"y": tf.matmul(x, tf.ones([3, 2])), "twice": x * 2.0}, rows),
        negative=(lambda x: {"y": -x}, rows),
    )
    converter = tf.lite.TFLiteConverter.from_saved_model(
        str(folder), signature_keys=["serving_default", "negative"]
    )
    (folder / FILE).write_bytes(converter.convert())
    return folder


@pytest.fixture(scope="module")
def loaded(version: Path) -> TFLiteServable:
    flags = Flags(prefer_tflite_model=True, num_tflite_pools=2, num_tflite_interpreters_per_pool=2)
    return make_loader(flags)("m", 1, version)


def test_the_flag_decides(version: Path, loaded: TFLiteServable, tmp_path: Path) -> None:
    assert isinstance(loaded, TFLiteServable)
    plain = make_loader(Flags())("m", 1, version)
    assert isinstance(plain, SessionServable)
    plain.close()
    without = tmp_path / "1"
    shutil.copytree(version, without, ignore=shutil.ignore_patterns(FILE))
    plain = make_loader(Flags(prefer_tflite_model=True))("m", 1, without)
    assert isinstance(plain, SessionServable)
    plain.close()


@pytest.mark.parametrize("rows", [1, 4, 0])
def test_answers_of_every_signature(loaded: TFLiteServable, rows: int) -> None:
    x = np.arange(rows * 3, dtype=np.float32).reshape(rows, 3)
    found = prepare(loaded, signature_for(loaded, ""), {"x": x}).now()
    np.testing.assert_allclose(found["y"], np.repeat(x.sum(axis=1, keepdims=True), 2, axis=1))
    np.testing.assert_allclose(found["twice"], x * 2)
    negative = prepare(loaded, signature_for(loaded, "negative"), {"x": x}).now()
    np.testing.assert_allclose(negative["y"], -x)


def test_signatures_are_described_as_a_saved_models(loaded: TFLiteServable) -> None:
    definition = loaded.signature_defs["serving_default"]
    assert definition.method_name == "tensorflow/serving/predict"
    assert [dim.size for dim in definition.inputs["x"].tensor_shape.dim] == [-1, 3]
    assert set(definition.outputs) == {"y", "twice"}
    assert '"serving_default"' in loaded.metadata_json
    run = prepare(loaded, signature_for(loaded, ""), {"x": np.ones((1, 3), np.float32)}, ["y"])
    assert run.now().keys() == {"y"}


def test_more_requests_than_interpreters(loaded: TFLiteServable) -> None:
    def ask(value: int) -> float:
        x = np.full((1, 3), value, np.float32)
        found = prepare(loaded, signature_for(loaded, "negative"), {"x": x}).now()
        return float(found["y"][0, 0])

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(ask, range(200))) == [-float(value) for value in range(200)]


@pytest.mark.parametrize("x", [np.ones((2, 4), np.float32), np.ones(3, np.float32)])
def test_shapes_that_do_not_fit(loaded: TFLiteServable, x: np.ndarray) -> None:
    with pytest.raises(ServingError) as caught:
        prepare(loaded, signature_for(loaded, ""), {"x": x}).now()
    assert caught.value.code is Code.INVALID_ARGUMENT
    assert "\n" not in caught.value.message
    good = prepare(loaded, signature_for(loaded, ""), {"x": np.ones((1, 3), np.float32)}).now()
    assert good["y"].tolist() == [[3.0, 3.0]]


def test_a_broken_file_fails_the_load(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"not a model")
    with pytest.raises(ServingError, match="Cannot build a TFLite interpreter") as caught:
        make_loader(Flags(prefer_tflite_model=True))("m", 1, tmp_path)
    assert caught.value.code is Code.INVALID_ARGUMENT


def test_sizes_that_come_and_go(version: Path) -> None:
    """One interpreter, made ready for another size again and again."""
    one = TFLiteServable((version / FILE).read_bytes(), 1)
    for rows in (1, 4, 1, 32, 0, 2, 2, 1):
        x = np.random.default_rng(rows).normal(size=(rows, 3)).astype(np.float32)
        found = prepare(one, signature_for(one, ""), {"x": x}).now()
        np.testing.assert_allclose(found["twice"], x * 2, rtol=1e-6)
        kept = found["twice"].copy()
        prepare(one, signature_for(one, ""), {"x": x + 1}).now()
        np.testing.assert_array_equal(found["twice"], kept)  # not the interpreter's own memory
    one.close()


def test_a_run_that_fails_spoils_no_other(tmp_path: Path) -> None:
    import tensorflow as tf

    from tests.serving import models

    table = np.arange(8, dtype=np.float32).reshape(4, 2)
    rows = {"row": tf.TensorSpec([None], tf.int32)}
    models.save_functions(
        tmp_path / "1", serving_default=(lambda row: {"y": tf.gather(table, row)}, rows)
    )
    converter = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "1"))
    one = TFLiteServable(converter.convert(), 1)

    def ask(*row: int) -> list:
        feeds = {"row": np.array(row, np.int32)}
        return prepare(one, signature_for(one, ""), feeds).now()["y"].tolist()

    assert ask(1) == [[2, 3]]
    for wrong in ((9,), (-5, 1)):
        with pytest.raises(ServingError) as caught:
            ask(*wrong)
        assert caught.value.code is Code.INVALID_ARGUMENT
        assert ask(1) == [[2, 3]]
        assert ask(0, 3) == [[0, 1], [6, 7]]


def test_merged_batches(loaded: TFLiteServable) -> None:
    import asyncio

    from serving.config.batching import Batching
    from serving.server.batching import Batcher
    from serving.server.metrics import Metrics

    parameters = Batching(max_execution_size=8, timeout_seconds=0.05, threads=2)
    loaded.batching, metrics = parameters, Metrics()

    async def ask() -> list:
        batcher = Batcher(parameters, metrics)
        runs = [
            prepare(
                loaded, signature_for(loaded, ""), {"x": np.full((1 + i % 3, 3), i, np.float32)}
            )
            for i in range(12)
        ]
        found = await asyncio.gather(*(batcher.run(run, parameters) for run in runs))
        batcher.stop()
        return found

    for i, found in enumerate(asyncio.run(ask())):
        np.testing.assert_array_equal(found["twice"], np.full((1 + i % 3, 3), 2 * i))


def test_unloading_frees_the_memory(tmp_path: Path) -> None:
    import tensorflow as tf

    from tests.serving import models

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    matrix = tf.constant(np.random.default_rng(0).normal(size=(3000, 3000)), tf.float32)
    rows = {"x": tf.TensorSpec([None, 3000], tf.float32)}
    models.save_functions(
        tmp_path / "1", serving_default=(lambda x: {"y": tf.matmul(x, matrix)}, rows)
    )
    content = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "1")).convert()
    before = resident()
    for _ in range(4):  # 36 MB, and the same again inside XNNPACK
        big = TFLiteServable(content, 1)
        feeds = {"x": np.ones((1, 3000), np.float32)}
        prepare(big, signature_for(big, ""), feeds).now()
        big.close()
    assert resident() - before < 40e6
