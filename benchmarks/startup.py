"""Whole-process seconds of the verbs that should answer at once: `zoo list` and `zoo --help`."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from benchmarks import record
from zoo.cli.output import table

VERBS = (["list"], ["--help"], ["datasets"], ["train", "--help"])


def main(runs: int = 11) -> None:
    rows = []
    for verb in VERBS:
        seconds = []
        for turn in range(runs + 1):
            began = time.perf_counter()
            subprocess.run(
                [sys.executable, "-m", "zoo.cli", *verb], check=True, capture_output=True
            )
            if turn:  # the first one may compile bytecode
                seconds.append(time.perf_counter() - began)
        rows.append(
            {
                "command": "zoo " + " ".join(verb),
                "median": statistics.median(seconds),
                "largest": max(seconds),
            }
        )
    table(("command", "median", "largest"), [row.values() for row in rows])
    print(record.write("startup", rows, unit="seconds", runs=runs))


if __name__ == "__main__":
    main()
