"""What this machine's processor can do, and whether that is enough for a form."""

from __future__ import annotations

from collections.abc import Sequence

from compression.errors import UnsupportedCpu
from serving.server.requirements import features

__all__ = ["features", "require"]


def require(needs: Sequence[str], what: str) -> None:
    """Nothing, where the processor has all of `needs`, names of /proc/cpuinfo.

    Raises:
        UnsupportedCpu: with the names that it lacks.
    """
    missing = [name for name in needs if name not in features()]
    if missing:
        raise UnsupportedCpu(
            f"{what} needs {' and '.join(missing)}, which this processor does not have: make it "
            "with force=True for another machine, or take dynamic_range."
        )
