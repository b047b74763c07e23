"""Metrics of a trained model, computed once from its predictions."""

from __future__ import annotations

import numpy as np

from zoo.datasets import Task


def metrics(task: Task, targets: np.ndarray, outputs: np.ndarray) -> dict[str, float]:
    """The metrics of a task.

    Args:
        task: what the outputs mean.
        targets: int `(n,)` class numbers, float `(n, 1)` of 0 and 1, or float `(n, k)` values.
        outputs: float `(n, C)` probabilities, `(n, 1)` probability, or `(n, k)` values.

    Returns:
        Classifiers: `accuracy` with the half-width of its 95 % interval
        `accuracy_interval` (normal approximation), `macro_f1`, `loss` (mean cross-entropy, nats).
        Regression: `r2` (mean over outputs), `mse`, `mae`.
    """
    from sklearn.metrics import f1_score, log_loss, mean_absolute_error, r2_score

    if task.kind == "regression":
        return {
            "r2": float(r2_score(targets, outputs)),
            "mse": float(np.mean((targets - outputs) ** 2)),
            "mae": float(mean_absolute_error(targets, outputs)),
        }
    truth, guess = classes(task, targets), predicted(task, outputs)
    accuracy = float(np.mean(truth == guess))
    outputs = outputs.astype("float64")
    table = np.hstack([1 - outputs, outputs]) if task.kind == "binary" else outputs
    table = table / table.sum(axis=1, keepdims=True)
    return {
        "accuracy": accuracy,
        "accuracy_interval": float(1.96 * np.sqrt(accuracy * (1 - accuracy) / len(truth))),
        "macro_f1": float(f1_score(truth, guess, average="macro", zero_division=0)),
        "loss": float(log_loss(truth, table, labels=range(table.shape[1]))),
    }


def classes(task: Task, targets: np.ndarray) -> np.ndarray:
    """Targets as class numbers, int64 `(n,)`."""
    return np.asarray(targets).reshape(len(targets)).astype("int64")


def predicted(task: Task, outputs: np.ndarray) -> np.ndarray:
    """Outputs as class numbers, int64 `(n,)`."""
    if task.kind == "binary":
        return (outputs[:, 0] > 0.5).astype("int64")
    return outputs.argmax(axis=1)
