"""What a search keeps in its folder, so that it can go on after an end of any kind.

    search.json                     whose search this is
    baseline.json                   the model itself, measured
    scan-NAME.json                  sensitivities, layer after layer
    trained/KEY/                    a trained float model: model.keras, masks.npz, subject.json
    trials/KEY.json                 a finished trial
    versions/KEY/1/                 what it published
    result.json, front.json, front.png

KEY is a hash of the stack's text. Files appear whole under their name, last of all the JSON.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from compression.subject import Step, Subject, listed
from zoo.errors import InvalidOption


def key(text: str) -> str:
    """A folder's name for a stack."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def read(path: Path) -> Any:
    """JSON of a file; None where there is none."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def write(path: Path, data: Any) -> None:
    """JSON into a file that appears all at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(path.name + ".half")
    half.write_text(json.dumps(data, indent=1), encoding="utf-8")
    os.replace(half, path)


def claim(folder: Path, subject: Subject, options: dict[str, Any]) -> None:
    """Makes the folder this search's, or finds that it is.

    Raises:
        InvalidOption: it holds the search of another model, or with other options.
    """
    digest = hashlib.sha256()
    for weight in subject.model.get_weights():
        digest.update(np.ascontiguousarray(weight).tobytes())
    mine = {
        "builder": subject.builder,
        "arguments": _plain(dict(subject.arguments)),
        "dataset": subject.dataset.name,
        "examples": [len(subject.dataset.split(s)) for s in ("train", "validation", "test")],
        "recipe": _plain(subject.recipe.to_json()),
        "weights": digest.hexdigest(),
        **options,
    }
    found = read(folder / "search.json")
    if found is None:
        write(folder / "search.json", mine)
    elif found != mine:
        other = next(name for name in mine if found.get(name) != mine[name])
        raise InvalidOption(
            f"{folder} holds a search with another {other}: choose another folder, or remove it."
        )


def save(folder: Path, subject: Subject) -> None:
    """A subject without a form, to be had back by `load`."""
    folder.mkdir(parents=True, exist_ok=True)
    subject.model.save(folder / "model.keras")
    np.savez_compressed(folder / "masks.npz", **_named(dict(subject.masks)))
    write(
        folder / "subject.json",
        {
            "builder": subject.builder,
            "arguments": _plain(dict(subject.arguments)),
            "rebuildable": subject.rebuildable,
            "recipe": _plain(subject.recipe.to_json()),
            "clusters": dict(subject.clusters),
            "masks": list(subject.masks),
            "steps": [step.to_json() for step in subject.steps],
        },
    )


def load(folder: Path, base: Subject) -> Subject | None:
    """The saved subject with the data of `base`; None where none was saved to its end."""
    from zoo import load_model

    found = read(folder / "subject.json")
    if found is None:
        return None
    with np.load(folder / "masks.npz") as file:
        masks = {path: file[str(number)] for number, path in enumerate(found["masks"])}
    return dataclasses.replace(
        base,
        model=load_model(folder / "model.keras"),
        builder=found["builder"],
        arguments=listed(found["arguments"]),
        recipe=type(base.recipe).from_json(found["recipe"]),
        rebuildable=found["rebuildable"],
        clusters=found["clusters"],
        masks=masks,
        steps=tuple(Step(**step) for step in found["steps"]),
    )


def _named(masks: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """By number: a file's names may hold no slashes."""
    return {str(number): mask for number, mask in enumerate(masks.values())}


def _plain(value: Any) -> Any:
    """As JSON would give it back."""
    return json.loads(json.dumps(value))
