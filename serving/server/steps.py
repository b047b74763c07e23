"""A request as steps: what a handler does itself, and the runs of a model that it asks for.

A handler is a generator. It reads its request, yields each `Run` it needs, is sent the outputs and
returns the answer. So the same handler runs straight through on one thread, or waits for a batch
without a thread of its own.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from serving.server.servable import Servable, Signature

Outputs = dict[str, np.ndarray]


@dataclass(slots=True)
class Run:
    """One run of a signature, on feeds that fit it.

    `outputs` names what to compute; None for all.
    """

    servable: Servable
    signature: Signature
    feeds: Mapping[str, np.ndarray]
    outputs: Sequence[str] | None = None

    def ready(self) -> None:
        """Compile what this run needs, where it is the first of its kind."""
        self.servable.compile(self.signature, self.outputs)

    def now(self) -> Outputs:
        """Run on this thread."""
        return self.servable.run(self.signature, self.feeds, self.outputs)


Steps: TypeAlias = Generator[Run, Outputs, bytes]
