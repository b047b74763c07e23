"""Rows from rounds, and tables of them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from benchmarks.serving.rounds import Found
from zoo.cli.output import table

Row = dict[str, Any]
KEY = ("model", "batch", "protocol", "connections", "server")

# TensorFlow Serving's rates, requests a second, lowest and highest of several runs, for
# comparison: they belong to the machine that is named, with 4 connections, wrk and h2load.
TENSORFLOW_SERVING_MACHINE = "measured on another two-core machine"
TENSORFLOW_SERVING = {
    ("dense", 1, "REST"): (8470, 10230),
    ("dense", 1, "gRPC"): (11820, 13560),
    ("dense", 32, "REST"): (3460, 3510),
    ("dense", 32, "gRPC"): (6990, 8710),
    ("cnn", 1, "REST"): (2250, 3010),
    ("cnn", 1, "gRPC"): (2630, 3470),
    ("cnn", 32, "REST"): (330, 350),
    ("cnn", 32, "gRPC"): (690, 750),
}
TENSORFLOW_SERVING_CONNECTIONS = 4


def rows(found: Found) -> list[Row]:
    """A row for each case and server: medians over the rounds.

    `of_limit` is the median of each round's share of the best that its sessions reached.
    """
    made = []
    for (target, case), results in found.loads.items():
        limits = [
            rates
            for (model, batch, _), rates in found.limits.items()
            if (model, batch) == (case.model, case.batch)
        ]
        best = [max(rates) for rates in zip(*limits, strict=True)]
        shares = [result.rate / rate for result, rate in zip(results, best, strict=True)]
        made.append(
            {
                "model": case.model,
                "batch": case.batch,
                "protocol": case.protocol,
                "connections": case.connections,
                "server": target.name,
                "tool": found.tools[case.protocol],
                "requests_per_second": round(statistics.median(r.rate for r in results), 1),
                "p50_ms": round(statistics.median(r.p50 for r in results), 3),
                "p99_ms": round(statistics.median(r.p99 for r in results), 3),
                "of_limit": round(statistics.median(shares), 4),
                "rounds": [round(result.rate, 1) for result in results],
            }
        )
    return sorted(made, key=_order)


def limits(found: Found) -> list[Row]:
    """The sessions' own speed: a row for each model, rows in a request and number of threads."""
    return [
        {
            "model": model,
            "batch": batch,
            "threads": threads,
            "calls_per_second": round(statistics.median(rates), 1),
        }
        for (model, batch, threads), rates in found.limits.items()
    ]


def reference() -> dict[str, Any]:
    """TensorFlow Serving's rates, with where they come from."""
    return {
        "machine": TENSORFLOW_SERVING_MACHINE,
        "connections": TENSORFLOW_SERVING_CONNECTIONS,
        "rows": [
            {"model": model, "batch": batch, "protocol": protocol, "requests_per_second": rates}
            for (model, batch, protocol), rates in TENSORFLOW_SERVING.items()
        ],
    }


def merged(kept: Sequence[Row], new: Sequence[Row]) -> list[Row]:
    """Kept rows with new ones in their place: runs of some cases add to those of others."""
    found = {tuple(row[name] for name in KEY): row for row in [*kept, *new]}
    return sorted(found.values(), key=_order)


def show(found_rows: Sequence[Row], found_limits: Sequence[Row]) -> None:
    """Two tables to stdout."""
    table(
        ("model", "batch", "protocol", "connections", "server", "requests/s", "p50 ms", "p99 ms",
         "of limit", "TensorFlow Serving*"),
        [
            [
                *(row[name] for name in KEY),
                f"{row['requests_per_second']:,.0f}",
                f"{row['p50_ms']:.2f}",
                f"{row['p99_ms']:.2f}",
                f"{row['of_limit']:.2f}",
                _reference_of(row),
            ]
            for row in found_rows
        ],
    )  # fmt: skip
    print(f"* requests/s, {TENSORFLOW_SERVING_MACHINE}\n")
    table(
        ("model", "batch", "threads", "calls/s of the session in process"),
        [
            [row["model"], row["batch"], row["threads"], f"{row['calls_per_second']:,.0f}"]
            for row in found_limits
        ],
    )


def _reference_of(row: Row) -> str:
    rates = TENSORFLOW_SERVING.get((row["model"], row["batch"], row["protocol"]))
    if rates is None or row["connections"] != TENSORFLOW_SERVING_CONNECTIONS:
        return ""
    return f"{rates[0]:,}–{rates[1]:,}"


def _order(row: Row) -> tuple:
    # dense before cnn, as everywhere: the lighter one first
    return (row["model"] != "dense", *(row[name] for name in KEY))
