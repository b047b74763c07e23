"""A TFLite model as a servable: a pool of interpreters, each of which answers one at a time.

LiteRT (`ai_edge_litert`) runs them where it is installed, else the interpreter inside TensorFlow,
which also knows the operations of TensorFlow that LiteRT leaves out.
"""

from __future__ import annotations

import importlib
import queue
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from serving import dtypes
from serving.server.servable import DEFAULT_SIGNATURE, Servable, Signature, TensorSpec
from serving.server.session import give_memory_back
from serving.server.status import Code, ServingError, invalid

FILE = "model.tflite"
PREDICT = "tensorflow/serving/predict"


class TFLiteServable(Servable):
    """A `model.tflite` with its signatures; one that names none is served as `serving_default`.

    Args:
        content: the file's bytes.
        size: how many requests can run at a time; interpreters share the bytes, not their tensors.
    """

    def __init__(self, content: bytes, size: int):
        self._content, self._size = content, max(1, size)
        first = _Interpreter(content)
        super().__init__(first.definitions())
        self._made = 1
        # None stands for one that has failed: whoever takes it makes a new one.
        self._free: queue.SimpleQueue[_Interpreter | None] = queue.SimpleQueue()
        self._free.put(first)

    def run(
        self,
        signature: Signature,
        feeds: Mapping[str, np.ndarray],
        outputs: Sequence[str] | None = None,
    ) -> dict[str, np.ndarray]:
        if signature.key not in self.signatures:
            raise ServingError(
                Code.UNIMPLEMENTED, "A TFLite model answers one signature at a time."
            )
        interpreter = self._take()
        try:
            found = interpreter.run(signature, feeds)
        except BaseException as error:
            self._free.put(interpreter if isinstance(error, _WrongShapeError) else None)
            raise
        self._free.put(interpreter)
        names = outputs if outputs is not None else signature.outputs
        return {name: found[name] for name in names}

    def _take(self) -> _Interpreter:
        """A free interpreter: made where there may be one more, else waited for."""
        try:
            interpreter = self._free.get_nowait()
        except queue.Empty:
            with self._lock:
                may_make = self._made < self._size
                self._made += may_make
            interpreter = None if may_make else self._free.get()
        return interpreter or self._new()

    def _new(self) -> _Interpreter:
        try:
            return _Interpreter(self._content)
        except BaseException:
            self._free.put(None)  # the next request tries again
            raise

    def close(self) -> None:
        while not self._free.empty():
            self._free.get()
        self._content = b""
        give_memory_back()


class _WrongShapeError(ServingError):
    """Arrays that do not fit a signature: the interpreter has not seen them."""


class _Entry:
    """One signature of an interpreter, or all of it where it has none.

    Attributes:
        subgraph: its number.
        inputs, outputs: name → index of the tensor.
        shapes: of the inputs it is ready for; None before the first run.
    """

    __slots__ = ("inputs", "outputs", "shapes", "subgraph")

    def __init__(self, subgraph: int, inputs: Mapping[str, int], outputs: Mapping[str, int]):
        self.subgraph, self.shapes = subgraph, None
        self.inputs = tuple(sorted(inputs.items()))
        self.outputs = tuple(sorted(outputs.items()))


