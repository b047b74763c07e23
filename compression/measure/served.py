"""How fast versions answer over gRPC: the embedded server in a process of its own.

Every version is a model of that server; those that need other flags have a server with these.
The client and the server share the machine's cores. Batch 1 is asked by one client that waits for
each answer, batch 32 by as many as there are cores.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from compression.measure import h2load
from compression.measure.speed import FEWEST, ROUNDS, Times, turn
from serving import tensor_proto
from serving.client import messages
from serving.server import background

HOST = "127.0.0.1"
METHOD = "/tensorflow.serving.PredictionService/Predict"
SECONDS = 0.5  # of each version and batch size in each round
FIRST_ANSWERS = 50  # a server finds out by then what it may answer without a thread
TIMEOUT = 60.0  # for one answer
PREFER = "--prefer_tflite_model"
_SERVER = """
import sys
from serving.server import run
from serving.server.flags import parse
from serving.server.loading import set_environment
flags, unknown = parse(sys.argv[2:])
assert not unknown, unknown
set_environment(flags)
run(sys.argv[1], rest_port=0, grpc_port=0, flags=flags)
"""

Inputs = Mapping[int, Mapping[str, np.ndarray]]


class Client:
    """One connection to a server, asking one model the same thing again and again."""

    def __init__(self, port: int, model: str, message: bytes):
        import grpc

        self.port, self.model, self._message = port, model, message
        options = [
            ("grpc.use_local_subchannel_pool", 1),  # else all channels share one connection
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_send_message_length", -1),
        ]
        self._channel = grpc.insecure_channel(f"{HOST}:{port}", options=options)
        self._call = self._channel.unary_unary(METHOD)

    def ask(self) -> bytes:
        """The answer's bytes."""
        return self._call(self._message, timeout=TIMEOUT)

    def close(self) -> None:
        self._channel.close()


@contextmanager
def servers(
    versions: Mapping[str, Path], flags: Mapping[str, Sequence[str]]
) -> Iterator[dict[str, int]]:
    """Servers that serve each version as a model of its name; name → gRPC port.

    Raises:
        StartError: a server did not start.
    """
    groups: dict[tuple[str, ...], list[str]] = {}
    for name in versions:
        wanted = tuple(sorted({PREFER, *flags.get(name, ())}))
        groups.setdefault(wanted, []).append(name)
    with ExitStack() as stack:
        ports = {}
        for wanted, names in groups.items():
            store = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="measured-")))
            for name in names:
                (store / name).mkdir()
                (store / name / "1").symlink_to(versions[name].resolve())
            command = [sys.executable, "-c", _SERVER, str(store), *wanted]
            running = stack.enter_context(background(store, command=command))
            ports.update(dict.fromkeys(names, running.grpc_port))
        yield ports


def over_grpc(
    versions: Mapping[str, Path],
    inputs: Inputs,
    *,
    flags: Mapping[str, Sequence[str]] | None = None,
    expected: Mapping[str, np.ndarray] | None = None,
    rounds: int = ROUNDS,
    seconds: float = SECONDS,
    show: Callable[[str], None] | None = None,
) -> tuple[dict[str, dict[int, Times]], dict[str, float | None]]:
    """Times of requests: version → batch size → rounds, and how far answers were off.

    Args:
        versions: version folders by name.
        inputs: as for `speed.in_process`.
        flags: what servers need besides `--prefer_tflite_model`, by version.
        expected: what each version says in process to the largest batch.
        rounds: how many.
        seconds: of each version and batch size in each round.
        show: gets a line at the beginning.

    Returns:
        Times, and by version the largest difference of an answer from the one in process.
    """
    found = {name: {size: [] for size in inputs} for name in versions}
    off: dict[str, float | None] = dict.fromkeys(versions)
    if show is not None:
        show(f"timing {len(versions)} versions over gRPC with {tool()}, {rounds} rounds")
    with servers(versions, flags or {}) as ports:
        messages_of = {
            name: {size: request(name, given) for size, given in inputs.items()}
            for name in versions
        }
        lengths = {}
        for name in versions:
            for size, message in messages_of[name].items():
                answer = _first(ports[name], name, message)
                lengths[name, size] = len(answer)
            if expected is not None:
                off[name] = float(np.abs(values(answer) - expected[name]).max())
        for number in range(rounds):
            for size in inputs:
                for name in turn(list(versions), number):
                    message = messages_of[name][size]
                    clients = 1 if size == 1 else os.cpu_count() or 1
                    took = _load(ports[name], name, message, lengths[name, size], clients, seconds)
                    found[name][size].append(took)
    return found, off


def tool() -> str:
    """What loads the server: h2load where it is installed, else clients in Python."""
    return "h2load" if h2load.installed() else "grpcio"


def request(model: str, inputs: Mapping[str, np.ndarray]) -> bytes:
    """A PredictRequest of `serving_default` with the values as `tensor_content`."""
    made = messages.PredictRequest()
    made.model_spec.name = model
    for name, array in inputs.items():
        tensor_proto.fill(made.inputs[name], array, as_content=True)
    return made.SerializeToString()


def values(answer: bytes) -> np.ndarray:
    """The one output in a PredictResponse."""
    outputs = messages.PredictResponse.FromString(answer).outputs
    return tensor_proto.to_array(next(iter(outputs.values())))


def _first(port: int, model: str, message: bytes) -> bytes:
    client = Client(port, model, message)
    try:
        for _ in range(FIRST_ANSWERS):
            answer = client.ask()
        return answer
    finally:
        client.close()


def _load(
    port: int, model: str, message: bytes, length: int, clients: int, seconds: float
) -> np.ndarray:
    """Seconds that each request took, divided by the clients that asked at a time.

    So the mean of them is the time between two answers, whatever the number of clients.
    """
    if h2load.installed():
        return h2load.load(HOST, port, METHOD, message, length, clients, seconds) / clients
    return _own_load(port, model, message, clients, seconds) / clients


def _own_load(port: int, model: str, message: bytes, clients: int, seconds: float) -> np.ndarray:
    took: list[list[float]] = [[] for _ in range(clients)]
    failed: list[BaseException] = []

    def loop(mine: list[float]) -> None:
        client = Client(port, model, message)
        try:
            client.ask()  # connects
            now = time.perf_counter()
            end = now + seconds
            while now < end or len(mine) < FEWEST:
                client.ask()
                before, now = now, time.perf_counter()
                mine.append(now - before)
        except BaseException as error:
            failed.append(error)
        finally:
            client.close()

    threads = [threading.Thread(target=loop, args=(mine,)) for mine in took]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    return np.concatenate(took)
