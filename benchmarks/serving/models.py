"""The exports that are served, the requests for them, and the answers that are right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.serving.cases import DECIMALS, INPUT, Question
from serving.server.flags import Flags
from serving.server.loading import import_tensorflow, make_loader
from serving.server.servable import Servable

MODELS = ("dense", "cnn")
SEED = 0


def make_store(store: Path, names: Sequence[str]) -> Path:
    """Exports what is not there yet and writes `models.config`; returns its path.

    Builders take their recipe's arguments, weights are fresh.
    """
    import_tensorflow()
    import keras

    import zoo
    from serving.config import write
    from zoo.export import export, versions

    store.mkdir(parents=True, exist_ok=True)
    for name in names:
        if not (store / name).is_dir() or not versions(store, name):
            keras.utils.set_random_seed(SEED)
            model = zoo.build(name, **zoo.get(name).recipe.arguments)
            export(model, store, name, explain=False)
    return write(store, store)[0]


def questions(names: Sequence[str], batches: Sequence[int]) -> dict[tuple[str, int], Question]:
    """(model, batch) → request: the first digits of MNIST's test split, `(batch, 28, 28, 1)`."""
    from zoo import datasets

    digits = datasets.load("mnist").test.x.round(DECIMALS).astype(np.float32)
    return {(name, batch): Question(name, digits[:batch]) for name in names for batch in batches}


def sessions(store: Path, names: Sequence[str]) -> dict[str, Servable]:
    """Each model's newest version in the server's own session, in this process."""
    from zoo.export import versions

    load = make_loader(Flags())
    newest = {name: versions(store, name)[-1] for name in names}
    return {name: load(name, number, store / name / str(number)) for name, number in newest.items()}


def answer(servable: Servable, question: Question) -> Mapping[str, np.ndarray]:
    """What the session says, by output."""
    return servable.run(servable.signatures["serving_default"], {INPUT: question.rows})
