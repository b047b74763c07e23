"""Predict, whatever the protocol: find the signature, read the feeds, check them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from serving import tensor_proto
from serving.server.servable import DEFAULT_SIGNATURE, Servable, Signature, check_feeds
from serving.server.status import Code, ServingError, invalid
from serving.server.steps import Run


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
) -> Run:
    """The run of `signature` on `feeds`.

    Args:
        output_filter: names of the outputs to compute; all of them where it is empty.

    Raises:
        ServingError: feeds or filter that do not fit the signature.
    """
    complete = check_feeds(signature, feeds)
    if not output_filter:
        return Run(servable, signature, complete)
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
    wanted = tuple(name for name in signature.outputs if name in seen)
    return Run(servable, signature, complete, wanted)


def tensor_feeds(inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Arrays from a map of TensorProto.

    Raises:
        ServingError: INVALID_ARGUMENT naming the input that does not parse.
    """
    feeds = {}
    for name in inputs:
        try:
            feeds[name] = tensor_proto.to_array(inputs[name])
        except (tensor_proto.BadTensor, MemoryError):
            raise invalid(f"tensor parsing error: {name}") from None
    return feeds
