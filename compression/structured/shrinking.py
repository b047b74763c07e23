"""Structured pruning: whole units are removed and the builder makes a narrower model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from compression.errors import NotApplicable
from compression.structured.choosing import chosen_groups, how_many
from compression.structured.groups import UNEVEN, Group, find_groups
from compression.structured.refitting import refit_readers
from compression.structured.scores import CRITERIA, score
from compression.structured.slicing import Narrowed, narrow, not_as_built
from compression.structured.widths import widths_of
from compression.subject import Step, Subject
from compression.tuning import check_fit, check_tuning, fine_tune
from zoo.errors import InvalidOption

if TYPE_CHECKING:
    from rich.console import Console

Keep = float | Mapping[str, float | int]
INSTEAD = "prune, cluster, factorize or quantize it instead"


def shrink(
    thing: Any,
    *,
    keep: Keep = 0.5,
    criterion: str = "taylor",
    layers: Sequence[str] = ("*",),
    minimum: int = 1,
    multiple: int = 4,
    refit: bool = True,
    epochs: float | None = None,
    learning_rate: float | None = None,
    console: Console | None = None,
    **rest: Any,
) -> Subject:
    """Removes the units that matter least: channels, dense and recurrent units, attention heads.

    The units of a layer are ranked, the builder is called with smaller widths, the weights of the
    units that stay are copied, and the narrower model is fine-tuned. The result is a plain model
    of the builder, smaller and faster without any special format.

    Args:
        thing: a run, a `Subject`, or a model with `builder`, `arguments` and `dataset` in `rest`.
        keep: the fraction of units to keep, above 0 up to 1; or a fraction (a float) or a number
            of units (an int) for each layer or builder argument by name or pattern, all others
            whole. A width that all blocks share (`width`, `embedding_width`) shrinks only when
            named itself: layer normalisation runs over it, so its removal is an approximation
            that fine-tuning has to mend.
        criterion: `taylor`, `l1` or `random`, see `scores.score`.
        layers: names or patterns of those that may shrink.
        minimum: fewest units to leave in a layer.
        multiple: fractions are rounded to multiples of it where the layer has at least twice as
            many units, for kernels that work on so many at once; not for heads.
        refit: before fine-tuning, let the layers that read the units make up for those that are
            gone, see `refitting.refit`.
        epochs: of fine-tuning; 0 for none. Default: a quarter of the recipe's, 2 or more.
        learning_rate: its first one; default: the recipe's own, since removal leads far away
            from the minimum.
        console: where progress goes.

    Raises:
        InvalidOption: options that make no sense.
        UnknownName: a name or pattern that fits no group of units.
        ShapeError: the data set does not fit the model.
        NotApplicable: the model has no units to remove, is not as its builder makes it, or is
            quantized already.
    """
    subject = Subject.of(thing, **rest)
    epochs = max(2, subject.recipe.epochs / 4) if epochs is None else epochs
    learning_rate = subject.recipe.learning_rate if learning_rate is None else learning_rate
    _check_options(criterion, minimum, multiple)
    check_tuning("shrink", epochs, learning_rate)
    groups = _groups(subject)
    if epochs or refit or criterion == "taylor":
        check_fit(subject)
    asked, skipped = chosen_groups(groups, keep, layers)
    counts = {group.name: how_many(group, amount, minimum, multiple) for group, amount in asked}
    counts = {g.name: counts[g.name] for g, _ in asked if counts[g.name] < len(g.spaces[0])}
    scores = score(subject, criterion) if counts else {}
    kept = {g.name: best(g, counts[g.name], scores) for g, _ in asked if g.name in counts}
    narrowed = narrow(subject.model, subject.builder, subject.arguments, kept)
    masks = {
        narrowed.paths[path]: narrowed.sliced(path, mask)
        for path, mask in subject.with_masks_of(subject.model).items()
    }
    mended = refit_readers(subject, narrowed, masks) if refit else []
    tuned = fine_tune(
        subject,
        narrowed.model,
        epochs=epochs,
        learning_rate=learning_rate,
        masks=masks,
        console=console,
    )
    options = {
        "keep": dict(keep) if isinstance(keep, Mapping) else keep,
        "criterion": criterion,
        "layers": list(layers),
        "minimum": minimum,
        "multiple": multiple,
        "refit": refit,
        "epochs": epochs,
        "learning_rate": learning_rate,
    }
    facts = {
        **_facts(subject, groups, counts, narrowed),
        "refitted": mended,
        "fine_tuning": tuned,
    }
    step = Step("shrink", options, facts, skipped)
    return subject.then(
        step,
        model=narrowed.model,
        arguments=narrowed.arguments,
        masks=masks,
        clusters={} if tuned["steps"] or mended else _renamed(subject.clusters, narrowed),
    )


def groups_of(thing: Any, **rest: Any) -> list[Group]:
    """The groups of units that `shrink` can take from, for a scan layer by layer.

    Raises:
        NotApplicable: as `shrink`.
    """
    return [group for group in _groups(Subject.of(thing, **rest)) if group.obstacle is None]


def best(group: Group, count: int, scores: Mapping[int, float]) -> list[np.ndarray]:
    """The `count` units with the highest scores of each of a group's spaces, in their order."""
    result = []
    for units in group.spaces:
        order = np.argsort([-scores.get(unit, 0.0) for unit in units.tolist()], kind="stable")
        result.append(units[np.sort(order[:count])])
    return result


def _groups(subject: Subject) -> list[Group]:
    """Raises NotApplicable where nothing can be removed."""
    if subject.form is not None:
        raise NotApplicable("The model is quantized already: shrink it before quantize.")
    if not subject.rebuildable:
        raise NotApplicable(
            f"The model is no longer what {subject.builder} builds: shrink it first in the stack, "
            "before factorize."
        )
    if widths_of(subject.builder) is None:
        raise NotApplicable(
            f"Nobody declared which arguments of {subject.builder} are widths: do so with "
            f"compression.structured.declare, or {INSTEAD}."
        )
    groups = find_groups(subject.model, subject.builder, subject.arguments)
    if any(group.obstacle == UNEVEN for group in groups):
        raise not_as_built(subject.builder)
    if not any(group.obstacle is None for group in groups):
        raise NotApplicable(
            f"{subject.builder} has no inner units that could be removed: {INSTEAD}."
        )
    return groups


def _check_options(criterion: str, minimum: int, multiple: int) -> None:
    if criterion not in CRITERIA:
        raise InvalidOption(f"shrink ranks units by {', '.join(CRITERIA)}, not by {criterion!r}.")
    for name, value in (("minimum", minimum), ("multiple", multiple)):
        if not isinstance(value, int) or value < 1:
            raise InvalidOption(f"shrink takes {name} in whole numbers from 1, not {value!r}.")


def _facts(
    subject: Subject,
    groups: Sequence[Group],
    counts: Mapping[str, int],
    narrowed: Narrowed,
) -> dict[str, Any]:
    """Units before and after, parameters before and after, changed arguments."""
    changed = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in narrowed.arguments.items()
        if subject.arguments.get(name) != value
    }
    return {
        "units": {g.name: [g.size, counts[g.name] * g.step] for g in groups if g.name in counts},
        "parameters": [subject.model.count_params(), narrowed.model.count_params()],
        "arguments": changed,
    }


def _renamed(clusters: Mapping[str, int], narrowed: Narrowed) -> dict[str, int]:
    return {narrowed.paths[path]: count for path, count in clusters.items()}
