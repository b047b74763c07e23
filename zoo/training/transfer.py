"""Transfer learning: begin with the weights of a trained model, and keep some of them.

Layers are copied by name where every weight has the same shape. What gives the outputs is new
where the classes differ. Frozen layers take no gradient, and their BatchNormalization keeps the
statistics that it has (Yosinski et al., "How transferable are features in deep neural networks?",
2014).
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.table import Table

from zoo import datasets, registry
from zoo.errors import InvalidOption, RunError, ShapeError, StoreError
from zoo.export import read_card, store
from zoo.export.card import CARD
from zoo.training.runs import Run

if TYPE_CHECKING:
    import keras

    from zoo.datasets import Dataset

Weights = Mapping[str, Sequence[np.ndarray]]  # layer name → its weights


@dataclass(frozen=True)
class Source:
    """A trained model to begin with: its architecture, its classes, its weights by layer."""

    place: Path
    model: str
    dataset: str
    class_names: tuple[str, ...]
    weights: Weights


def read_source(place: Path | str) -> Source:
    """The trained model of a run folder, a version folder or a model's folder in a store.

    Raises:
        RunError, StoreError: there is none, or it cannot be read.
    """
    place = Path(place)
    if (place / "run.json").is_file():
        return _from_run(Run.open(place))
    if (place / CARD).is_file():
        return _from_version(place)
    if place.is_dir() and place.name and not place.name.startswith("."):
        numbers = [int(entry.name) for entry in place.iterdir() if store.is_version(entry.name)]
        if numbers:
            return _from_version(place / str(max(numbers)))
    raise RunError(
        f"{place} is neither a run folder nor a model or version in a store: --from takes one, as "
        "in runs/cnn/20261122-013000 or store/cnn."
    )


def begin(
    model: keras.Model, name: str, dataset: Dataset, source: Path | str, freeze: Sequence[str]
) -> dict[str, Any]:
    """Copies from a source, then freezes; what `run.json` keeps of both."""
    record = copy(model, name, dataset, read_source(source))
    return {
        "source": str(source),
        "freeze": list(freeze),
        **record,
        "frozen": freeze_layers(model, freeze),
    }


def copy(model: keras.Model, name: str, dataset: Dataset, source: Source) -> dict[str, Any]:
    """Copies what fits of a source into a freshly built model.

    Args:
        model: built as `name`, not compiled.
        name: of the registered builder.
        dataset: that the model will be trained on.
        source: what to begin with.

    Returns:
        `copied` and `new`: names of the layers that have weights.

    Raises:
        InvalidOption: the source has another architecture.
        ShapeError: nothing of it fits.
    """
    if source.model != name:
        raise InvalidOption(
            f"{source.place} holds a {source.model} and not a {name}: --from takes a run or an "
            "export of the same model."
        )
    heads = {tensor._keras_history.operation.name for tensor in model.outputs}
    same_classes = source.class_names == tuple(dataset.task.class_names)
    copied, new = [], []
    for layer in _with_weights(model):
        given = source.weights.get(layer.name, ())
        fits = [w.shape for w in given] == [tuple(w.shape) for w in layer.weights]
        if fits and (same_classes or layer.name not in heads):
            layer.set_weights(given)
            copied.append(layer.name)
        else:
            new.append(layer.name)
    if not copied:
        raise ShapeError(
            f"No layer of the {name} in {source.place} has the shape that {dataset.name} needs: "
            "build it with the arguments of its run by --set."
        )
    return {"copied": copied, "new": new}


def freeze_layers(model: keras.Model, patterns: Sequence[str]) -> list[str]:
    """Makes the layers whose names match not trainable; call it before compilation.

    Args:
        model: to change.
        patterns: shell patterns of layer names, as in `conv*`.

    Returns:
        Names of the frozen layers, those that have weights.

    Raises:
        InvalidOption: a pattern matches no layer with weights, or nothing is left to train.
    """
    layers = _with_weights(model)
    names = [layer.name for layer in layers]
    for pattern in patterns:
        if not fnmatch.filter(names, pattern):
            raise InvalidOption(
                f"The pattern {pattern!r} freezes no layer of {model.name}: choose from "
                f"{_listed(names)}."
            )
    frozen = [
        layer
        for layer in layers
        if any(fnmatch.fnmatchcase(layer.name, pattern) for pattern in patterns)
    ]
    if len(frozen) == len(layers):
        raise InvalidOption(
            f"{', '.join(map(repr, patterns))} freezes every layer of {model.name}, so that "
            "nothing is left to train: freeze fewer."
        )
    for layer in frozen:
        layer.trainable = False
    return [layer.name for layer in frozen]


def show(model: keras.Model, record: Mapping[str, Any], console: Console) -> None:
    """Prints what was copied, frozen and new, as a table."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(f"layer, from {record['source']}")
    table.add_column("parameters", justify="right")
    table.add_column("")
    for layer in _with_weights(model):
        state = "copied" if layer.name in record["copied"] else "new"
        state += ", frozen" if layer.name in record["frozen"] else ""
        table.add_row(layer.name, f"{layer.count_params():,}", state)
    console.print(table, highlight=False)


def _from_run(run: Run) -> Source:
    model = run.load_model()
    task = datasets.load(run.info["dataset"]).task
    weights = {layer.name: layer.get_weights() for layer in _with_weights(model)}
    return Source(run.folder, run.model, run.info["dataset"], tuple(task.class_names), weights)


def _from_version(place: Path) -> Source:
    """Builds the architecture that the card names; its weights lie in the SavedModel in order."""
    card = read_card(place)
    trained, task = card.get("training") or {}, card.get("task") or {}
    if "model" not in trained or "arguments" not in trained:
        raise StoreError(
            f"The model card of {place} names no registered model that it was built as: take the "
            "run folder that it was exported from."
        )
    model = registry.build(trained["model"], **trained["arguments"])
    values = _saved_weights(place)
    if [value.shape for value in values] != [tuple(weight.shape) for weight in model.weights]:
        raise StoreError(
            f"{place} holds other weights than the {trained['model']} that its model card names: "
            "take the run folder that it was exported from."
        )
    model.set_weights(values)
    weights = {layer.name: layer.get_weights() for layer in _with_weights(model)}
    names = tuple(task.get("class_names", ()))
    return Source(place, trained["model"], trained.get("dataset", ""), names, weights)


def _saved_weights(place: Path) -> list[np.ndarray]:
    """The exporter's `module.weights`, in the order of `model.weights`."""
    import tensorflow as tf

    try:
        reader = tf.train.load_checkpoint(str(place / "variables" / "variables"))
        found = []
        while reader.has_tensor(key := f"weights/{len(found)}/.ATTRIBUTES/VARIABLE_VALUE"):
            found.append(reader.get_tensor(key))
    except (OSError, ValueError, tf.errors.OpError) as error:
        raise StoreError(
            f"The weights of {place} cannot be read: {store.reason(error)}."
        ) from error
    return found


def _with_weights(model: keras.Model) -> list[keras.Layer]:
    return [layer for layer in model.layers if layer.weights]


def _listed(names: Sequence[str], most: int = 12) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown}, … ({len(names)} in all)"
