"""Predict, whatever the protocol: find the signature, read the feeds, check them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from serving import tensor_proto
from serving.server.servable import (
    DEFAULT_SIGNATURE,
    Servable,
    Signature,
    Unfit,
    WrongType,
    check_feeds,
)
from serving.server.status import Code, ServingError, invalid
from serving.server.steps import Run

METHODS = tuple(f"tensorflow/serving/{name}" for name in ("predict", "classify", "regress"))


def signature_for(servable: Servable, name: str) -> Signature:
    """The signature called `name`, `serving_default` where it is empty.

    Raises:
        ServingError: FAILED_PRECONDITION where there is none.
    """
    name = name or DEFAULT_SIGNATURE
    signature = servable.signatures.get(name)
    if signature is None:
        raise ServingError(Code.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.')
    return signature


def prepare(
    servable: Servable,
    signature: Signature,
    feeds: Mapping[str, np.ndarray],
    output_filter: Sequence[str] = (),
    *,
    named: bool = False,
) -> Run:
    """The run of `signature` on `feeds`.

    Args:
        output_filter: names of the outputs to compute; all of them where it is empty.
        named: whether the signature must carry the name of a method.

    Raises:
        ServingError: feeds or filter that do not fit the signature.
    """
    if named and signature.method_name not in METHODS:
        raise ServingError(
            Code.INTERNAL,
            f"Expected prediction signature method_name to be one of {{{', '.join(METHODS)}}}. "
            f"Was: {signature.method_name}",
        )
    try:
        complete = check_feeds(signature, feeds)
    except WrongType:
        _filtered(signature, output_filter)  # a wrong filter is told first
        raise
    if not output_filter:
        return Run(servable, signature, complete)
    return Run(servable, signature, complete, _filtered(signature, output_filter))


def _filtered(signature: Signature, output_filter: Sequence[str]) -> tuple[str, ...]:
    seen: set[str] = set()
    for name in output_filter:
        if name not in signature.outputs:
            raise invalid(
                f"output tensor alias not found in signature: {name} Outputs expected to be in the "
                f"set {{{','.join(signature.outputs)}}}."
            )
        if name in seen:
            raise invalid(f"duplicate output tensor alias: {name}")
        seen.add(name)
    # in the signature's order, however they were asked for: that is one callable for all orders
    return tuple(name for name in signature.outputs if name in seen)


def tensor_feeds(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Arrays from a map of TensorProto; an `Unfit` for each that no array holds.

    That is an error only once all the names are known to be right, which `check_feeds` finds out.
    """
    feeds: dict[str, Any] = {}
    for name in inputs:
        try:
            feeds[name] = tensor_proto.to_array(inputs[name])
        except (tensor_proto.BadTensor, MemoryError):
            feeds[name] = Unfit(tensor_proto.foreign_type(inputs[name]))
    return feeds
