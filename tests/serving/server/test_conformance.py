"""The recorded answers of TensorFlow Serving, request by request.

Status codes and payloads must be equal, and error texts too, but for white space and for what a
TensorFlow process numbers anew each time (traced functions, debug markers).
"""

from __future__ import annotations

import base64
import http.client
import json
import math
import re
from pathlib import Path
from typing import Any

import grpc
import pytest

from serving.server import Running

DATA = Path(__file__).parents[1] / "data"
# Their answers depend on what was asked before, or on time.
UNSTABLE = {"deadline_tiny", "counter_get", "counter_incr", "counter_default",
            "counter_get_instances", "counter_get_instances_obj"}  # fmt: skip


def _cases(name: str) -> list[dict]:
    return [json.loads(line) for line in (DATA / name).read_text().splitlines()]


def _rest_cases() -> list:
    return [
        pytest.param(case, id=case["name"])
        for case in _cases("rest.jsonl")
        if case["name"] not in UNSTABLE
    ]


def _grpc_cases() -> list:
    return [
        pytest.param(case, id=case["name"])
        for case in _cases("grpc.jsonl")
        if case["name"] not in UNSTABLE
    ]


def _clean(text: str | None) -> str:
    text = re.sub(r"goo\.gle/debug\w+|(?<=__inference_<lambda>_)\d+", "", text or "")
    # Where two operations fail side by side, either may be the one that is reported.
    text = re.sub(r"\{\{node (add|sub)\}\}", "", text)
    return re.sub(r"\s+", "", text)


def _same(got: Any, wanted: Any) -> bool:
    if isinstance(wanted, dict):
        return (
            isinstance(got, dict)
            and got.keys() == wanted.keys()
            and all(_same(got[key], wanted[key]) for key in wanted)
        )
    if isinstance(wanted, list):
        return isinstance(got, list) and len(got) == len(wanted) and all(map(_same, got, wanted))
    if isinstance(wanted, float) and type(got) is float:
        both_nan = math.isnan(got) and math.isnan(wanted)
        return both_nan or got == wanted or math.isclose(got, wanted, rel_tol=1e-6)
    return type(got) is type(wanted) and got == wanted


def _bytes(body: Any) -> bytes | None:
    if isinstance(body, dict):
        return base64.b64decode(body["b64"])
    return None if body is None else body.encode()


@pytest.mark.parametrize("case", _rest_cases())
def test_rest(server: Running, case: dict) -> None:
    connection = http.client.HTTPConnection("localhost", server.rest_port, timeout=30)
    connection.request(
        case["method"], case["path"], body=_bytes(case["body"]), headers=case["headers"]
    )
    response = connection.getresponse()
    body, wanted = response.read(), _bytes(case["answer"])
    connection.close()

    assert response.status == case["status"], body
    for name, value in case["answer_headers"].items():
        assert response.getheader(name) == value
    if not wanted or not wanted.startswith(b"{"):
        assert body == wanted
        return
    got_json = json.loads(body.decode("utf-8", "surrogateescape"))
    wanted_json = json.loads(wanted.decode("utf-8", "surrogateescape"))
    if "error" in wanted_json:
        assert got_json.keys() == {"error"}
        assert _clean(got_json["error"]) == _clean(wanted_json["error"])
    else:
        assert _same(got_json, wanted_json), body


@pytest.mark.parametrize("case", _grpc_cases())
def test_grpc(server: Running, case: dict) -> None:
    from tensorflow_serving.apis import (
        classification_pb2,
        get_model_metadata_pb2,
        get_model_status_pb2,
        inference_pb2,
        predict_pb2,
        regression_pb2,
    )

    method = f"/tensorflow.serving.{case['service']}/{case['method']}"
    with grpc.insecure_channel(f"localhost:{server.grpc_port}") as channel:
        try:
            answer = channel.unary_unary(method)(base64.b64decode(case["request_b64"]), timeout=30)
            code, details = "OK", ""
        except grpc.RpcError as error:
            answer, code, details = b"", error.code().name, error.details()

    assert code == case["code"], details
    assert _clean(details) == _clean(case["details"])
    if case["response_b64"] is None:
        return
    wanted = base64.b64decode(case["response_b64"])
    if case["method"] == "GetModelMetadata":  # the order of a map inside an Any is not stable
        kind = get_model_metadata_pb2.GetModelMetadataResponse
        got, expected = kind.FromString(answer), kind.FromString(wanted)
        assert got.model_spec == expected.model_spec
        maps = [
            get_model_metadata_pb2.SignatureDefMap.FromString(m.metadata["signature_def"].value)
            for m in (got, expected)
        ]
        assert maps[0] == maps[1]
        return
    kind = {
        "Classify": classification_pb2.ClassificationResponse,
        "MultiInference": inference_pb2.MultiInferenceResponse,
        "Predict": predict_pb2.PredictResponse,
        "Regress": regression_pb2.RegressionResponse,
        "GetModelStatus": get_model_status_pb2.GetModelStatusResponse,
    }[case["method"]]
    assert kind.FromString(answer) == kind.FromString(wanted)
