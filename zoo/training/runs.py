"""The run folder: what one training left behind, and what a resumed one starts from.

runs/cnn/20261122-013000/
    run.json              model, arguments, data set, recipe, seed, command, versions, state
    history.csv           one row an epoch
    metrics.json          parameters, validation and test metrics, seconds
    model.keras           the trained model, without optimizer
    best.weights.h5       weights of the epoch with the lowest validation loss
    last.weights.h5       weights of the last epoch
    curves.png            loss and metric by epoch
    confusion_matrix.png  classifiers only
    tensorboard/          event files
    checkpoint/           only while the run is not complete: exact state after an epoch
"""

from __future__ import annotations

import datetime
import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zoo.errors import RunError
from zoo.recipe import Recipe

STATES = ("running", "interrupted", "diverged", "complete")


class Run:
    """One run folder. Files in it are replaced whole, so that a reader never sees half of one."""

    def __init__(self, folder: Path, info: Mapping[str, Any]):
        self.folder = Path(folder)
        self.info = dict(info)

    @classmethod
    def create(cls, root: Path, info: Mapping[str, Any]) -> Run:
        """Makes `root/MODEL/TIMESTAMP/` and writes run.json into it."""
        stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
        for attempt in range(1, 1000):
            folder = Path(root) / info["model"] / (stamp if attempt == 1 else f"{stamp}-{attempt}")
            try:
                folder.mkdir(parents=True)
            except FileExistsError as error:
                if not folder.is_dir():
                    raise RunError(f"{error.filename} is in the way of the run folder.") from error
                continue
            except OSError as error:
                raise RunError(
                    f"The run folder {folder} cannot be made: {error.strerror}; choose another "
                    "place with --runs."
                ) from error
            run = cls(folder, {**info, "versions": versions(), "state": "running", "epochs": 0})
            run.save()
            return run
        raise RunError(f"{folder.parent} already holds a thousand runs of this second.")

    @classmethod
    def open(cls, folder: Path) -> Run:
        """Reads an existing run.

        Raises:
            RunError: there is none, or run.json is damaged.
        """
        folder = Path(folder)
        path = folder / "run.json"
        try:
            info = json.loads(path.read_text(encoding="utf-8"))
            missing = {"model", "arguments", "dataset", "recipe", "seed", "state", "epochs"} - set(
                info
            )
            if missing:
                raise ValueError(f"it lacks {', '.join(sorted(missing))}")
        except FileNotFoundError as error:
            raise RunError(f"{folder} is not a run folder: it holds no run.json.") from error
        except (OSError, ValueError, TypeError) as error:
            raise RunError(f"{path} cannot be read: {error}.") from error
        return cls(folder, info)

    @property
    def model(self) -> str:
        return self.info["model"]

    @property
    def recipe(self) -> Recipe:
        try:
            return Recipe.from_json(self.info["recipe"])
        except TypeError as error:
            raise RunError(
                f"{self.folder / 'run.json'} holds no readable recipe: {error}."
            ) from error

    @property
    def complete(self) -> bool:
        return self.info["state"] == "complete"

    def update(self, **changes: Any) -> None:
        """Changes fields of run.json."""
        self.info.update(changes)
        self.save()

    def save(self) -> None:
        self.write_json("run.json", self.info)

    def metrics(self) -> dict[str, Any]:
        """What metrics.json holds; a run that is not complete has none."""
        path = self.folder / "metrics.json"
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunError(
                f"{path} cannot be read: is the run complete? Its state is {self.info['state']}."
            ) from error

    def write_json(self, name: str, data: Any) -> None:
        text = json.dumps(data, indent=2, ensure_ascii=False, default=str) + "\n"
        self.write(name, text.encode())

    def write(self, name: str, content: bytes) -> None:
        """Writes a file whole or not at all."""
        target = self.folder / name
        temporary = self.folder / f".{name}.tmp"
        try:
            temporary.write_bytes(content)
            os.replace(temporary, target)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise RunError(f"{target} cannot be written: {error.strerror}.") from error

    def load_model(self) -> Any:
        """The trained model.

        Raises:
            RunError: the run is not complete, or its file is damaged.
        """
        from zoo.saving import load_model

        if not self.complete:
            raise RunError(
                f"The run {self.folder} is not complete: its state is {self.info['state']}; "
                f"finish it with zoo train --resume {self.folder}."
            )
        return load_model(self.folder / "model.keras")


def latest_run(root: Path, model: str) -> Run:
    """The newest complete run of a model.

    Raises:
        RunError: there is none.
    """
    folder = Path(root) / model
    try:
        candidates = sorted((path for path in folder.iterdir() if path.is_dir()), reverse=True)
    except OSError:
        candidates = []
    for path in candidates:
        if (path / "run.json").is_file():
            run = Run.open(path)
            if run.complete:
                return run
    raise RunError(f"{folder} holds no complete run of {model}: run zoo train {model} first.")


def versions() -> dict[str, str]:
    """Versions and machine, for the record."""
    import keras
    import numpy

    import zoo

    found = {
        "zoo": zoo.__version__,
        "python": platform.python_version(),
        "keras": keras.__version__,
        "backend": keras.backend.backend(),
        "numpy": numpy.__version__,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }
    if keras.backend.backend() == "tensorflow":
        import tensorflow

        found["tensorflow"] = tensorflow.__version__
    return found
