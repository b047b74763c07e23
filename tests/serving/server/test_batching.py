"""Batching: what is merged, what is padded, and that nobody can tell from the answers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from google.protobuf import text_format
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.config import Batching, parse_batching
from serving.config.batching import tolerant_batching
from serving.config.messages import BatchingParameters
from serving.errors import ConfigError
from serving.server.batching import Batcher
from serving.server.metrics import Metrics
from serving.server.servable import Signature
from serving.server.status import ServingError, invalid
from serving.server.steps import Outputs, Run

SIGNATURE = Signature("serving_default", "", {}, {}, {})


@dataclass
class Model:
    """Stands where a servable would: answers the batch's size and each row's sum."""

    batching: Batching
    name: str = "m"
    sizes: list[int] = field(default_factory=list)
    may_run: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.may_run.set()

    def run(self, signature: Signature, feeds: Mapping[str, np.ndarray], outputs: Any) -> Outputs:
        self.may_run.wait(10)
        x = feeds["x"]
        self.sizes.append(len(x))
        if (x < 0).any():
            raise invalid("negative")
        sums = x.sum(axis=tuple(range(1, x.ndim)))
        return {"batch": np.full(len(x), float(len(x))), "y": sums}


def run(model: Model, x: Any) -> Run:
    return Run(model, SIGNATURE, {"x": np.asarray(x, np.float32)})


def gather(
    parameters: Batching, work: Callable[[Batcher, Model], list[Awaitable[Outputs]]]
) -> tuple[list[Any], Model, Metrics]:
    """The results of runs that are asked for at once, exceptions among them."""
    model, metrics = Model(parameters), Metrics()

    async def scenario() -> list[Any]:
        batcher = Batcher(parameters, metrics)
        try:
            return await asyncio.gather(*work(batcher, model), return_exceptions=True)
        finally:
            model.may_run.set()
            batcher.stop()

    return asyncio.run(scenario()), model, metrics


def ask(batcher: Batcher, model: Model, inputs: list[Any]) -> list[Awaitable[Outputs]]:
    return [batcher.run(run(model, x), model.batching) for x in inputs]


def test_concurrent_requests_are_one_run() -> None:
    parameters = Batching(max_batch_size=4, max_execution_size=4, timeout_seconds=0.05, threads=1)
    found, model, metrics = gather(
        parameters, lambda batcher, model: ask(batcher, model, [[1], [2, 3], [4]])
    )
    assert model.sizes == [4]
    assert [result["y"].tolist() for result in found] == [[1], [2, 3], [4]]
    page = metrics.page().decode()
    assert 'model_server_batch_size_sum{model_name="m",signature_name="serving_default"} 4' in page
    assert (
        ':tensorflow:serving:batching_session:queuing_latency_count{thread_pool_name=""} 3'
    ) in page
    assert ":tensorflow:serving:batching_session:wrapped_run_count{} 1" in page


def test_a_lone_request_waits_for_the_timeout_and_no_longer() -> None:
    parameters = Batching(timeout_seconds=0.02)
    found, model, _ = gather(parameters, lambda batcher, model: ask(batcher, model, [[1]]))
    assert found[0]["batch"].tolist() == [1]
    assert model.sizes == [1]


@pytest.mark.parametrize(("rows", "run_with"), [(1, 2), (2, 2), (3, 4), (5, 8)])
def test_padding_to_allowed_sizes_as_recorded(rows: int, run_with: int) -> None:
    parameters = Batching(max_batch_size=8, max_execution_size=8, allowed_sizes=(2, 4, 8))
    found, _, metrics = gather(
        parameters, lambda batcher, model: ask(batcher, model, [range(1, rows + 1)])
    )
    assert found[0]["batch"].tolist() == [run_with] * rows
    assert found[0]["y"].tolist() == list(range(1, rows + 1))
    padding = sum(metrics.batch_padding.state().values())
    assert padding == run_with - rows


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (1.0, "Batching Run() input tensors must have at least one dimension"),
        ([1, 2, 3, 4, 5], "Task size 5 is larger than maximum input batch size 4"),
    ],
)
def test_what_cannot_be_batched_as_recorded(x: Any, message: str) -> None:
    parameters = Batching(max_batch_size=4, max_execution_size=4)
    found, _, _ = gather(parameters, lambda batcher, model: ask(batcher, model, [x]))
    assert (found[0].code.name, found[0].message) == ("INVALID_ARGUMENT", message)


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (np.float32(1), "Batched output tensor has 0 dimensions"),
        (np.zeros(1), "Batched output tensor's 0th dimension does not equal the sum of the 0th"),
    ],
)
def test_outputs_that_cannot_be_split(output: np.ndarray, message: str) -> None:
    class Odd(Model):
        def run(self, *args: Any) -> Outputs:
            return {"y": output}

    async def scenario() -> None:
        parameters = Batching()
        batcher = Batcher(parameters, Metrics())
        with pytest.raises(ServingError, match=message) as caught:
            await batcher.run(run(Odd(parameters), [1, 2]), parameters)
        assert caught.value.code.name == "FAILED_PRECONDITION"
        batcher.stop()

    asyncio.run(scenario())


def test_a_request_that_is_split_fills_up_the_open_batch() -> None:
    parameters = Batching(
        max_batch_size=20, max_execution_size=4, max_enqueued_batches=3, timeout_seconds=0.05,
        threads=1, splits=True,
    )  # fmt: skip
    found, model, _ = gather(
        parameters,
        lambda batcher, model: ask(batcher, model, [[1, 2, 3], [4, 5, 6], list(range(20))]),
    )
    assert model.sizes == [4, 2]
    assert found[1]["y"].tolist() == [4, 5, 6]
    assert (found[2].code.name, found[2].message) == (
        "UNAVAILABLE",
        "The batch scheduling queue to which this task was submitted is full; task size is 20 but "
        "scheduling capacity is only 10 (num_enqueued_batches=1, max_enqueued_batches=3, "
        "open_batch_size=2, max_execution_batch_size=4)",
    )


def test_time_that_is_up_in_the_queue_as_tensorflow_serving_says_it() -> None:
    """A run that a batch has begun with is late in another way."""

    async def scenario() -> None:
        parameters = Batching(timeout_seconds=0.3)
        batcher, asked = Batcher(parameters, Metrics()), run(Model(parameters), [1.0])
        call = SimpleNamespace(batched=asked)
        waits = asyncio.ensure_future(batcher.run(asked, parameters))

        async def late() -> bytes:
            await asyncio.sleep(0.01)
            raise asyncio.TimeoutError

        with pytest.raises(ServingError, match="while waiting in batching queue") as caught:
            await batcher.waiting(late(), call)
        assert caught.value.code.name == "RESOURCE_EXHAUSTED"
        await waits
        with pytest.raises(asyncio.TimeoutError):
            await batcher.waiting(late(), call)
        batcher.stop()

    asyncio.run(scenario())


def test_only_some_ranks_are_padded() -> None:
    parameters = Batching(pad_variable_length=True)
    found, _, _ = gather(
        parameters, lambda batcher, model: ask(batcher, model, [np.zeros((1,) * 7)])
    )
    assert (found[0].code.name, found[0].message) == (
        "INVALID_ARGUMENT",
        "Only tensors with rank from 1 to 6 can be padded.",
    )


def test_a_server_starts_with_parameters_that_no_version_loads_with() -> None:
    text = "max_batch_size { value: 8 } allowed_batch_sizes: 4 allowed_batch_sizes: 2"
    found = tolerant_batching(text_format.Parse(text, BatchingParameters()))
    assert found.fault == (
        "Last entry in allowed_batch_sizes must match max_batch_size; last entry was 2; expected 8"
    )


def test_a_full_queue_turns_requests_away() -> None:
    """As recorded: one batch under way, two in the queue, the rest UNAVAILABLE."""
    parameters = Batching(
        max_batch_size=4, max_execution_size=4, max_enqueued_batches=2, threads=1,
        timeout_seconds=0.02,
    )  # fmt: skip

    def work(batcher: Batcher, model: Model) -> list[Awaitable[Outputs]]:
        model.may_run.clear()
        asyncio.get_running_loop().call_later(0.1, model.may_run.set)
        return ask(batcher, model, [[i] for i in range(40)])

    found, model, _ = gather(parameters, work)
    answers = [result["y"].tolist() for result in found if not isinstance(result, Exception)]
    refused = [result for result in found if isinstance(result, ServingError)]
    assert answers == [[i] for i in range(12)]
    assert model.sizes == [4, 4, 4]
    assert {(error.code.name, error.message) for error in refused} == {
        (
            "UNAVAILABLE",
            "The batch scheduling queue to which this task was submitted is full; currently 2 "
            "batches enqueued and max_enqueued_batches is 2",
        )
    }


def test_requests_do_not_spoil_each_other() -> None:
    """Rows of other shapes, an empty request and one that fails, beside good ones."""
    parameters = Batching(timeout_seconds=0.03, threads=2)
    inputs = [[1], [[1, 2]], [-1], [[3, 4]], np.zeros(0), [5]]
    found, _, _ = gather(parameters, lambda batcher, model: ask(batcher, model, inputs))
    assert [
        result.message if isinstance(result, ServingError) else result["y"].tolist()
        for result in found
    ] == [[1], [3], "negative", [7], [], [5]]


def test_variable_length_padding() -> None:
    parameters = Batching(timeout_seconds=0.03, pad_variable_length=True, threads=1)
    inputs = [[[1, 2, 3]], [[5]], [[1], [2]]]
    found, model, _ = gather(parameters, lambda batcher, model: ask(batcher, model, inputs))
    assert model.sizes == [4]
    # short rows are filled up with their request's first value
    assert [result["y"].tolist() for result in found] == [[6], [15], [3, 4]]


def test_large_requests_are_split() -> None:
    parameters = Batching(max_batch_size=10, max_execution_size=4, threads=1)
    found, model, _ = gather(parameters, lambda batcher, model: ask(batcher, model, [range(10)]))
    assert found[0]["y"].tolist() == list(range(10))
    assert model.sizes == [4, 4, 2]


@settings(max_examples=30)
@given(
    sizes=st.lists(st.integers(0, 9), min_size=1, max_size=12),
    limit=st.integers(1, 8),
    timeout=st.sampled_from([0.0, 0.001]),
    threads=st.integers(1, 3),
)
def test_answers_are_those_without_batching(
    sizes: list[int], limit: int, timeout: float, threads: int
) -> None:
    parameters = Batching(
        max_batch_size=16,
        max_execution_size=limit,
        allowed_sizes=tuple(sorted({max(1, limit // 2), limit})),
        timeout_seconds=timeout,
        threads=threads,
        max_enqueued_batches=1000,
    )
    inputs = [
        np.arange(size * 2, dtype=np.float32).reshape(size, 2) + i for i, size in enumerate(sizes)
    ]
    found, _, _ = gather(parameters, lambda batcher, model: ask(batcher, model, inputs))
    for x, result in zip(inputs, found, strict=True):
        np.testing.assert_array_equal(result["y"], x.sum(axis=1))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_batch_size { value: 8 } allowed_batch_sizes: 4", "last entry was 4; expected 8"),
        ("max_batch_size { value: 0 }", "input_batch_size_limit must be positive; was 0"),
        ("num_batch_threads { value: 0 }", "num_batch_threads must be positive; was 0"),
        (
            "batch_timeout_micros { value: -5 }",
            "batch_timeout_micros must be non-negative; was -5",
        ),
        (
            "enable_large_batch_splitting { value: true } max_enqueued_batches { value: 0 }",
            "max_enqueued_batches must be positive; was 0",
        ),
        (
            "max_batch_size { value: 4 } enable_large_batch_splitting { value: true } "
            "max_execution_batch_size { value: 8 }",
            "greater than or equal to max_execution_batch_size.148",
        ),
        (
            "enable_large_batch_splitting { value: true } max_execution_batch_size { value: 8 } "
            "allowed_batch_sizes: 4",
            "must match max_execution_batch_size; last entry was 4; expected 8",
        ),
    ],
)
def test_parameters_that_contradict(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_batching(text_format.Parse(text, BatchingParameters()))


def test_parameters_and_their_defaults() -> None:
    assert parse_batching(BatchingParameters()) == Batching()
    text = (
        "max_batch_size { value: 64 } batch_timeout_micros { value: 1500 } "
        "max_enqueued_batches { value: 7 } num_batch_threads { value: 3 } "
        "thread_pool_name { value: 'pool' } allowed_batch_sizes: 8 allowed_batch_sizes: 64 "
        "pad_variable_length_inputs: true"
    )
    found = parse_batching(text_format.Parse(text, BatchingParameters()))
    assert found == Batching(64, 0.0015, 7, 3, "pool", (8, 64), True, 64)
    assert [found.padded(rows) for rows in (1, 8, 9, 64)] == [8, 8, 64, 64]
