"""`python -m benchmarks.compression`: options, rows, tables, and the kept file."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import compression, record
from benchmarks.compression import tables
from benchmarks.compression.cases import CASES, DISTILLED
from zoo import quiet

NAME = "compression"


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parse(arguments)
    quiet.load_tensorflow()
    from benchmarks.compression import rows as measuring
    from zoo.cli import output

    console = output.errors()
    command = shlex.join(["python", "-m", "benchmarks.compression", *(arguments or sys.argv[1:])])
    found, taught = [], []
    for name in options.models:
        row = measuring.measured(
            CASES[name],
            options.runs,
            console,
            seed=options.seed,
            rounds=options.rounds,
            stack=options.stack,
            with_peers=not options.no_peers,
        )
        found.append(row)
        if name in DISTILLED and options.seeds:
            taught.append(_compare(name, options, console))
        if options.keep:  # row by row: a run that is stopped has measured something
            _keep(found, taught, command)
    _show(found, taught)
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.compression",
        description=compression.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--models", nargs="+", default=list(CASES), choices=list(CASES))
    add("--runs", type=Path, default=Path("runs"), help="trained models; missing ones are trained")
    add("--stack", help="instead of the row's own")
    add("--seed", type=int, default=0, help="of training")
    add("--rounds", type=int, default=11, help="of the interleaved timing")
    add("--seeds", type=int, default=3, help="of distillation beside training from scratch; 0: no")
    add("--no-peers", action="store_true", help="nothing but our versions")
    add("--keep", action="store_true", help=f"write benchmarks/results/{NAME}.json")
    return parser.parse_args(arguments)


def _compare(name: str, options: argparse.Namespace, console: Any) -> dict[str, Any]:
    """The case's student with and without its teacher."""
    from benchmarks.compression.rows import trained
    from compression.distillation import compare

    run = trained(CASES[name], options.runs, options.seed, console)
    found = compare(run, arguments=DISTILLED[name], seeds=options.seeds, console=console)
    return {"name": name, "arguments": DISTILLED[name], **found}


def _keep(found: Sequence[dict[str, Any]], taught: Sequence[dict[str, Any]], command: str) -> Path:
    """Kept rows stay unless there is a new one in their place."""
    kept = _before()
    merged = {row["name"]: row for row in [*kept.get("rows", []), *found]}
    compared = {row["name"]: row for row in [*kept.get("distilled", []), *taught]}
    return record.write(
        NAME,
        [merged[name] for name in CASES if name in merged],
        command=command,
        baseline="float32 model.export() of the same trained model, in the embedded server",
        split="test",
        distilled=[compared[name] for name in CASES if name in compared],
    )


def _before() -> dict[str, Any]:
    try:
        return record.read(NAME)
    except FileNotFoundError:
        return {}


def _show(found: Sequence[dict[str, Any]], taught: Sequence[dict[str, Any]]) -> None:
    from zoo.cli.output import table

    table(tables.COLUMNS, tables.targets(found), "reached (asked for), in process; as served")
    print()
    table(tables.PEER_COLUMNS, tables.versions(found), "every version, in process")
    for row in found:
        for name, reason in row["missing"].items():
            print(f"{row['name']}, {name}: {reason}")
    if taught:
        print()
        table(tables.DISTILLED_COLUMNS, tables.distilled(taught), "students, test split")


if __name__ == "__main__":
    sys.exit(main())
