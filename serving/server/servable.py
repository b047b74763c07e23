"""A servable: what a loaded version can do, whatever runs it, and what its signatures take."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from serving import dtypes, tensor_proto
from serving.config.batching import Batching
from serving.server.status import Code, ServingError, invalid

DEFAULT_SIGNATURE = "serving_default"
MAX_SHARED = 64


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of a signature: its tensor in the graph and its element type.

    A signature may name another type than its graph has: REST reads values by the signature, and
    what the graph is fed with must be `fed`.
    """

    tensor: str
    dtype_number: int
    shape: tuple[int | None, ...] | None  # None: unknown rank
    fed: int = 0  # as `dtype_number` where it is not given

    def __post_init__(self) -> None:
        if not self.fed:
            object.__setattr__(self, "fed", self.dtype_number)

    @property
    def dtype(self) -> dtypes.DType | None:
        return dtypes.BY_NUMBER.get(self.dtype_number)


@dataclass(frozen=True)
class Unfit:
    """Stands among feeds for a tensor that no array holds.

    Attributes:
        kind: its element type's name; None for a tensor that is broken.
    """

    kind: str | None
    dtype = np.dtype("V1")  # of no tensor, so that no input takes it


class WrongType(ServingError):
    """Feeds whose names fit and whose element types do not: TensorFlow says this last of all."""


@dataclass
class Signature:
    """A named entry point of a model. Inputs and outputs are in alphabetical order.

    `compiled` belongs to the servable: what it runs, for each set of outputs.
    """

    key: str
    method_name: str
    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]
    defaults: Mapping[str, np.ndarray]
    compiled: dict[tuple[str, ...], Any] = field(default_factory=dict, repr=False, compare=False)


class Servable(ABC):
    """One loaded version of one model. `run` may be called from many threads at once.

    `name` is its model's, `batching` how its requests are merged: None for not at all.

    Args:
        definitions: signature name → SignatureDef.
    """

    name = ""
    batching: Batching | None = None

    def __init__(self, definitions: Mapping[str, Any]):
        self.signature_defs = definitions
        self.signatures = {
            key: _signature(key, definition) for key, definition in definitions.items()
        }
        self._lock = threading.Lock()
        self._shared: dict[str, Signature] = {}

    def compile(  # noqa: B027 - not every kind has something to compile
        self, signature: Signature, outputs: Sequence[str] | None = None
    ) -> None:
        """Do now what the first such `run` would take longer for."""

    @abstractmethod
    def run(
        self,
        signature: Signature,
        feeds: Mapping[str, np.ndarray],
        outputs: Sequence[str] | None = None,
    ) -> dict[str, np.ndarray]:
        """Run one signature.

        Args:
            signature: one of `self.signatures`, or a combination of them.
            feeds: an array for every input, of the input's type (`check_feeds` sees to it).
            outputs: which outputs to compute; all of them by default.

        Raises:
            ServingError, tf.errors.OpError: what the model says about these values.
        """

    def shared(self, signature: Signature) -> Signature:
        """The first signature given under its key: one that was made for a request is kept.

        What was compiled for it is then there for the next. There are as many as requests combine
        signatures in different ways, which a client chooses: past a bound they are forgotten.
        """
        with self._lock:
            if len(self._shared) >= MAX_SHARED and signature.key not in self._shared:
                return signature
            return self._shared.setdefault(signature.key, signature)

    @cached_property
    def metadata_json(self) -> str:
        """The SignatureDefMap in JSON, every field printed."""
        from google.protobuf import json_format
        from tensorflow_serving.apis import get_model_metadata_pb2

        definitions = get_model_metadata_pb2.SignatureDefMap(signature_def=self.signature_defs)
        return json_format.MessageToJson(
            definitions,
            indent=1,
            preserving_proto_field_name=True,
            always_print_fields_with_no_presence=True,
        )

    @abstractmethod
    def close(self) -> None:
        """Free what the model took. No run may be under way, and none may follow."""


def _signature(key: str, definition: Any) -> Signature:
    return Signature(
        key=key,
        method_name=definition.method_name,
        inputs={name: _spec(definition.inputs[name]) for name in sorted(definition.inputs)},
        outputs={name: _spec(definition.outputs[name]) for name in sorted(definition.outputs)},
        defaults={
            name: tensor_proto.to_array(value) for name, value in definition.defaults.items()
        },
    )


