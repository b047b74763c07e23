"""Metrics on their way from one process to another, and the page of all of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from serving.server.metrics import Metrics

States = dict[str, list[list[Any]]]  # a metric's name → [label values, value] of each cell

_FLEETING = "gauge"  # it goes with its process, and what has been counted stays


def states(metrics: Metrics, *, all_kinds: bool) -> States:
    """What a process has counted, as plain JSON.

    The versions are left out: which there are is known of all processes together.

    Args:
        all_kinds: with what is so at this moment (requests in flight).
    """
    return {
        metric.name: [[list(labels), value] for labels, value in metric.state().items()]
        for metric in metrics.all
        if metric is not metrics.versions and (all_kinds or metric.kind != _FLEETING)
    }


def add(metrics: Metrics, told: States) -> None:
    """Add what another process told."""
    metrics.add_state(
        {name: {tuple(labels): value for labels, value in cells} for name, cells in told.items()}
    )


def page(own: Metrics, others: Iterable[States]) -> bytes:
    """The Prometheus page of this process and the others together."""
    total = Metrics()
    total.add_state(own.state())
    for told in others:
        add(total, told)
    return total.page()
