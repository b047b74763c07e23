"""Classify, Regress and MultiInference beyond the recordings: kinds of features and of outputs."""

from __future__ import annotations

import json
import math
import urllib.error
import urllib.request
from pathlib import Path

import grpc
import numpy as np
import pytest

from serving.server import Running, examples
from serving.server.rest import json_examples
from serving.server.status import ServingError


@pytest.mark.parametrize(
    ("value", "kind", "wanted"),
    [
        ([1, 2, -(1 << 63)], "int64_list", [1, 2, -(1 << 63)]),
        ([True, 3], "int64_list", [1, 3]),
        ([1.5, 1e39, -0.0], "float_list", [1.5, math.inf, -0.0]),
        (1 << 70, "float_list", [float(1 << 70)]),
        (["a", {"b64": "/w=="}, "\udcff"], "bytes_list", [b"a", b"\xff", b"\xff"]),
        ([], None, []),
    ],
)
def test_kinds_of_features(value, kind: str | None, wanted: list) -> None:
    found = json_examples.read_input({"examples": [{"f": value}]})
    feature = found.example_list.examples[0].features.feature["f"]
    assert feature.WhichOneof("kind") == kind
    if kind:
        assert list(getattr(feature, kind).value) == wanted


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"examples": []}, "'examples' value is an empty array"),
        (
            {"examples": [{"f": ["a", 1]}]},
            "Unexpected element type in feature: f expecting type: b",
        ),
        (
            {"examples": [{"f": 1 << 63}]},
            "Feature: f has uint64_t element. Only int64_t is supported.",
        ),
        ({"examples": [{"f": {"b": 1}}]}, "f has element with unexpected JSON type: Object"),
        ({"examples": [{}], "context": 1}, "Example must be JSON object but got JSON Number"),
    ],
)
def test_refused_documents(document: dict, message: str) -> None:
    with pytest.raises(ServingError, match=message):
        json_examples.read_input(document)


def test_labels_and_scores() -> None:
    labels = np.array([[b"cat", b"dog"], [b"dog", b"cat"]], object)
    scores = np.float32([[0.75, 0.25], [0.1, np.nan]])
    both = examples.classes({"classes": labels, "scores": scores}, 2)
    assert both[0] == [(b"cat", 0.75), (b"dog", 0.25)]
    assert examples.classes({"classes": labels}, 2)[1] == [(b"dog", 0.0), (b"cat", 0.0)]
    text = json_examples.classifications(both)
    assert text == (
        b'{\n    "results": [[["cat", 0.75], ["dog", 0.25]], [["dog", 0.1], ["cat", NaN]]\n    ]\n}'
    )


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({"scores": np.zeros(2, np.float32)}, r"\[batch_size num_classes\] but got \[2\]"),
        ({"scores": np.zeros((2, 3))}, "scores Tensor of DT_FLOAT. Got: DT_DOUBLE"),
        ({"scores": np.zeros((3, 3), np.float32)}, "scores output batch size of 2. Got: 3"),
    ],
)
def test_outputs_that_are_no_classes(outputs: dict, message: str) -> None:
    with pytest.raises(ServingError, match=message):
        examples.classes(outputs, 2)


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (np.zeros((2, 2), np.float32), r"\[batch_size, 1\] but got \[2,2\]"),
        (np.zeros(3, np.float32), "did not match output batch size: 2 vs. 3"),
        (np.zeros(2), "DT_FLOAT.  Got: DT_DOUBLE"),
    ],
)
def test_outputs_that_are_no_values(output: np.ndarray, message: str) -> None:
    with pytest.raises(ServingError, match=message):
        examples.values({"outputs": output}, 2)


def test_counter_counts(server: Running) -> None:
    """A TensorFlow 1 model with a state, and signatures that take nothing."""
    from serving.client import messages

    with grpc.insecure_channel(f"localhost:{server.grpc_port}") as channel:
        call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")

        def ask(signature: str) -> float:
            request = messages.PredictRequest()
            request.model_spec.name = "counter"
            request.model_spec.signature_name = signature
            answer = messages.PredictResponse.FromString(call(request.SerializeToString()))
            return answer.outputs["output"].float_val[0]

        names = ("reset_counter", "incr_counter", "incr_counter", "get_counter")
        assert [ask(name) for name in names] == [0.0, 1.0, 2.0, 2.0]
    url = f"http://localhost:{server.rest_port}/v1/models/counter:predict"
    body = json.dumps({"signature_name": "incr_counter_by", "inputs": 2.5}).encode()
    with urllib.request.urlopen(urllib.request.Request(url, body)) as answer:
        assert json.load(answer) == {"outputs": 4.5}


def test_several_signatures_in_one_run(tmp_path: Path) -> None:
    """MultiInference asks the graph once, whichever tensors its signatures share."""
    from serving.server import session
    from tests.serving import models

    loaded = session.load(models.save_half_plus_two(tmp_path / "1"))
    tasks = [
        examples.task(loaded, loaded.signatures[name], method)
        for name, method in (
            ("regress_x_to_y", examples.REGRESS),
            ("classify_x_to_y", examples.CLASSIFY),
            ("regress_x_to_y2", examples.REGRESS),
        )
    ]
    joint = examples.together(tasks)
    assert len(joint.outputs) == 2  # two of the three are one tensor
    example = json_examples.read_input({"examples": [{"x": 1.0}]})
    outputs = loaded.run(joint, {examples.INPUT: examples.serialized(example)})
    parts = [examples.part(task, outputs) for task in tasks]
    assert examples.values(parts[0], 1) == [2.5]
    assert examples.classes(parts[1], 1) == [[(b"", 2.5)]]
    assert examples.values(parts[2], 1) == [3.5]
    other = examples.task(loaded, loaded.signatures["regress_x2_to_y3"], examples.REGRESS)
    with pytest.raises(ServingError, match="must be the same for all"):
        examples.together([*tasks, other])
    for method in (examples.CLASSIFY, examples.REGRESS):
        with pytest.raises(ServingError, match=f"method_name to be {method}"):
            examples.task(loaded, loaded.signatures["serving_default"], method, named=True)
    assert loaded.shared(joint) is loaded.shared(examples.together(tasks))
    loaded.close()


def test_a_feature_of_another_type(server: Running) -> None:
    url = f"http://localhost:{server.rest_port}/v1/models/half_plus_two:classify"
    body = json.dumps({"signature_name": "classify_x_to_y", "examples": [{"x": "y"}]}).encode()
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(urllib.request.Request(url, body))
    assert caught.value.code == 400
    assert "Data types don't match" in json.load(caught.value)["error"]