def _spec(info: Any) -> TensorSpec:
    shape = None
    if not info.tensor_shape.unknown_rank:
        shape = tuple(dim.size if dim.size >= 0 else None for dim in info.tensor_shape.dim)
    return TensorSpec(info.name, info.dtype, shape)


def check_feeds(signature: Signature, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """`feeds` with defaults filled in, once names and types are known to fit.

    Raises:
        ServingError: INVALID_ARGUMENT with TensorFlow Serving's wording.
    """
    wanted, given = signature.inputs, feeds
    if len(given) > len(wanted) or (len(given) < len(wanted) and not signature.defaults):
        raise invalid(
            f"input size does not match signature: {len(given)}!={len(wanted)} "
            f"len({_braced(given)}) != len({_braced(wanted)}). "
            f"Sent extra: {_braced(given.keys() - wanted.keys())}. "
            f"Missing but required: {_braced(wanted.keys() - given.keys())}."
        )
    complete, fit = {}, True
    for name, spec in wanted.items():
        array = given.get(name)
        if array is None:
            array = signature.defaults.get(name)
        if array is None:
            raise invalid(
                f"Signature input alias: {name}(feed name: {spec.tensor}) not found in request and "
                f"no default value provided. Inputs expected to be in the request {_braced(given)},"
                f" or default input alias set: {','.join(sorted(signature.defaults))}"
            )
        dtype = dtypes.of_array(array)
        if dtype is None or dtype.number != spec.fed:
            if isinstance(array, Unfit) and array.kind is None:
                raise invalid(f"tensor parsing error: {name}")
            fit = False
        elif spec.shape is not None and len(spec.shape) > 2:
            _check_rank(name, spec, array)
        complete[name] = array
    if signature.defaults and not given.keys() <= wanted.keys():
        used = sorted(given.keys() & wanted.keys())
        raise invalid(
            f"Inputs contains invalid name. Used request inputs: {','.join(used)}, "
            f"request input: {','.join(sorted(given))}"
        )
    if not fit:
        raise _wrong_type(signature, complete)
    return complete


def _wrong_type(signature: Signature, feeds: Mapping[str, Any]) -> WrongType:
    """What a session says of feeds that are not all of their inputs' types.

    It numbers its arguments by the names of their tensors, not by those of the inputs.
    """
    kinds = {name: _kind(array) for name, array in feeds.items()}
    if "resource" in kinds.values():
        return WrongType(Code.INVALID_ARGUMENT, _RESOURCE)
    by_tensor = sorted(signature.inputs.items(), key=lambda item: item[1].tensor.encode())
    known = dtypes.BY_NUMBER
    pairs = (
        (known[spec.fed].name if spec.fed in known else "an unsupported type", kinds[name])
        for name, spec in by_tensor
    )
    position, (expected, kind) = next(
        (at, pair) for at, pair in enumerate(pairs) if pair[0] != pair[1]
    )
    return WrongType(
        Code.INVALID_ARGUMENT, f"Expects arg[{position}] to be {expected} but {kind} is provided"
    )


_RESOURCE = (
    "Invalid resource type hash code: 0(name:  type: ). Perhaps a resource tensor was being "
    "provided as a feed? That is not currently allowed. Please file an issue at "
    "https://github.com/tensorflow/tensorflow/issues/new, ideally with a short code snippet that "
    "leads to this error message."
)


def _kind(array: Any) -> str | None:
    if isinstance(array, Unfit):
        return array.kind
    dtype = dtypes.of_array(array)
    return dtype.name if dtype else str(array.dtype)


def _check_rank(name: str, spec: TensorSpec, array: np.ndarray) -> None:
    """Keeps arrays of a wrong rank from convolutions.

    TensorFlow's oneDNN kernels end the whole process on them (`Check failed: index <
    num_total_dims`), where every other kernel, and all that take fewer axes, raise an error. So
    ranks are compared here where a signature has three axes or more, and the rest is left to the
    graph, whose words clients know.
    """
    if array.ndim == len(spec.shape):
        return
    wanted = ",".join("?" if size is None else str(size) for size in spec.shape)
    given = ",".join(map(str, array.shape))
    raise invalid(f"Input {name} has shape [{given}], and the signature takes [{wanted}].")


def _braced(names: Any) -> str:
    return "{" + ",".join(sorted(names)) + "}"
