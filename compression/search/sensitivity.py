"""How much each layer matters: what is lost when it alone is compressed, without fine-tuning."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from compression.errors import NotApplicable
from compression.search.chains import LEVELS
from compression.subject import Subject

if TYPE_CHECKING:
    import keras

    from zoo.datasets import Split

EXAMPLES = 1000  # of the validation split, from the first one on
SPARSITY = 0.8  # of the scan of layers to prune
LOSS = 0.01  # what one unit of loss counts beside one of the metric: tells equal ones apart

Change = Callable[[], Subject]


def shrinkable(subject: Subject) -> list[str]:
    """Names of the groups of units that `shrink` can take from; none for some models."""
    from compression.structured import groups_of

    try:
        groups = groups_of(subject)
    except NotApplicable:
        return []
    return [group.argument if group.residual else group.name for group in groups]


def shrinks(subject: Subject) -> dict[str, Change]:
    """For each group and fraction to keep, such as `hidden=0.5`, how to shrink it alone."""
    from compression.structured import shrink

    return {
        f"{name}={keep:g}": lambda name=name, keep=keep: shrink(
            subject, keep={name: keep}, epochs=0
        )
        for name in shrinkable(subject)
        for keep in LEVELS[:-1]
    }


def prunes(subject: Subject) -> dict[str, Change]:
    """For each layer with weights to prune, how to prune it alone."""
    from compression import masks
    from compression.pruning import prune

    return {
        name: lambda name=name: prune(subject, sparsity=SPARSITY, layers=[name], epochs=0)
        for name in masks.targets(subject.model, ("*",))
    }


def scan(subject: Subject, changes: dict[str, Change]) -> Iterator[tuple[str, dict[str, float]]]:
    """`drop` of the metric, growth of `loss` and `sensitivity` of both, layer after layer."""
    before = _judged(subject, subject.model)
    for name, change in changes.items():
        after = _judged(subject, change().model)
        drop, loss = before["metric"] - after["metric"], after["loss"] - before["loss"]
        yield (
            name,
            {"drop": drop, "loss": loss, "sensitivity": max(drop, 0.0) + LOSS * max(loss, 0.0)},
        )


def _judged(subject: Subject, model: keras.Model) -> dict[str, float]:
    """The task's metric as it is followed in training, and the loss, on a part of validation."""
    import keras

    from zoo.training.objectives import objective_for

    objective = objective_for(subject.dataset.task)
    part = _first(subject.dataset.validation, EXAMPLES)
    judged = keras.Model(model.inputs, model.outputs)
    judged.compile(
        loss=objective.loss(subject.recipe, objective.tokens(part)),
        metrics=objective.metrics(),
        jit_compile=False,
    )
    found: dict[str, Any] = judged.evaluate(
        objective.validation(part, 1), verbose=0, return_dict=True
    )
    return {"metric": float(found[objective.metric]), "loss": float(found["loss"])}


def _first(split: Split, count: int) -> Split:
    from zoo.datasets import Split

    rows = slice(0, count)
    return Split(split.inputs(rows), split.y[rows])
