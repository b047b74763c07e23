"""Clustering: each weight matrix keeps a few different values, so that its file compresses.

16 values are 4 bits a weight after gzip, less where some are frequent. The matrix itself stays
float32: nothing becomes faster.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from compression import bridge, masks
from compression.pruning import check_epochs, skipped, steps_of
from compression.subject import Step, Subject
from compression.tuning import fine_tune
from zoo.errors import InvalidOption

if TYPE_CHECKING:
    import keras
    from rich.console import Console

INITS = ("kmeans++", "linear", "density")
ROUNDS = 20  # of k-means; in one dimension it hardly moves after ten
MOST = 256


def cluster(
    thing: Any,
    *,
    clusters: int = 16,
    layers: Sequence[str] = ("*",),
    init: str = "kmeans++",
    epochs: float = 1,
    learning_rate: float | None = None,
    console: Console | None = None,
    **rest: Any,
) -> Subject:
    """The model with few different values in each weight matrix, fine-tuned.

    Zeros of an earlier `prune` stay zeros, and count as one of the values.

    Args:
        thing: a run, a Subject, or a model of Keras 3 with `builder=`, `arguments=`, `dataset=`.
        clusters: different values of a matrix, 2 to 256.
        layers: shell patterns of layer names.
        init: where the values begin, one of `INITS`.
        epochs: of fine-tuning; a fraction stops early, 0 is k-means alone.
        learning_rate: the first one; default: 0.3 of the recipe's.
        console: where progress goes.

    Returns:
        A subject with `clusters`. Its step's facts: `layers` with the number of values of each
        matrix and what clustered it (`by`), `sparsity`, `fine_tuning`.

    Raises:
        InvalidOption: a value without sense, or a layer pattern that matches nothing.
        BridgeMismatch, ConverterCrashed, TrainingDiverged: from the process that runs tfmot.

    Han, Mao, Dally, "Deep Compression", 2016, section 3.
    """
    subject = Subject.of(thing, **rest)
    bridge.check_model(subject)
    _check(subject, clusters, init, epochs)
    chosen = masks.targets(subject.model, layers)
    options = {
        "clusters": clusters,
        "layers": [layers] if isinstance(layers, str) else list(layers),
        "init": init,
        "epochs": epochs,
        "learning_rate": learning_rate,
    }
    if subject.rebuildable and steps_of(subject, epochs):
        model, facts = _with_tfmot(subject, {**options, "targets": chosen}, console)
    else:
        model, facts = _here(subject, options, chosen, console)
    positions = [position for mine in chosen.values() for position in mine]
    kept = {model.weights[p].path: _values(model.weights[p]) for p in positions}
    return subject.then(
        Step("cluster", options, _facts(model, chosen, facts), skipped(subject.model, chosen)),
        model=model,
        masks=bridge.rekeyed(subject.masks, subject.model, model),
        clusters=kept,
        form=None,
    )


def grouped(
    weight: np.ndarray, clusters: int, init: str, mask: np.ndarray | None = None
) -> tuple[np.ndarray, int]:
    """Which group each weight belongs to, by k-means of the values.

    Args:
        weight: float array of any shape.
        clusters: most groups.
        init: `linear` begins with even steps, all else with even shares of the weights.
        mask: where False, a weight is zero and group 0 is theirs.

    Returns:
        int32 of the weight's shape, and the number of groups.

    Lloyd, "Least squares quantization in PCM", 1982.
    """
    free = np.ones(weight.shape, bool) if mask is None else mask
    first = 0 if mask is None else 1
    values, inverse = np.unique(weight[free], return_inverse=True)
    count = min(clusters - first, len(values))
    index = np.zeros(weight.shape, np.int32)
    if not count:
        return index, max(first, 1)
    numbers = np.bincount(inverse, minlength=len(values)).astype("float64")
    if init == "linear":
        centers = np.linspace(values[0], values[-1], count)
    else:
        shares = np.cumsum(numbers) / numbers.sum()
        centers = values[np.searchsorted(shares, (np.arange(count) + 0.5) / count)].astype(
            "float64"
        )
    for _ in range(ROUNDS):
        nearest = np.searchsorted((centers[1:] + centers[:-1]) / 2, values)
        weights = np.bincount(nearest, numbers, count)
        sums = np.bincount(nearest, numbers * values, count)
        centers = np.sort(np.where(weights > 0, sums / np.maximum(weights, 1), centers))
    nearest = np.searchsorted((centers[1:] + centers[:-1]) / 2, values)
    index[free] = nearest[inverse.reshape(-1)] + first
    return index, count + first


def _check(subject: Subject, clusters: int, init: str, epochs: float) -> None:
    least = 3 if subject.masks else 2  # a value beside zero on either side
    if isinstance(clusters, bool) or not isinstance(clusters, int):
        raise InvalidOption(f"clusters is {clusters!r}: it is a whole number.")
    if not least <= clusters <= MOST:
        raise InvalidOption(f"clusters is {clusters}: it must be from {least} to {MOST}.")
    if init not in INITS:
        raise InvalidOption(f"Unknown init {init!r}: choose {', '.join(INITS)}.")
    check_epochs(epochs)


def _with_tfmot(
    subject: Subject, options: dict[str, Any], console: Console | None
) -> tuple[keras.Model, dict[str, Any]]:
    with bridge.crossing(subject, options) as crossing:
        answer = crossing.run(
            "compression.tfmot.cluster:run", f"Clustering {subject.builder} with tfmot", console
        )
        model = crossing.trained()
    by = {name: f"own k-means: {why}" for name, why in answer["refused"].items()}
    return model, {"by": by, "fine_tuning": answer["fine_tuning"]}


def _here(
    subject: Subject, options: dict[str, Any], chosen: dict[str, list[int]], console: Any
) -> tuple[keras.Model, dict[str, Any]]:
    """The same with Keras 3 alone: k-means, then training that moves each group as one."""
    model = bridge.copied(subject.model)
    held = bridge.rekeyed(subject.masks, subject.model, model)
    groups = {}
    for position in (position for mine in chosen.values() for position in mine):
        variable = model.weights[position]
        mask = held.pop(variable.path, None)
        groups[position] = (
            grouped(np.asarray(variable), options["clusters"], options["init"], mask),
            mask,
        )
    with _together(model, groups):
        trained = fine_tune(
            subject, model, epochs=options["epochs"], masks=held, console=console,
            learning_rate=options["learning_rate"],
        )  # fmt: skip
    why = "no builder makes this model" if trained["steps"] else "no fine-tuning"
    return model, {"by": dict.fromkeys(chosen, f"own k-means: {why}"), "fine_tuning": trained}


@contextmanager
def _together(model: keras.Model, groups: dict[int, Any]) -> Iterator[None]:
    """While it lasts, every update of a variable leaves each group of weights at its mean."""
    import tensorflow as tf

    before = {}
    for position, ((index, count), mask) in groups.items():
        variable = model.weights[position]
        before[position] = variable.constraint
        kept = np.float32(1) if mask is None else mask.astype("float32")

        def gather(value: Any, index: Any = index, count: int = count, kept: Any = kept) -> Any:
            means = tf.math.unsorted_segment_mean(value * kept, index, count)
            return tf.gather(means, index)

        variable.assign(gather(variable.value))
        variable.constraint = gather
    try:
        yield
    finally:
        for position, constraint in before.items():
            model.weights[position].constraint = constraint


def _values(variable: Any) -> int:
    return len(np.unique(np.asarray(variable)))


def _facts(
    model: keras.Model, chosen: dict[str, list[int]], facts: dict[str, Any]
) -> dict[str, Any]:
    table = {
        name: {
            "values": [_values(model.weights[p]) for p in mine],
            "by": facts["by"].get(name, "tfmot"),
        }
        for name, mine in chosen.items()
    }
    arrays = [np.asarray(model.weights[p]) for mine in chosen.values() for p in mine]
    return {
        "layers": table,
        "sparsity": round(masks.zeros(arrays), 4),
        "fine_tuning": facts["fine_tuning"],
    }
