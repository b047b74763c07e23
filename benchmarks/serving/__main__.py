"""`python -m benchmarks.serving`: options, servers, rounds, tables, and the kept file."""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks import record, serving
from benchmarks.serving import models, report, servers, tools
from benchmarks.serving.cases import Case, FailedAnswers, Target
from benchmarks.serving.rounds import Found, measure
from serving.errors import StartError

NAME = "serving"


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parse(arguments)
    with tempfile.TemporaryDirectory(prefix="serving-speed-") as folder:
        store = Path(options.store or folder).resolve()
        config = models.make_store(store, options.models)
        try:
            found = _measure(options, store, config)
        except (FailedAnswers, StartError) as error:
            print(error, file=sys.stderr)
            return 1
    rows, limits = report.rows(found), report.limits(found)
    report.show(rows, limits)
    if options.keep:
        print(_keep(rows, limits, options, sys.argv[1:] if arguments is None else arguments))
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.serving",
        description=serving.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--models", nargs="+", default=models.MODELS, choices=models.MODELS)
    add("--batches", nargs="+", type=int, default=(1, 32), help="rows in a request")
    add("--protocols", nargs="+", default=("REST", "gRPC"), choices=("REST", "gRPC"))
    add("--connections", nargs="+", type=int, default=(1, 4, 16))
    add("--processes", nargs="+", type=int, default=(1,), help="of our server; 0: one a core")
    add("--without-onednn", action="store_true", help="each also with TF_ENABLE_ONEDNN_OPTS=0")
    add("--seconds", type=int, default=3, help="of load for each case and round")
    add("--rounds", type=int, default=5)
    add("--quick", action="store_true", help="one round of a second, 4 connections")
    add("--own-clients", action="store_true", help="no wrk and h2load, though they are there")
    add("--store", help="export into this folder and leave it there, with a models.config")
    add("--rest-port", type=int, help="a server that runs already, measured beside ours")
    add("--grpc-port", type=int)
    add("--keep", action="store_true", help=f"write benchmarks/results/{NAME}.json")
    options = parser.parse_args(arguments)
    if (options.rest_port is None) != (options.grpc_port is None):
        parser.error("--rest-port and --grpc-port belong together")
    if options.quick:
        options.seconds, options.rounds, options.connections = 1, 1, (4,)
    return options


def _measure(options: argparse.Namespace, store: Path, config: Path) -> Found:
    cases = [
        Case(model, batch, protocol, connections)
        for model in options.models
        for batch in options.batches
        for protocol in options.protocols
        for connections in options.connections
    ]
    with ExitStack() as stack:
        targets = []
        for processes in dict.fromkeys(options.processes):
            for onednn in (True, False) if options.without_onednn else (True,):
                started = servers.started(config, processes, onednn=onednn)
                running = stack.enter_context(started)
                targets.append(servers.target(running, processes, onednn=onednn))
        if options.rest_port is not None:
            targets.append(Target("running server", options.rest_port, options.grpc_port))
        return measure(
            targets,
            cases,
            store,
            rounds=options.rounds,
            seconds=options.seconds,
            own_clients=options.own_clients,
        )


def _keep(
    rows: Sequence[report.Row],
    limits: Sequence[report.Row],
    options: argparse.Namespace,
    arguments: Sequence[str],
) -> Path:
    return record.write(
        NAME,
        report.merged(record.rows(NAME), rows),
        command=shlex.join(["python", "-m", "benchmarks.serving", *arguments]),
        unit="requests a second and milliseconds, medians over the rounds",
        weights=f"fresh, seed {models.SEED}",
        seconds=options.seconds,
        tools={name: tools.version(name) for name in ("wrk", "h2load")},
        limits=list(limits),
        tensorflow_serving=report.reference(),
    )


if __name__ == "__main__":
    sys.exit(main())
