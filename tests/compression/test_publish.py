"""Compressed versions in a store: their files, their cards, and that a server answers the same."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from compression.publish import publish
from compression.quantization import quantize
from compression.subject import Form, Step, Subject
from serving.client import GrpcClient, RestClient
from serving.server import background, requirements
from serving.server.flags import Flags
from serving.server.loading import make_loader
from serving.server.predict import prepare, signature_for
from serving.server.session import SessionServable
from serving.server.status import ServingError
from serving.server.tflite import TFLiteServable
from zoo import datasets, registry
from zoo.errors import InvalidOption, StoreError
from zoo.export import checksum
from zoo.export.card import read_card

WARMUP = "assets.extra/tf_serving_warmup_requests"


@pytest.fixture(scope="module")
def plain() -> Subject:
    dataset = datasets.load("digits")
    model = registry.build("softmax_regression")
    random = np.random.default_rng(0)
    model.set_weights([random.normal(0, 0.2, weight.shape) for weight in model.weights])
    return Subject.of(model, builder="softmax_regression", dataset=dataset)


@pytest.fixture(scope="module")
def quantized(plain: Subject) -> Subject:
    return quantize(plain.then(Step("prune", {"sparsity": 0.5})))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, plain: Subject, quantized: Subject) -> Path:
    """digits/1 as a SavedModel, /2 as TFLite, /3 as both."""
    folder = tmp_path_factory.mktemp("store")
    parent = publish(plain, folder, "digits", metrics={"test": {"accuracy": 0.9}})
    child = dataclasses.replace(quantized, parent=parent)
    publish(child, folder, "digits", measurements={"latency": 1e-3})
    publish(child, folder, "digits", beside=True)
    return folder


def files(version: Path) -> set[str]:
    return {path.relative_to(version).as_posix() for path in version.rglob("*") if path.is_file()}


def load(version: Path, **flags):
    return make_loader(Flags(prefer_tflite_model=True, **flags))("digits", 1, version)


def test_files_of_each_version(store: Path) -> None:
    tflite = {"model.tflite", "model_card.json", WARMUP}
    assert files(store / "digits" / "2") == tflite
    assert files(store / "digits" / "3") >= {*tflite, "saved_model.pb"}
    assert "model.tflite" not in files(store / "digits" / "1")
    for version in "123":
        checksum.verify(store / "digits" / version)


def test_the_card_tells_the_chain(store: Path) -> None:
    card = read_card(store / "digits" / "2")
    told = card["compression"]
    assert [step["technique"] for step in told["chain"]] == ["prune", "dynamic_range"]
    assert told["chain"][0]["options"] == {"sparsity": 0.5}
    assert told["parent"] == {"name": "digits", "version": 1}
    assert told["form"] == "dynamic_range"
    assert told["server_flags"] == ["--prefer_tflite_model"]
    assert told["measurements"] == {"latency": 1e-3}
    assert card["signatures"] == {
        "serving_default": {
            "inputs": {"features": {"dtype": "float32", "shape": [None, 64]}},
            "outputs": {"probabilities": {"dtype": "float32", "shape": [None, 10]}},
        }
    }
    first = read_card(store / "digits" / "1")
    assert first["compression"]["form"] == "savedmodel"
    assert first["metrics"] == {"test": {"accuracy": 0.9}}
    assert first["signatures"]["serving_default"] == card["signatures"]["serving_default"]
    assert first["training"]["model"] == "softmax_regression"


@pytest.mark.parametrize(("version", "kind"), [("1", SessionServable), ("2", TFLiteServable)])
def test_versions_load_and_answer(store: Path, plain: Subject, version: str, kind: type) -> None:
    loaded = load(store / "digits" / version)
    assert isinstance(loaded, kind)
    x = plain.dataset.test.x[:32]
    found = prepare(loaded, signature_for(loaded, ""), {"features": x}).now()["probabilities"]
    np.testing.assert_allclose(found, plain.model.predict(x, verbose=0), atol=0.05)
    loaded.close()


def test_both_in_one_folder_load_either_way(store: Path) -> None:
    for prefer, kind in ((True, TFLiteServable), (False, SessionServable)):
        flags = Flags(prefer_tflite_model=prefer)
        loaded = make_loader(flags)("digits", 3, store / "digits" / "3")
        assert isinstance(loaded, kind)
        loaded.close()


def test_served_answers_are_those_in_process(store: Path, plain: Subject) -> None:
    """Through `zoo serve`, which finds out by itself that it takes TFLite."""
    alone = store / "alone"
    (alone / "digits").mkdir(parents=True)
    (alone / "digits" / "2").symlink_to(store / "digits" / "2")
    command = [sys.executable, "-m", "zoo.cli", "serve", "--store", str(alone)]
    command += ["--rest-port", "0", "--grpc-port", "0", "--host", "localhost"]
    x = plain.dataset.test.x
    loaded = load(store / "digits" / "2")
    with background(alone, command=command) as server:
        clients = (
            RestClient("localhost", server.rest_port),
            GrpcClient("localhost", server.grpc_port),
        )
        for client in clients:
            with pytest.raises(Exception, match="shape"):
                client.predict("digits", {"features": x[:2, :5]})
            for rows in (1, 32, 7):
                batch = {"features": x[:rows]}
                served = client.predict("digits", batch)["probabilities"]
                here = prepare(loaded, signature_for(loaded, ""), batch).now()["probabilities"]
                np.testing.assert_allclose(served, here, atol=1e-6)
        assert "Serving model.tflite where a version has one" in server.log_text()
    loaded.close()


def test_a_saved_model_writes_each_weight_once(tmp_path: Path) -> None:
    """Keras's own export writes each of them twice."""
    model = registry.build("dense")
    subject = Subject.of(model, builder="dense", dataset=datasets.load("digits"))
    ours = publish(dataclasses.replace(subject, dataset=None), tmp_path / "store", "dense")
    model.export(str(tmp_path / "plain"), verbose=False)

    def size(folder: Path) -> int:
        return (folder / "variables" / "variables.data-00000-of-00001").stat().st_size

    weights = 4 * model.count_params()
    assert size(ours) < 1.05 * weights
    assert size(tmp_path / "plain") > 1.95 * weights