class _Interpreter:
    """One interpreter. Not for two threads at a time, and not to be used after an error.

    Its C++ object is called without the classes around it: a signature runner resizes and plans
    at each call, which takes longer than a small model (8 µs against 3).
    """

    def __init__(self, content: bytes):
        try:
            self._interpreter = _interpreter_class()(model_content=content, num_threads=1)
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise invalid(f"Cannot build a TFLite interpreter: {_first_line(error)}") from error
        self._calls = self._interpreter._interpreter
        self._entries = {
            name: _Entry(
                self._calls.GetSubgraphIndexFromSignature(name), found["inputs"], found["outputs"]
            )
            for name, found in self._interpreter._get_full_signature_list().items()
        } or {DEFAULT_SIGNATURE: self._whole()}

    def _whole(self) -> _Entry:
        details = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        inputs, outputs = ({item["name"]: item["index"] for item in items} for items in details)
        return _Entry(0, inputs, outputs)

    def definitions(self) -> dict[str, Any]:
        """Signature name → SignatureDef, as a SavedModel would have them."""
        return {
            name: _definition(
                self._details(entry, entry.inputs), self._details(entry, entry.outputs)
            )
            for name, entry in self._entries.items()
        }

    def _details(self, entry: _Entry, tensors: Sequence[tuple[str, int]]) -> dict[str, dict]:
        described = self._interpreter._get_tensor_details
        return {name: described(index, entry.subgraph) for name, index in tensors}

    def run(self, signature: Signature, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """All outputs of a signature, as arrays of their own.

        Raises:
            ServingError: INVALID_ARGUMENT where the model does not take arrays of this shape.
        """
        entry, calls = self._entries[signature.key], self._calls
        graph = entry.subgraph
        shapes = [feeds[name].shape for name, _ in entry.inputs]
        if shapes != entry.shapes:
            for name, spec in signature.inputs.items():
                _check_shape(name, spec, feeds[name])
        try:
            if shapes != entry.shapes:
                for (_, index), shape in zip(entry.inputs, shapes, strict=True):
                    calls.ResizeInputTensor(index, np.array(shape, np.int32), False, graph)
                calls.AllocateTensors(graph)
                entry.shapes = shapes
            for name, index in entry.inputs:
                calls.SetTensor(index, feeds[name], graph)
            calls.Invoke(graph)
            return {name: calls.GetTensor(index, graph) for name, index in entry.outputs}
        except (ValueError, RuntimeError) as error:
            raise invalid(f"The TFLite model cannot run this: {_first_line(error)}") from error


def _interpreter_class() -> type:
    try:
        return importlib.import_module("ai_edge_litert.interpreter").Interpreter
    except ImportError:
        import tensorflow as tf

        # That LiteRT should be used instead: it was looked for.
        warnings.filterwarnings("ignore", r"\s*Warning: tf.lite.Interpreter is deprecated")
        return tf.lite.Interpreter


def _check_shape(name: str, spec: TensorSpec, array: np.ndarray) -> None:
    """Keep other shapes from the model: it is resized to whatever comes, and may run all the same.

    Only the batch may be of another size than the file says.
    """
    if not spec.shape:  # a scalar, or any rank: the file does not tell which
        return
    fits = array.ndim == len(spec.shape) and all(
        size is None or size == given
        for size, given in zip(spec.shape[1:], array.shape[1:], strict=True)
    )
    if not fits:
        wanted = ",".join("?" if size is None else str(size) for size in spec.shape)
        given = ",".join(map(str, array.shape))
        raise _WrongShapeError(
            Code.INVALID_ARGUMENT,
            f"Input {name} has shape [{given}], and the signature takes [{wanted}].",
        )


def _definition(inputs: Mapping[str, dict], outputs: Mapping[str, dict]) -> Any:
    from tensorflow.core.protobuf import meta_graph_pb2

    definition = meta_graph_pb2.SignatureDef(method_name=PREDICT)
    for details, infos in ((inputs, definition.inputs), (outputs, definition.outputs)):
        for name, detail in details.items():
            info = infos[name]
            info.name = detail["name"]
            info.dtype = _dtype(detail["dtype"]).number
            info.tensor_shape.SetInParent()
            sizes = detail.get("shape_signature")
            for size in detail["shape"] if sizes is None or not len(sizes) else sizes:
                info.tensor_shape.dim.add(size=int(size))
    return definition


def _dtype(kind: Any) -> dtypes.DType:
    found = dtypes.of_array(np.empty(0, kind))
    if found is None:
        raise invalid(f"Cannot serve a TFLite model with tensors of {np.dtype(kind)}.")
    return found


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]


def load(path: Path, size: int) -> TFLiteServable:
    """Load `model.tflite` of the version in `path`.

    Raises:
        ServingError: the file is broken.
        OSError: it cannot be read.
    """
    return TFLiteServable((path / FILE).read_bytes(), size)
