"""Classify, Regress and MultiInference: tf.Examples in, scored classes or values out.

A signature of theirs takes one string tensor of serialised Examples. Several that take the same
tensor can be answered by one run of the graph, which is what MultiInference is for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from google.protobuf import text_format

from serving import dtypes
from serving.server.servable import DEFAULT_SIGNATURE, Servable, Signature, TensorSpec
from serving.server.status import invalid

CLASSIFY = "tensorflow/serving/classify"
REGRESS = "tensorflow/serving/regress"
INPUT = "inputs"

Classes = list[tuple[bytes, float]]  # label and score of each class of one example


@dataclass(frozen=True)
class Task:
    """One signature to evaluate, as a classification or as a regression."""

    method: str
    signature: Signature
    outputs: tuple[str, ...]


def serialized(message: Any) -> np.ndarray:
    """The Examples of an `Input` message, serialised: object array `(examples,)`.

    A shared context goes before each of them: where a feature is in both, the later one counts.

    Raises:
        ServingError: INVALID_ARGUMENT where there is no example.
    """
    kind = message.WhichOneof("kind")
    examples: Sequence[Any] = getattr(message, kind).examples if kind else ()
    if not examples:
        raise invalid("Input is empty.")
    context = b""
    if kind == "example_list_with_context":
        context = message.example_list_with_context.context.SerializeToString()
    array = np.empty(len(examples), object)
    array[:] = [context + example.SerializeToString() for example in examples]
    return array


def find(servable: Servable, name: str) -> Signature:
    """The signature called `name`, `serving_default` where it is empty.

    Raises:
        ServingError: INVALID_ARGUMENT where there is none; Predict says it in other words.
    """
    signature = servable.signatures.get(name or DEFAULT_SIGNATURE)
    if signature is None:
        raise invalid(f"No signature was found with the name: {name or DEFAULT_SIGNATURE}")
    return signature


def task(servable: Servable, signature: Signature, method: str, *, named: bool = False) -> Task:
    """The evaluation of `signature` by `method`, once the signature is known to suit it.

    Args:
        named: whether the signature must carry the method's name, as well as its tensors.

    Raises:
        ServingError: the signature is of another kind.
    """
    what = "classification" if method == CLASSIFY else "regression"
    if named and signature.method_name != method:
        raise invalid(
            f"Expected {what} signature method_name to be {method}. Was: {signature.method_name}"
        )
    count = len(signature.outputs)
    if len(signature.inputs) != 1:
        raise invalid("Expected one input Tensor.")
    if method == CLASSIFY and count not in (1, 2):
        raise invalid(f"Expected one or two output Tensors, found {count}")
    if method == REGRESS and count != 1:
        raise invalid("Expected one output Tensor.")
    if INPUT not in signature.inputs:
        raise invalid(f"No {what} inputs found in SignatureDef: {_text(servable, signature)}")
    outputs = _classify_outputs if method == CLASSIFY else _regress_outputs
    return Task(method, signature, outputs(servable, signature))


def _classify_outputs(servable: Servable, signature: Signature) -> tuple[str, ...]:
    found = tuple(name for name in ("classes", "scores") if name in signature.outputs)
    if not found:
        raise invalid(
            'Expected classification signature outputs to contain at least one of "classes" or '
            f'"scores". Signature was: {_text(servable, signature)}'
        )
    return found


def _regress_outputs(servable: Servable, signature: Signature) -> tuple[str, ...]:
    if "outputs" not in signature.outputs:
        raise invalid(f"No regression outputs found in SignatureDef: {_text(servable, signature)}")
    return ("outputs",)


def _text(servable: Servable, signature: Signature) -> str:
    return text_format.MessageToString(servable.signature_defs[signature.key])


def check_same_input(first: Task, other: Task) -> None:
    """Raise INVALID_ARGUMENT where the two read different tensors."""
    if other.signature.inputs[INPUT].tensor != first.signature.inputs[INPUT].tensor:
        raise invalid("Input tensor must be the same for all Signatures.")


def together(tasks: Sequence[Task]) -> Signature:
    """A signature that evaluates all `tasks` in one run; its outputs are named by their tensors.

    Raises:
        ServingError: INVALID_ARGUMENT where the tasks read different tensors.
    """
    first = tasks[0].signature.inputs[INPUT]
    outputs: dict[str, TensorSpec] = {}
    for each in tasks:
        check_same_input(tasks[0], each)
        for name in each.outputs:
            spec = each.signature.outputs[name]
            outputs[spec.tensor] = spec
    key = "+".join(each.signature.key for each in tasks)
    return Signature(key, "", {INPUT: first}, outputs, {})


def part(each: Task, outputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The outputs of one task from those of the joint run."""
    return {name: outputs[each.signature.outputs[name].tensor] for name in each.outputs}


# === Results ===


def classes(outputs: Mapping[str, np.ndarray], examples: int) -> list[Classes]:
    """Labels and scores of each example; where a model gives one of them, the other is empty.

    Raises:
        ServingError: INVALID_ARGUMENT for outputs that are not `(examples, classes)`.
    """
    labels, scores = outputs.get("classes"), outputs.get("scores")
    for name, array, dtype in (
        ("classes", labels, dtypes.STRING),
        ("scores", scores, dtypes.FLOAT),
    ):
        if array is None:
            continue
        if array.ndim != 2:
            raise invalid(
                f"Expected Tensor shape: [batch_size num_classes] but got {_shape(array)}"
            )
        _check_type(array, dtype, f"Expected {name} Tensor of DT_{dtype.name.upper()}. Got: ")
        if len(array) != examples:
            raise invalid(f"Expected {name} output batch size of {examples}. Got: {len(array)}")
    if labels is not None and scores is not None and labels.shape != scores.shape:
        raise invalid(
            "Tensors class and score should match in dim_size(1). "
            f"Got {labels.shape[1]} vs. {scores.shape[1]}"
        )
    shape = (labels if scores is None else scores).shape
    names = np.full(shape, b"", object) if labels is None else labels
    values = np.zeros(shape, np.float32) if scores is None else scores
    return [
        list(zip(row, numbers, strict=True))
        for row, numbers in zip(names.tolist(), values.tolist(), strict=True)
    ]


def values(outputs: Mapping[str, np.ndarray], examples: int) -> list[float]:
    """The regression value of each example.

    Raises:
        ServingError: INVALID_ARGUMENT for an output that is not `(examples,)` or `(examples, 1)`.
    """
    array = outputs["outputs"]
    if array.shape[1:] not in ((), (1,)) or array.ndim == 0:
        raise invalid(
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got "
            f"{_shape(array)}"
        )
    if len(array) != examples:
        raise invalid(
            f"Input batch size did not match output batch size: {examples} vs. {len(array)}"
        )
    _check_type(array, dtypes.FLOAT, "Expected output Tensor of DT_FLOAT.  Got: ")
    return array.ravel().tolist()


def _check_type(array: np.ndarray, wanted: dtypes.DType, message: str) -> None:
    found = dtypes.of_array(array)
    if found is not wanted:
        raise invalid(f"{message}DT_{found.name.upper() if found else 'INVALID'}")


def _shape(array: np.ndarray) -> str:
    return "[" + ",".join(map(str, array.shape)) + "]"
