"""Whether the server's memory grows: many requests, and versions that are replaced meanwhile.

    python -m benchmarks.soak                                # 200,000 requests, 50 swaps
    python -m benchmarks.soak --requests 5000 --swaps 4      # a look; keeps nothing

One server answers a mixture of REST and gRPC requests for two models; every answer is compared with
the session's. For a swap a new version is copied beside the old one and renamed, and the old one is
removed when the new one is AVAILABLE. The rule: the mean resident memory of all the server's
processes in the last fifth of the time is at most `--bound` per cent above that of the second
fifth. Ends with 1 where it is more, or where a request failed; samples and graph are kept in
`benchmarks/results/soak.json` and `soak.png`.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import record
from benchmarks.serving import memory, models, servers
from benchmarks.serving.cases import HOST, FailedAnswers
from benchmarks.serving.mixture import SHARES, WRONG_SHARE, Mixture
from serving.client import RestClient
from serving.errors import StartError
from zoo.errors import ZooError

REQUESTS, SWAPS = 200_000, 50
BOUND_PERCENT = 5.0
SWAP_SECONDS = 120.0
KEPT_SAMPLES = 120


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parse(arguments)
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        store = Path(folder)
        try:
            mixture, samples = soak(store, options)
        except (FailedAnswers, StartError) as error:
            print(f"failed: {error}", file=sys.stderr)
            return 1
    found = memory.growth(samples, options.bound)
    swaps = samples[-1].swaps
    print(
        f"{mixture.requests:,} requests, {mixture.wrong_requests:,} of them wrong on purpose, "
        f"{swaps} swaps, {samples[-1].seconds:.0f} s, no other failure\n{found}"
    )
    if options.requests >= REQUESTS and options.swaps >= SWAPS:
        print(_keep(mixture, samples, found, options))
    return int(found.grew)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.soak",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--requests", type=int, default=REQUESTS, help="at least so many")
    add("--swaps", type=int, default=SWAPS)
    add("--processes", type=int, default=1, help="of the server; 0: one a core")
    add("--connections", type=int, default=4, help="clients of each protocol")
    add("--bound", type=float, default=BOUND_PERCENT, help="growth that is allowed, per cent")
    return parser.parse_args(arguments)


def soak(store: Path, options: argparse.Namespace) -> tuple[Mixture, list[memory.Sample]]:
    """Load and swaps against one server; returns what was asked, and the memory meanwhile.

    Raises:
        FailedAnswers, StartError: a request or a swap failed, or the server did not start.
    """
    names = list(dict.fromkeys(name for name, _ in SHARES))
    config = models.make_store(store, names)
    questions = models.questions(names, sorted({batch for _, batch in SHARES}))
    loaded = models.sessions(store, names)
    right = {key: models.answer(loaded[key[0]], question) for key, question in questions.items()}
    with servers.started(config, options.processes) as running:
        mixture = Mixture(servers.target(running, options.processes), questions, right)
        swaps = Swaps(store, names, options, running.rest_port, lambda: mixture.requests)
        sampler = memory.Sampler(
            running.process.pid, lambda: (mixture.requests, swaps.done), interval=0.25
        )

        def more() -> bool:
            return mixture.requests < options.requests or swaps.thread.is_alive()

        sampler.begin()
        swaps.thread.start()
        try:
            asyncio.run(mixture.run(options.connections, more))
        finally:
            swaps.stopped.set()
            swaps.thread.join()
            sampler.end()
        if swaps.error is not None:
            raise FailedAnswers(f"swap {swaps.done + 1}: {swaps.error}")
        return mixture, sampler.samples


class Swaps:
    """Replaces one version after the other, spread evenly over the requests."""

    def __init__(
        self,
        store: Path,
        names: Sequence[str],
        options: argparse.Namespace,
        rest_port: int,
        requests: Callable[[], int],
    ):
        self.done = 0
        self.error: Exception | None = None
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._run)
        self._store, self._names, self._options = store, names, options
        self._port, self._requests = rest_port, requests

    def _run(self) -> None:
        apart = self._options.requests / (self._options.swaps + 1)
        try:
            with RestClient(HOST, self._port, timeout=60) as client:
                for index in range(self._options.swaps):
                    while self._requests() < apart * (index + 1) and not self.stopped.is_set():
                        time.sleep(0.02)
                    if self.stopped.is_set():
                        return
                    self._swap(client, self._names[index % len(self._names)])
                    self.done += 1
                    _progress(f"{self._requests():,} requests, {self.done} swaps")
        except (ZooError, OSError, TimeoutError) as error:
            self.error = error

    def _swap(self, client: RestClient, name: str) -> None:
        folder = self._store / name
        old = max(int(entry.name) for entry in folder.iterdir() if entry.name.isdigit())
        staging = folder / ".staging"
        shutil.copytree(folder / str(old), staging)
        staging.rename(folder / str(old + 1))
        self._wait(client, name, old + 1, "AVAILABLE")
        shutil.rmtree(folder / str(old))
        self._wait(client, name, old, "END")

    def _wait(self, client: RestClient, name: str, version: int, wanted: str) -> None:
        deadline = time.monotonic() + SWAP_SECONDS
        while True:
            states = {entry.version: entry.state for entry in client.status(name)}
            if states.get(version) == wanted or self.stopped.is_set():
                return
            if time.monotonic() > deadline:
                raise TimeoutError(f"version {version} of {name} is not {wanted}: {states}")
            time.sleep(0.1)


def _keep(
    mixture: Mixture,
    samples: Sequence[memory.Sample],
    found: memory.Growth,
    options: argparse.Namespace,
) -> Path:
    picture = record.RESULTS / "soak.png"
    picture.write_bytes(graph(samples, found))
    rule = "mean RSS of all processes, last fifth of the time against the second fifth"
    judged: dict[str, Any] = {
        "rule": rule,
        **asdict(found),
        "growth_mib": found.mib,
        "growth_percent": found.percent,
        "grew": found.grew,
    }
    return record.write(
        "soak",
        [asdict(sample) for sample in memory.thinned(samples, KEPT_SAMPLES)],
        requests=mixture.requests,
        wrong_requests=mixture.wrong_requests,
        wrong_share=WRONG_SHARE,
        swaps=samples[-1].swaps,
        processes=options.processes,
        connections=options.connections,
        seconds=round(samples[-1].seconds, 1),
        memory=judged,
    )


def graph(samples: Sequence[memory.Sample], found: memory.Growth) -> bytes:
    """Memory over the requests as PNG; a thin line for each swap, the two means as thick ones."""
    from zoo.pictures import figure, png

    made, ((axis,),) = figure(1, (9, 4))
    requests = [sample.requests for sample in samples]
    axis.plot(requests, [sample.mib for sample in samples], linewidth=1)
    for before, after in itertools.pairwise(samples):
        if after.swaps > before.swaps:
            axis.axvline(after.requests, color="0.85", linewidth=0.8, zorder=0)
    fifth = samples[-1].seconds / 5
    for mean, begin, end in ((found.early_mib, 1, 2), (found.late_mib, 4, 5)):
        part = [s.requests for s in samples if begin * fifth < s.seconds <= end * fifth]
        axis.hlines(mean, part[:1], part[-1:], color="tab:red", linewidth=2)
    axis.set_ylim(0, 1.15 * max(sample.mib for sample in samples))
    axis.set_xlabel("requests; grey: a version was replaced")
    axis.set_ylabel("resident memory, MiB")
    axis.set_title(str(found), fontsize=9)
    return png(made)


def _progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
