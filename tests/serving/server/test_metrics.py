"""The metrics page: its format, its bounds, and sums over several processes."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.server import metrics
from serving.server.metrics import Histogram, Metrics, exponential


def _record(found: Metrics, values: list[float]) -> None:
    for value in values:
        found.request_count.increment("m", "OK")
        found.request_latency.record(value, "m", "predict", "REST")
        found.queue_time.record(value, "m", "serving_default")
        found.batch_padding.increment("m", "s", by=int(value))


@given(st.lists(st.lists(st.floats(0, 1e10).map(float), max_size=8), max_size=4))
def test_the_page_of_several_processes_is_that_of_their_sum(parts: list[list[float]]) -> None:
    whole, together = Metrics(), Metrics()
    for part in parts:
        _record(whole, part)
        one = Metrics()
        _record(one, part)
        together.add_state(pickle.loads(pickle.dumps(one.state())))
    ours, theirs = (
        [line for line in page.page().decode().splitlines() if "_sum{" not in line]
        for page in (whole, together)
    )
    assert ours == theirs
    latency = next(iter(whole.request_latency.state().values()), ([], 0.0))[1]
    summed = next(iter(together.request_latency.state().values()), ([], 0.0))[1]
    assert latency == pytest.approx(summed)


def test_a_value_on_a_limit_is_below_it() -> None:
    """Prometheus's `le` is less or equal."""
    found = Histogram("h", (), "", exponential(1, 2, 4))
    for value in (0.5, 1, 1.5, 8, 9):
        found.record(value)
    assert found.lines() == [
        'h_bucket{le="1"} 2',
        'h_bucket{le="2"} 3',
        'h_bucket{le="4"} 3',
        'h_bucket{le="8"} 4',
        'h_bucket{le="+Inf"} 5',
        "h_sum{} 20",
        "h_count{} 5",
    ]


def test_metrics_of_tensorflow_serving_count_as_it_does() -> None:
    """Its buckets hold what is less than their limit."""
    found = Histogram(":tensorflow:h", (), "", exponential(1, 2, 3))
    for value in (0.5, 1, 2, 4):
        found.record(value)
    assert [line.rpartition(" ")[2] for line in found.lines()] == ["1", "2", "3", "4", "7.5", "4"]


def test_labels_are_escaped() -> None:
    found = Metrics()
    found.request_count.increment('a"b\\c\nd\udcff', "OK")
    lines = found.page().decode().splitlines()
    assert (
        ':tensorflow:serving:request_count{model_name="a\\"b\\\\c\\nd\\\\udcff",status="OK"} 1'
    ) in lines


def test_names_that_clients_make_up_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "MAX_CELLS", 10)
    found = Metrics()
    for index in range(100):
        found.request_count.increment(f"model{index}", "NOT_FOUND")
        found.request_latency.record(1.0, f"model{index}", "predict", "REST")
    assert len(found.request_count.state()) == 11
    assert found.request_count.state()[("(other)", "(other)")] == 90
    assert len(found.request_latency.state()) == 11


def test_metrics_without_a_sample() -> None:
    """Those of TensorFlow Serving are named all the same."""
    lines = Metrics().page().decode().splitlines()
    assert "# TYPE :tensorflow:serving:request_count counter" in lines
    assert "# TYPE :tensorflow:serving:request_latency histogram" in lines
    assert all(line.startswith(("# TYPE :tensorflow:", "# HELP :tensorflow:")) for line in lines)