def test_what_a_form_needs_goes_with_it(tmp_path: Path, plain: Subject, monkeypatch) -> None:
    made = quantize(plain, form="bfloat16", force=True)
    version = publish(made, tmp_path, "digits")
    assert json.loads((version / requirements.FILE).read_text())["cpu"] == ["avx512f"]
    assert read_card(version)["compression"]["needs"] == ["amx_bf16"]
    checksum.verify(version)
    monkeypatch.setattr(requirements, "features", frozenset)
    with pytest.raises(ServingError, match="bfloat16 needs avx512f"):
        load(version)


def test_a_form_compiled_by_xla(tmp_path: Path, plain: Subject) -> None:
    version = publish(quantize(plain, form="keras_int8"), tmp_path, "digits")
    assert read_card(version)["compression"]["server_flags"] == ["--xla_cpu_compilation_enabled"]
    x = plain.dataset.test.x[:3]
    loaded = load(version)
    found = prepare(loaded, signature_for(loaded, ""), {"features": x}).now()["probabilities"]
    np.testing.assert_allclose(found, plain.model.predict(x, verbose=0), atol=0.05)
    loaded.close()


def test_nothing_is_published_that_cannot_answer(tmp_path: Path, plain: Subject) -> None:
    broken = plain.then(Step("broken"), form=Form("dynamic_range", tflite=b"no model"))
    with pytest.raises(InvalidOption, match="TFLite"):
        publish(broken, tmp_path, "digits")
    with pytest.raises(InvalidOption, match="cannot name"):
        publish(plain, tmp_path, "a/b")
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(StoreError, match="nothing was published"):
        publish(quantize(plain), file, "digits")
    assert not (tmp_path / "digits").exists()
