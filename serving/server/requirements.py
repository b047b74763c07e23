"""Instructions that a version needs of the processor, as its folder states them.

`assets.extra/requirements.json` holds `{"form": NAME, "cpu": [names as in /proc/cpuinfo]}`. A
version without the file needs nothing.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path

from serving.server.status import Code, ServingError, invalid

FILE = Path("assets.extra") / "requirements.json"


@functools.cache
def features(path: str = "/proc/cpuinfo") -> frozenset[str]:
    """Names of the processor's features as the kernel gives them; none where it does not."""
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return frozenset()
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):  # of x86, of ARM
            return frozenset(value.split())
    return frozenset()


def check(version: Path) -> None:
    """Nothing, where this processor can run the version in that folder.

    Raises:
        ServingError: FAILED_PRECONDITION with what it lacks; INVALID_ARGUMENT for a broken file.
    """
    file = version / FILE
    if not file.is_file():
        return
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        form, needed = str(data["form"]), [str(name) for name in data["cpu"]]
    except (ValueError, KeyError, TypeError) as error:
        raise invalid(f"{file} is no list of requirements") from error
    missing = [name for name in needed if name not in features()]
    if missing:
        raise ServingError(
            Code.FAILED_PRECONDITION,
            f"The form {form} needs {' and '.join(missing)}, which this processor does not have",
        )
