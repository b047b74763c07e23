"""Pruning: the smallest weights become zeros while the model is fine-tuned.

Zeros compress well (gzip of a model pruned to 80 % is 0.3 to 0.5 of the original) and speed up
nothing: dense kernels multiply them like any number. What has to be faster needs `shrink`.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from compression import bridge, masks
from compression.subject import Step, Subject
from compression.tuning import fine_tune
from zoo.errors import InvalidOption

if TYPE_CHECKING:
    import keras
    from rich.console import Console

SCHEDULES = ("polynomial", "constant")
STAGES = 4  # of growing sparsity where there is no tfmot
SPARSITY = 0.8


def prune(
    thing: Any,
    *,
    sparsity: float | None = None,
    schedule: str = "polynomial",
    pattern: str = "unstructured",
    layers: Sequence[str] | Mapping[str, float] = ("*",),
    epochs: float = 2,
    learning_rate: float | None = None,
    console: Console | None = None,
    **rest: Any,
) -> Subject:
    """The model with part of its weights at zero, fine-tuned with its recipe's data.

    Args:
        thing: a run, a Subject, or a model of Keras 3 with `builder=`, `arguments=`, `dataset=`.
        sparsity: share of each chosen weight matrix that becomes zero; default 0.8. 2:4 is 0.5.
        schedule: `polynomial` lets it grow from half of that over 60 % of the steps, `constant`
            begins with all of it.
        pattern: `unstructured`; `2:4`, two of every four along the inputs; `block:RxC`, whole
            blocks of R inputs and C outputs.
        layers: shell patterns of layer names; or pattern → sparsity, of which the last one that
            matches a layer counts.
        epochs: of fine-tuning; a fraction stops early, 0 masks without any.
        learning_rate: the first one; default: the recipe's. Most of the function is gone with the
            weights, so the others have to move further than in other fine-tuning.
        console: where progress goes.

    Returns:
        A subject with `masks`. Its step's facts: `sparsity` of the chosen matrices together,
        `layers` with the sparsity of each and what pruned it (`by`), `fine_tuning`.

    Raises:
        InvalidOption: a value without sense, or a layer pattern that matches nothing.
        BridgeMismatch, ConverterCrashed, TrainingDiverged: from the process that runs tfmot.

    Zhu, Gupta, "To prune, or not to prune", 2017; 2:4: Mishra et al., "Accelerating Sparse Deep
    Neural Networks", 2021.
    """
    subject = Subject.of(thing, **rest)
    bridge.check_model(subject)
    wanted = masks.parse(pattern)
    sparsity = _checked(sparsity, schedule, wanted, epochs)
    chosen = masks.targets(subject.model, layers)
    options = {
        "sparsity": sparsity,
        "schedule": schedule,
        "pattern": pattern,
        "layers": _listed(layers),
        "epochs": epochs,
        "learning_rate": learning_rate or _rate(subject),
    }
    shares = _sparsities(chosen, layers, sparsity, wanted)
    work = {**options, "targets": chosen, "sparsities": shares}
    way = _with_tfmot if subject.rebuildable and steps_of(subject, epochs) else _here
    model, found, facts = way(subject, work, console)
    kept = bridge.rekeyed(subject.masks, subject.model, model)
    kept |= {model.weights[position].path: mask for position, mask in found.items()}
    return subject.then(
        Step("prune", options, _facts(model, chosen, facts), skipped(subject.model, chosen)),
        model=model,
        masks=kept,
        clusters={},  # fine-tuning has made their values different again
        form=None,
    )


def _checked(sparsity: float | None, schedule: str, pattern: masks.Pattern, epochs: float) -> float:
    if pattern.two_of_four:
        if sparsity not in (None, 0.5):
            raise InvalidOption(f"sparsity is {sparsity}: the pattern 2:4 is 0.5, leave it out.")
        sparsity = 0.5
    sparsity = SPARSITY if sparsity is None else sparsity
    check_sparsity(sparsity)
    if schedule not in SCHEDULES:
        raise InvalidOption(f"Unknown schedule {schedule!r}: choose {' or '.join(SCHEDULES)}.")
    check_epochs(epochs)
    return float(sparsity)


def _listed(layers: Any) -> Any:
    """The option as JSON has it."""
    if isinstance(layers, str | Mapping):
        return [layers] if isinstance(layers, str) else dict(layers)
    return list(layers)


def _sparsities(
    chosen: Mapping[str, list[int]], layers: Any, sparsity: float, pattern: masks.Pattern
) -> dict[str, float]:
    """Layer → its share of zeros."""
    if not isinstance(layers, Mapping):
        return dict.fromkeys(chosen, sparsity)
    if pattern.two_of_four:
        raise InvalidOption("The pattern 2:4 is 0.5 in every layer: give layers as a list.")
    found = {}
    for name in chosen:
        found[name] = next(s for p, s in reversed(layers.items()) if fnmatch.fnmatch(name, p))
        check_sparsity(found[name])
    return found


def check_sparsity(sparsity: Any) -> None:
    """Raises InvalidOption unless it is a share of weights that leaves some."""
    if not isinstance(sparsity, int | float) or not 0 < sparsity < 1:
        raise InvalidOption(f"sparsity is {sparsity}: it is a share above 0 and below 1.")


def _rate(subject: Subject) -> float:
    """The recipe's rate; tf_keras lacks Muon, and Adam stands a smaller one."""
    recipe = subject.recipe
    return recipe.learning_rate * (0.3 if recipe.optimizer == "muon" else 1.0)


