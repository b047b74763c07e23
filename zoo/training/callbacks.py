"""What happens beside the optimisation: progress, history, checkpoints, and when to stop."""

from __future__ import annotations

import math
import time
from typing import Any

import keras
import tensorflow as tf
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from zoo.errors import TrainingDiverged
from zoo.saving import weights_file
from zoo.training import checkpoint
from zoo.training.history import History
from zoo.training.runs import Run


class EpochNumber(keras.callbacks.Callback):
    """Tells the data pipeline which epoch's order to draw."""

    def __init__(self, epoch: tf.Variable):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.epoch.assign(epoch)


class StopOnNaN(keras.callbacks.Callback):
    """Ends training as soon as a loss is not a finite number."""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._check("loss", logs)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._check("loss", logs)
        self._check("val_loss", logs)

    def _check(self, name: str, logs: dict[str, Any] | None) -> None:
        value = float((logs or {}).get(name, 0.0))
        if not math.isfinite(value):
            rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
            what = "loss" if name == "loss" else "validation loss"
            raise TrainingDiverged(
                f"The {what} became {value} in epoch {self.epoch + 1} at learning rate {rate:g}: "
                "try a smaller one with --learning-rate."
            )


class Recorder(keras.callbacks.Callback):
    """Keeps the run folder in step: after each epoch it is resumable from there.

    The order matters. The checkpoint lies whole under its own name before run.json says that
    the epoch is done; a process killed in between goes on from the epoch before.
    """

    def __init__(self, run: Run, history: History, patience: int):
        super().__init__()
        self.run, self.history, self.patience = run, history, patience

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.began = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        row = {name: float(value) for name, value in (logs or {}).items()}
        row["learning_rate"] = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        row["seconds"] = time.perf_counter() - self.began
        self.history.append(epoch + 1, row)
        if self.history.best_epoch == epoch + 1:
            self.run.write("best.weights.h5", weights_file(self.model))
        folder = self.run.folder / "checkpoint"
        path = checkpoint.save(self.model, folder, epoch + 1)
        self.run.write("history.csv", self.history.to_csv().encode())
        self.run.update(epochs=epoch + 1)
        for old in folder.glob("epoch-*.npz"):
            if old != path:
                old.unlink()
        if self.patience and epoch + 1 - self.history.best_epoch >= self.patience:
            self.model.stop_training = True


class ProgressLines(keras.callbacks.Callback):
    """A bar with loss and metric on a terminal, and a line an epoch (at most 25 lines)."""

    def __init__(self, console: Console, epochs: int, steps: int):
        super().__init__()
        self.console, self.epochs, self.steps = console, epochs, steps
        self.every = math.ceil(epochs / 25)
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[numbers]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )

    def on_train_begin(self, logs: Any = None) -> None:
        self.task = self.bar.add_task("", total=self.steps, numbers="")
        self.bar.start()

    def on_train_end(self, logs: Any = None) -> None:
        self.close()

    def close(self) -> None:
        """Gives the terminal back, also after an interrupted training."""
        self.bar.stop()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.began = time.perf_counter()
        label = f"epoch {epoch + 1}/{self.epochs}"
        self.bar.reset(self.task, total=self.steps, description=label, numbers="")

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if self.console.is_terminal:
            self.bar.update(
                self.task, completed=min(batch + 1, self.steps), numbers=_numbers(logs or {})
            )

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if (epoch + 1) % self.every and epoch + 1 != self.epochs and epoch:
            return
        seconds = time.perf_counter() - self.began
        width = len(str(self.epochs))
        self.bar.console.print(
            f"epoch {epoch + 1:>{width}}/{self.epochs}  {_numbers(logs or {})}  {seconds:.1f} s",
            highlight=False,
            soft_wrap=True,
        )


def _numbers(logs: dict[str, Any]) -> str:
    order = sorted(logs, key=lambda name: (name.startswith("val_"), not name.endswith("loss")))
    return "  ".join(f"{name} {float(logs[name]):.4f}" for name in order)
