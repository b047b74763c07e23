"""Data sets that need the internet: without it, in the middle of it, and what they become."""

from __future__ import annotations

import gzip
import importlib.util
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from tests.zoo.datasets.test_catalog import ONLINE
from zoo import datasets
from zoo.datasets import online
from zoo.datasets.base import SPLITS
from zoo.datasets.catalog import find
from zoo.errors import DataError, MissingExtra, ZooError

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory) -> dict[str, dict]:
    """What `in_a_fresh_process` saw, offline by a proxy that is not there.

    A process of its own, because Keras and urllib look at the environment only once.
    """
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        proxy = f"http://127.0.0.1:{closed.getsockname()[1]}"
    environment = {
        **{key: value for key, value in os.environ.items() if key.lower() != "no_proxy"},
        **dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), proxy),
        "KERAS_HOME": str(tmp_path_factory.mktemp("keras")),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    program = "from tests.zoo.datasets import test_online; test_online.in_a_fresh_process()"
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)  # nothing else may be printed there


def in_a_fresh_process() -> None:
    outcomes = {name: attempt(name) for name in ONLINE}
    folder = Path(os.environ["KERAS_HOME"], "datasets")
    outcomes["files"] = [str(file) for file in folder.rglob("*") if file.is_file()]
    write_fashion(folder / "fashion-mnist")
    outcomes["fashion_mnist, cached"] = attempt("fashion_mnist")
    images = folder / "fashion-mnist/train-images-idx3-ubyte.gz"
    images.write_bytes(images.read_bytes()[:1000])
    outcomes["fashion_mnist, damaged"] = attempt("fashion_mnist")
    print(json.dumps(outcomes))


def attempt(name: str) -> dict:
    start = time.monotonic()
    try:
        dataset = datasets.load(name)
    except ZooError as error:
        seconds = time.monotonic() - start
        return {"error": type(error).__name__, "message": str(error), "seconds": seconds}
    raw = dataset.preprocessing.graph([dataset.raw("test", 9)]).numpy()
    return {
        "sizes": [len(dataset.split(split)) for split in SPLITS],
        "arguments": dataset.model_arguments,
        "label": dataset.label("test", 9),
        "raw is x": np.array_equal(raw[0], dataset.test.x[9]),
    }


def write_fashion(folder: Path) -> None:
    """Files as Keras caches those of Fashion-MNIST, only with fewer images."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    for part, count in (("train", 5100), ("t10k", 60)):
        images = random.integers(0, 256, (count, 28, 28), np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
            content = gzip.compress(header + array.tobytes(), 1)
            (folder / f"{part}-{kind}-ubyte.gz").write_bytes(content)


@pytest.mark.slow
@pytest.mark.parametrize("name", ONLINE)
def test_offline_each_names_the_embedded_default_at_once(name: str, outcomes):
    embedded = "reuters_r8" if name in ("imdb", "reuters") else "mnist"
    assert datasets.describe(embedded).offline
    assert outcomes[name]["error"] == "DataError"
    assert re.fullmatch(
        rf"{name} needs the internet, which cannot be reached \(.+\): "
        rf"use the embedded data set {embedded}\.",
        outcomes[name]["message"],
    )
    assert outcomes[name]["seconds"] < 15


@pytest.mark.slow
def test_offline_no_half_file_is_left(outcomes):
    assert outcomes["files"] == []


@pytest.mark.slow
def test_images_of_keras(outcomes):
    assert outcomes["fashion_mnist, cached"] == {
        "sizes": [100, 5000, 60],
        "arguments": {"input_shape": [28, 28, 1], "num_classes": 10},
        "label": "Ankle boot",
        "raw is x": True,
    }


@pytest.mark.slow
def test_a_damaged_file_in_keras_s_cache(outcomes):
    assert re.match(
        r"fashion_mnist is damaged \(.+\): remove its files in .+ and try again, or use the ",
        outcomes["fashion_mnist, damaged"]["message"],
    )


def test_a_silent_server_is_given_up(monkeypatch):
    monkeypatch.setattr(online, "SILENCE_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        start = time.monotonic()
        with (
            pytest.raises(DataError, match=r"cannot be reached .*timed out"),
            online.network("cifar10", "mnist"),
        ):
            urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url)
        assert time.monotonic() - start < 5
    assert socket.getdefaulttimeout() is None


def test_a_connection_that_ends_half_way():
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf")
            connection.close()

        threading.Thread(target=answer, daemon=True).start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        with (
            pytest.raises(DataError, match=r"cifar10 needs the internet.*\(.*\): use"),
            online.network("cifar10", "mnist"),
        ):
            urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url).read()


def test_other_errors_stay_what_they_are():
    with pytest.raises(KeyError), online.network("cifar10", "mnist"):
        raise KeyError("a mistake in this program")


def test_word_ranks_of_keras_become_texts():
    word_index = {"the": 1, "film": 2, "was": 3, "good": 4}
    sequences = np.array([[1, 2, 3, 4], [4, 4]], dtype=object)
    texts, labels = online.texts_of((sequences, np.array([1, 0])), word_index)
    assert texts == ["the film was good", "good good"]
    assert labels.tolist() == [1, 0]


def test_texts_of_keras_are_split_by_the_common_rules():
    from zoo.datasets.text import text_dataset

    train = ["the film was good"] * 20 + ["the film was bad"] * 20, np.repeat([1, 0], 20)
    test = ["a good film", "not seen before"], np.array([1, 0])
    dataset = text_dataset(find("imdb").info, train, test, online.SENTIMENTS, 8)
    assert [len(dataset.split(name)) for name in ("train", "validation", "test")] == [36, 4, 2]
    assert dataset.preprocessing.vocabulary == ("film", "the", "was", "bad", "good")
    assert dataset.test.x.tolist() == [[1, 6, 2, 0, 0, 0, 0, 0], [1, 1, 1, 0, 0, 0, 0, 0]]
    assert dataset.label("test", 0) == "positive"
    assert dataset.model_arguments == {"vocabulary_size": 7, "max_length": 8, "num_classes": 2}


def test_tensorflow_datasets_is_one_line_if_it_is_missing(monkeypatch):
    # Hidden, so that it holds where it is installed, too.
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"tensorflow-datasets.*\[tfds\]"):
        datasets.load("tfds:mnist")