def check_epochs(epochs: float) -> None:
    """Raises InvalidOption unless it is a number of epochs."""
    if not isinstance(epochs, int | float) or not 0 <= epochs < float("inf"):
        raise InvalidOption(f"epochs is {epochs}: it must be 0 or more.")


def steps_of(subject: Subject, epochs: float) -> int:
    """Training steps of so many epochs of fine-tuning; none of a small part of one."""
    count = len(subject.dataset.train)
    return round(epochs * (count // min(subject.recipe.batch_size, count)))


def _with_tfmot(
    subject: Subject, options: dict[str, Any], console: Console | None
) -> tuple[keras.Model, dict[int, np.ndarray], dict[str, Any]]:
    """Model, position of a variable → mask, and facts, from a child process."""
    axes = {
        p: _axis(subject.model.weights[p]) for mine in options["targets"].values() for p in mine
    }
    with bridge.crossing(subject, {**options, "axes": axes}) as crossing:
        answer = crossing.run(
            "compression.tfmot.prune:run", f"Pruning {subject.builder} with tfmot", console
        )
        model = crossing.trained()
        with np.load(crossing.folder / "found_masks.npz") as file:
            found = {int(name): file[name] for name in file}
    by = {name: f"own mask: {why}" for name, why in answer["refused"].items()}
    return model, found, {"by": by, "fine_tuning": answer["fine_tuning"]}


def _here(
    subject: Subject, options: dict[str, Any], console: Console | None
) -> tuple[keras.Model, dict[int, np.ndarray], dict[str, Any]]:
    """The same with Keras 3 alone: masks of our own, in stages of growing sparsity."""
    model, pattern = bridge.copied(subject.model), masks.parse(options["pattern"])
    held = bridge.rekeyed(subject.masks, subject.model, model)
    chosen, sparsities = options["targets"], options["sparsities"]
    shares = {p: sparsities[name] for name, mine in chosen.items() for p in mine}
    growing = options["schedule"] == "polynomial" and options["epochs"]
    stages = STAGES if growing else 1
    facts: dict[str, Any] = {"epochs": 0, "steps": 0, "loss": None}
    for stage in range(1, stages + 1):
        # tfmot's polynomial: cubic, from half of the sparsity.
        growth = 1 - 0.5 * (1 - stage / stages) ** 3
        found = {}
        for position, share in shares.items():
            variable = model.weights[position]
            mask = masks.make(np.asarray(variable), pattern, share * growth, _axis(variable))
            found[position] = mask & held.get(variable.path, True)
            variable.assign(np.where(found[position], np.asarray(variable), 0.0))
        now = held | {model.weights[p].path: mask for p, mask in found.items()}
        trained = fine_tune(
            subject, model, epochs=options["epochs"] / stages, masks=now, console=console,
            learning_rate=options["learning_rate"],
        )  # fmt: skip
        facts["epochs"] += trained["epochs"]
        facts["steps"] += trained["steps"]
        facts["loss"] = trained["loss"]
    why = "no builder makes this model" if facts["steps"] else "no fine-tuning"
    by = dict.fromkeys(chosen, f"own mask: {why}")
    return model, found, {"by": by, "fine_tuning": facts}


def _axis(variable: Any) -> int:
    return masks.input_axis(variable.path, len(variable.shape))


def _facts(
    model: keras.Model, chosen: dict[str, list[int]], facts: dict[str, Any]
) -> dict[str, Any]:
    arrays = {name: [np.asarray(model.weights[p]) for p in mine] for name, mine in chosen.items()}
    table = {
        name: {"sparsity": round(masks.zeros(mine), 4), "by": facts["by"].get(name, "tfmot")}
        for name, mine in arrays.items()
    }
    together = masks.zeros([array for mine in arrays.values() for array in mine])
    return {
        "sparsity": round(together, 4),
        "of_all_weights": round(masks.zeros([np.asarray(w) for w in model.weights]), 4),
        "layers": table,
        "fine_tuning": facts["fine_tuning"],
    }


def skipped(model: keras.Model, chosen: dict[str, list[int]]) -> dict[str, str]:
    """Layers with weights of two axes or more that were left alone, with the reason."""
    found = {}
    for layer in model.layers:
        large = any(len(weight.shape) > 1 for weight in layer.trainable_weights)
        if layer.name in chosen or not large:
            continue
        matrices = layer.name in masks.with_matrices(model)
        found[layer.name] = "not among the chosen layers" if matrices else "no weight matrix"
    return found
