"""A functional model as a Mermaid flowchart, with the layers of a block drawn as one box.

Layers whose names begin alike up to a number and go on after it (`block_2_inner`, `block_2_outer`)
are one block; blocks that follow each other with equal layers and weights are one box.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

BLOCK = re.compile(r"((?:[a-z]+_\d+)(?:_[a-z]+_\d+)*)_.+")


@dataclass
class _Box:
    """A layer, a block, or several equal blocks in a row."""

    name: str
    layers: list[Any] = field(default_factory=list)
    sources: set[str] = field(default_factory=set)  # names of boxes
    shape: tuple[int | None, ...] = ()
    last: str = ""  # name of the last of several blocks
    count: int = 1

    @property
    def contents(self) -> tuple:
        """What makes blocks equal."""
        return tuple(
            (type(layer).__name__, tuple(tuple(w.shape) for w in layer.weights))
            for layer in self.layers
        )


def mermaid(model: keras.Model) -> str:
    """The flowchart of a model's layers with output shapes and parameters, as Mermaid text."""
    boxes = _folded(_boxes(model))
    names = {box.name: f"n{number}" for number, box in enumerate(boxes.values())}
    lines = ["flowchart TD"]
    for box in boxes.values():
        lines.append(f'  {names[box.name]}["{_label(box)}"]')
    for box in boxes.values():
        for source in sorted(box.sources, key=list(boxes).index):
            lines.append(f"  {names[source]} --> {names[box.name]}")
    return "\n".join(lines)


def _boxes(model: keras.Model) -> dict[str, _Box]:
    """Blocks and single layers in the model's order, with the boxes that feed them.

    Bare operations, such as an index, are no layers: they stand for the layers that feed them.
    """
    boxes: dict[str, _Box] = {}
    homes: dict[str, set[str]] = {}  # name of a layer or operation → names of boxes
    layers = {layer.name: layer for layer in model.layers}
    configs = model.get_config()["layers"]
    for name in (config["name"] for config in configs if config["name"] in layers):
        found = BLOCK.fullmatch(name)
        home = found[1] if found else name
        homes[name] = {home}
        boxes.setdefault(home, _Box(home)).layers.append(layers[name])
    for config in configs:
        inputs = list(_inputs(config["inbound_nodes"]))
        sources = set().union(*(homes[source] for source, _ in inputs))
        if config["name"] not in layers:
            homes[config["name"]] = sources
            continue
        (home,) = homes[config["name"]]
        boxes[home].sources |= sources - {home}
        for source, shape in inputs:
            if source in layers:
                boxes[next(iter(homes[source]))].shape = tuple(shape)
    for tensor in model.outputs:
        (home,) = homes[tensor._keras_history.operation.name]
        boxes[home].shape = tuple(tensor.shape)
    return boxes


def _inputs(value: Any) -> Iterator[tuple[str, list[int | None]]]:
    """Names of the layers whose tensors a call takes, with the tensors' shapes."""
    if isinstance(value, dict):
        if value.get("class_name") == "__keras_tensor__":
            yield value["config"]["keras_history"][0], value["config"]["shape"]
            return
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _inputs(item)


def _folded(boxes: dict[str, _Box]) -> dict[str, _Box]:
    """Joins each block to the one before it where that is its equal and feeds it."""
    kept: dict[str, _Box] = {}
    moved: dict[str, str] = {}
    for box in boxes.values():
        box.sources = {moved.get(source, source) for source in box.sources}
        equal = [
            kept[source]
            for source in box.sources
            if source in kept
            and len(box.layers) > 1
            and kept[source].contents == box.contents
            and box.sources - {source} <= kept[source].sources
        ]
        if not equal:
            kept[box.name] = box
            continue
        first = equal[0]
        first.count, first.last, first.shape = first.count + 1, box.name, box.shape
        moved[box.name] = first.name
    for box in kept.values():
        box.sources = {moved.get(source, source) for source in box.sources} - {box.name}
    return kept


def _label(box: _Box) -> str:
    shape = " × ".join("?" if size is None else f"{size:,}" for size in box.shape[1:])
    parameters = sum(layer.count_params() for layer in box.layers) * box.count
    name = box.name if box.count == 1 else f"{box.name} … {box.last}"
    lines = [f"<b>{name}</b>"]
    kinds = Counter(type(layer).__name__ for layer in box.layers)
    kinds = [f"{count} {kind}" if count > 1 else kind for kind, count in kinds.items()]
    lines.append(", ".join(kinds))
    lines.append(f"{shape}, {parameters:,} parameters" if parameters else shape)
    return "<br>".join(line for line in lines if line)
