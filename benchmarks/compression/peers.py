"""What others make of the same trained model: Keras, tfmot's tutorial, OpenVINO."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compression.measure import Version, export_plain
from compression.subject import Subject
from serving.server.servable import Servable, Signature
from zoo.errors import ZooError

if TYPE_CHECKING:
    from rich.console import Console

TUTORIAL = "prune:0.8+qat"  # prune, then quantization-aware training that keeps the zeros, TFLite


def versions(
    subject: Subject, plain: Path, folder: Path, console: Console
) -> tuple[list[Version], dict[str, str]]:
    """The peers' versions of a trained model, and why others of them cannot be had.

    Args:
        subject: the trained model.
        plain: its `model.export()`.
        folder: where they are written.
        console: where progress goes.
    """
    makers: dict[str, Callable[[], Version]] = {
        "tfmot tutorial": lambda: _tutorial(subject, folder / "tfmot", console),
        "Keras int8": lambda: _keras_int8(subject, folder / "keras"),
        "OpenVINO float32": lambda: _openvino(plain, folder / "ov32", "f32"),
        "OpenVINO bfloat16": lambda: _openvino(plain, folder / "ov16", "bf16"),
    }
    found, missing = [], {"OpenVINO int8": "quantization needs nncf, which is not installed"}
    for name, make in makers.items():
        console.print(f"peer: {name}", highlight=False)
        try:
            found.append(make())
        except (ZooError, ValueError, RuntimeError, TypeError, ImportError) as error:
            first = str(error).strip().splitlines() or [type(error).__name__]
            missing[name] = first[0][:300]
    return found, missing


def _tutorial(subject: Subject, folder: Path, console: Console) -> Version:
    from compression import stacks
    from compression.publish import publish

    made = stacks.apply(TUTORIAL, subject, console=console)
    return Version("tfmot tutorial", publish(made, folder, "peer"), made.model)


def _keras_int8(subject: Subject, folder: Path) -> Version:
    """Keras's weights and activations in int8, exported by Keras."""
    import keras

    from zoo import registry

    model = registry.build(subject.builder, **subject.arguments)
    model.set_weights(subject.model.get_weights())
    model.quantize("int8")
    if not any(variable.dtype == "int8" for variable in model.weights):
        raise ValueError("Keras quantizes none of its layers")
    keras.backend.clear_session()
    return Version("Keras int8", export_plain(model, folder), subject.model)


class OpenVino(Servable):
    """A model that OpenVINO compiled; one request at a time, as its own latency mode runs it.

    Args:
        compiled: `openvino.CompiledModel`.
        definitions: of the SavedModel that it was converted from.
    """

    def __init__(self, compiled: Any, definitions: Mapping[str, Any]):
        super().__init__(definitions)
        self._request = compiled.create_infer_request()
        self._turn = threading.Lock()
        self._inputs = [self._name(port, definitions) for port in compiled.inputs]

    @staticmethod
    def _name(port: Any, definitions: Mapping[str, Any]) -> str:
        names = definitions["serving_default"].inputs
        given = {name.removeprefix("serving_default_").split(":")[0] for name in port.names}
        return next(iter(given & set(names)), next(iter(names)))

    def run(
        self,
        signature: Signature,
        feeds: Mapping[str, np.ndarray],
        outputs: Sequence[str] | None = None,
    ) -> dict[str, np.ndarray]:
        with self._turn:
            found = self._request.infer([feeds[name] for name in self._inputs], share_inputs=True)
            return dict(zip(signature.outputs, (found[port] for port in found), strict=True))

    def close(self) -> None:
        self._request = None


def _openvino(plain: Path, folder: Path, precision: str) -> Version:
    import openvino

    model = openvino.convert_model(str(plain))
    folder.mkdir(parents=True)
    openvino.save_model(model, folder / "model.xml", compress_to_fp16=precision != "f32")
    hints = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
    compiled = openvino.Core().compile_model(model, "CPU", hints)

    def load() -> Servable:
        return OpenVino(compiled, _definitions(plain))

    name = {"f32": "OpenVINO float32", "bf16": "OpenVINO bfloat16"}[precision]
    return Version(name, folder, load=load)


def _definitions(plain: Path) -> dict[str, Any]:
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel.FromString((plain / "saved_model.pb").read_bytes())
    definitions = saved.meta_graphs[0].signature_def
    return {"serving_default": definitions["serving_default"]}
