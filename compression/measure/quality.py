"""How well a version answers: the task's metric with its interval, agreement with the parent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from serving.server.servable import DEFAULT_SIGNATURE, Servable
from zoo.errors import InvalidOption

if TYPE_CHECKING:
    from zoo.datasets import Dataset

BATCH = 256
TOKEN_BATCH = 32  # logits are vocabulary times as large
RESAMPLES = 1000  # of the bootstrap
Z = 1.96  # of a normal distribution's 95 %


@dataclass(frozen=True)
class Answers:
    """What a version says about a split.

    Attributes:
        metrics: of the task; the main one is `name`.
        name: `accuracy`, or `r2` of a regression.
        value: of the main metric.
        interval: half-width of its 95 % interval.
        predicted: int class or token numbers; None for a regression.
        right: bool of `predicted`'s length, whether each is.
    """

    name: str
    value: float
    interval: float
    metrics: Mapping[str, float]
    predicted: np.ndarray | None = field(default=None, repr=False)
    right: np.ndarray | None = field(default=None, repr=False)

    def to_json(self, split: str) -> dict[str, Any]:
        return {
            "metric": self.name,
            "value": self.value,
            "interval": self.interval,
            "split": split,
            "all": dict(self.metrics),
        }


def feeds(servable: Servable, dataset: Dataset, split: str, rows: Any) -> dict[str, np.ndarray]:
    """Some examples as the inputs of `serving_default`.

    Raises:
        InvalidOption: the version takes other inputs than the data set holds.
    """
    wanted = servable.signatures[DEFAULT_SIGNATURE].inputs
    given = dataset.split(split).inputs(rows)
    if not isinstance(given, Mapping):
        given = {next(iter(wanted)): given} if len(wanted) == 1 else {"": given}
    if given.keys() != wanted.keys():
        raise InvalidOption(
            f"The version takes {', '.join(wanted)}, but {dataset.name} holds "
            f"{', '.join(name or 'one array' for name in given)}."
        )
    types = {name: spec.dtype.numpy if spec.dtype else None for name, spec in wanted.items()}
    return {name: np.ascontiguousarray(array, types[name]) for name, array in given.items()}


def output_of(found: Mapping[str, np.ndarray]) -> np.ndarray:
    """The one output of `serving_default`, whatever its name."""
    return next(iter(found.values()))


def answers(
    servable: Servable, dataset: Dataset, split: str = "test", limit: int | None = None
) -> Answers:
    """Asks a loaded version every example of a split.

    Batches are all of one size, which XLA and TFLite prepare once: the last one is filled up.

    Args:
        servable: as the embedded server loaded it.
        dataset: what it was trained on.
        split: whose examples.
        limit: only so many of them, from the first one on.
    """
    examples = dataset.split(split)
    count = len(examples) if limit is None else min(limit, len(examples))
    token_task = dataset.task.predicts_tokens
    batch = min(TOKEN_BATCH if token_task else BATCH, count)
    signature = servable.signatures[DEFAULT_SIGNATURE]
    outputs = []
    for start in range(0, count, batch):
        rows = np.minimum(np.arange(start, start + batch), count - 1)
        given = feeds(servable, dataset, split, rows)
        found = output_of(servable.run(signature, given))[: count - start]
        outputs.append(_tokens(found, examples.y[rows[: len(found)]]) if token_task else found)
    if token_task:
        return _of_tokens(outputs)
    return _of_examples(dataset, examples.y[:count], np.concatenate(outputs))


def _of_examples(dataset: Dataset, targets: np.ndarray, outputs: np.ndarray) -> Answers:
    from zoo.training import evaluation

    found = evaluation.metrics(dataset.task, targets, outputs)
    if dataset.task.kind == "regression":
        return Answers("r2", found["r2"], _bootstrap_r2(targets, outputs), found)
    predicted = evaluation.predicted(dataset.task, outputs)
    right = predicted == evaluation.classes(dataset.task, targets)
    return Answers(
        "accuracy", found["accuracy"], found["accuracy_interval"], found, predicted, right
    )


def _tokens(logits: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Predicted tokens, which are right, and the summed loss in nats, where there is a target."""
    there = targets != 0
    kept, truth = logits[:, : targets.shape[1]][there].astype("float64"), targets[there]
    largest = kept.max(axis=-1)
    total = largest + np.log(np.exp(kept - largest[:, None]).sum(axis=-1))
    loss = float((total - kept[np.arange(len(truth)), truth]).sum())
    predicted = kept.argmax(axis=-1)
    return predicted, predicted == truth, loss


def _of_tokens(parts: list[tuple[np.ndarray, np.ndarray, float]]) -> Answers:
    predicted = np.concatenate([part[0] for part in parts])
    right = np.concatenate([part[1] for part in parts])
    value, loss = float(right.mean()), sum(part[2] for part in parts) / len(right)
    interval = Z * float(np.sqrt(value * (1 - value) / len(right)))
    found = {
        "accuracy": value,
        "accuracy_interval": interval,
        "loss": loss,
        "perplexity": float(np.exp(loss)),
    }
    return Answers("accuracy", value, interval, found, predicted, right)


def _bootstrap_r2(targets: np.ndarray, outputs: np.ndarray) -> float:
    """Half-width of the 95 % interval over resampled examples, the same ones each time."""
    from sklearn.metrics import r2_score

    rng = np.random.default_rng(0)
    drawn = [rng.integers(len(targets), size=len(targets)) for _ in range(RESAMPLES)]
    found = [r2_score(targets[rows], outputs[rows]) for rows in drawn]
    low, high = np.percentile(found, (2.5, 97.5))
    return float(high - low) / 2


def against(parent: Answers, other: Answers) -> dict[str, float | None]:
    """What changed from the parent: `drop` with its 95 % interval, and `agreement`.

    The interval is that of paired answers: examples that both get right or both wrong say nothing
    about a difference, so it is far narrower than either accuracy's own. A regression has neither.
    """
    found: dict[str, float | None] = {"drop": parent.value - other.value}
    if parent.predicted is None or other.predicted is None:
        return {**found, "drop_interval": None, "agreement": None}
    change = parent.right.astype("float64") - other.right
    width = Z * float(change.std() / np.sqrt(len(change)))
    agreement = float(np.mean(parent.predicted == other.predicted))
    return {**found, "drop_interval": width, "agreement": agreement}
