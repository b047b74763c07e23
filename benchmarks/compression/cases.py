"""The rows of the benchmark: which model, compressed how, and what must be reached."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Targets:
    """Against plain `model.export()`: at most this size, at least these speeds, at most this drop.

    Attributes:
        gzip: of the model's own files.
        batch_1: how many times as fast at batch 1.
        batch_32: at batch 32.
        drop: accuracy on the test split.
    """

    gzip: float
    batch_1: float
    batch_32: float
    drop: float


@dataclass(frozen=True)
class Case:
    """A row.

    Attributes:
        name: of the row.
        model: registered name.
        stack: what compresses it, see `compression.stacks`.
        targets: what is asked of it.
        arguments: of the builder, over the recipe's.
        epochs: of training where not the recipe's.
    """

    name: str
    model: str
    stack: str
    targets: Targets
    arguments: Mapping[str, Any] = field(default_factory=dict)
    epochs: int | None = None


RECURRENT = Targets(gzip=0.25, batch_1=4, batch_32=2, drop=0.01)
LARGE = Targets(gzip=0.05, batch_1=10, batch_32=5, drop=0.005)

CASES = {
    case.name: case
    for case in (
        Case(
            "dense",
            "dense",
            "prune:0.7@8+cluster:16@2+dynamic_range",
            Targets(gzip=0.05, batch_1=3, batch_32=3, drop=0.005),
        ),
        Case(
            "cnn",
            "cnn",
            "shrink:0.5,conv_1=0.25,conv_2=0.375+distill@10+dynamic_range",
            Targets(gzip=0.04, batch_1=10, batch_32=6, drop=0.003),
        ),
        Case("simple_rnn", "simple_rnn", "dynamic_range", RECURRENT),
        Case("lstm", "lstm", "dynamic_range", RECURRENT),
        Case("gru", "gru", "int4", RECURRENT),
        Case(
            "transformer_classifier",
            "transformer_classifier",
            "shrink:0.25,width=0.75+distill@6+int4_embeddings",
            Targets(gzip=0.06, batch_1=5, batch_32=3, drop=0.005),
        ),
        Case(
            "cnn_large",
            "cnn",
            "shrink:0.5,conv_1=0.25+distill@3+int8",
            LARGE,
            {"filters": (64, 128), "dense_units": 1024},
        ),
        Case(
            "transformer_classifier_large",
            "transformer_classifier",
            "shrink:0.25,width=0.5+distill@4+int4_embeddings",
            LARGE,
            {"width": 128, "num_heads": 4, "feed_forward": 512, "num_blocks": 4},
        ),
    )
}

# Rows whose students are also trained from scratch, each with these builder arguments.
DISTILLED = {
    "dense": {"units": (32, 16)},
    "gru": {"units": 16},
}


def verdicts(targets: Targets, ratios: Mapping[str, float], drop: float) -> dict[str, bool]:
    """Which of the targets these ratios and this drop meet; speed is that in process."""
    return {
        "gzip": ratios["gzip_bytes"] <= targets.gzip,
        "batch_1": ratios["in_process_batch_1"] >= targets.batch_1,
        "batch_32": ratios["in_process_batch_32"] >= targets.batch_32,
        "drop": drop <= targets.drop,
    }
