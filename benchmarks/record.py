"""What every result file says: figures, machine, versions, and the command that made it."""

from __future__ import annotations

import datetime
import json
import os
import platform
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def machine() -> dict[str, Any]:
    """The machine and the versions that a figure belongs to."""
    import keras
    import numpy
    import tensorflow

    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "gpus": [gpu.name for gpu in tensorflow.config.list_physical_devices("GPU")],
        "python": platform.python_version(),
        "tensorflow": tensorflow.__version__,
        "keras": keras.__version__,
        "numpy": numpy.__version__,
        "date": datetime.date.today().isoformat(),
    }


def write(name: str, rows: Sequence[dict[str, Any]], **about: Any) -> Path:
    """Writes `results/NAME.json`; returns its path."""
    command = shlex.join(["python", "-m", *_module(), *sys.argv[1:]])
    path = RESULTS / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    content = {"command": command, "machine": machine(), **about, "rows": list(rows)}
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def read(name: str) -> dict[str, Any]:
    """What `results/NAME.json` holds."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def rows(name: str) -> list[dict[str, Any]]:
    """The rows of `results/NAME.json`; none where nothing is kept yet."""
    try:
        return read(name)["rows"]
    except FileNotFoundError:
        return []


def _module() -> list[str]:
    return [f"benchmarks.{Path(sys.argv[0]).stem}"]


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
