"""Precomputed soft targets: the teacher is asked once for every training example."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from compression.subject import Subject
from compression.tuning import fine_tune
from zoo.training import evaluation
from zoo.training.objectives import objective_for

SMALLEST = 1e-7  # of a probability under a logarithm, as in Keras's own losses


def train(
    student: Subject,
    teacher: keras.Model,
    temperature: float,
    alpha: float,
    options: dict[str, Any],
) -> dict[str, Any]:
    """Fine-tunes the student's model in place; what `fine_tune` returns.

    Values of a regression are blended: the squared error to a blend of two targets is the blend
    of the squared errors but for a constant.
    """
    dataset = student.dataset
    answers = teacher.predict(dataset.train.x, batch_size=512, verbose=0)
    if dataset.task.kind == "regression":
        targets = (alpha * answers + (1 - alpha) * dataset.train.y).astype("float32")
        return fine_tune(student, student.model, targets=targets, **options)
    classes = evaluation.classes(dataset.task, dataset.train.y)
    soft = softened(_table(answers), temperature)
    targets = np.hstack([np.eye(soft.shape[1], dtype="float32")[classes], soft])
    objective = objective_for(dataset.task)
    return fine_tune(
        student,
        student.model,
        targets=targets,
        loss=SoftCrossEntropy(temperature, alpha, student.recipe.label_smoothing),
        # The accuracy of a sigmoid does not take two columns for a target.
        metrics=[] if dataset.task.kind == "binary" else objective.metrics(),
        **options,
    )


def softened(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """softmax(log p / temperature) of each row: float32 `(n, classes)`."""
    logits = np.log(np.maximum(probabilities.astype("float64"), SMALLEST)) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (powers / powers.sum(axis=1, keepdims=True)).astype("float32")


def _table(answers: np.ndarray) -> np.ndarray:
    """A column for each class, also of a sigmoid, which gives the second one's only."""
    return np.hstack([1 - answers, answers]) if answers.shape[1] == 1 else answers


@keras.saving.register_keras_serializable(package="zoo")
class SoftCrossEntropy(keras.losses.Loss):
    """(1 - a) · cross-entropy to the labels + a · T² · KL(teacher at T ‖ student at T).

    T² keeps the two gradients alike in size at any temperature (Hinton et al., 2015, 2.1).

    Targets float `(batch, 2 · classes)`: one-hot labels, then the teacher's probabilities at the
    temperature. Outputs float `(batch, classes)` probabilities, or `(batch, 1)` of the second of
    two classes.
    """

    def __init__(
        self,
        temperature: float,
        alpha: float,
        label_smoothing: float = 0.0,
        name: str = "soft_cross_entropy",
    ):
        super().__init__(name=name)
        self.temperature, self.alpha = temperature, alpha
        self.label_smoothing = label_smoothing

    def call(self, targets, outputs):
        if outputs.shape[-1] == 1:
            outputs = ops.concatenate([1 - outputs, outputs], axis=-1)
        classes = outputs.shape[-1]
        labels, soft = targets[:, :classes], targets[:, classes:]
        labels = labels * (1 - self.label_smoothing) + self.label_smoothing / classes
        logits = ops.log(ops.clip(outputs, SMALLEST, 1.0))
        hard = -ops.sum(labels * logits, axis=-1)
        student = ops.log_softmax(logits / self.temperature)
        teacher = ops.log(ops.clip(soft, SMALLEST, 1.0))
        divergence = ops.sum(soft * (teacher - student), axis=-1)
        return (1 - self.alpha) * hard + self.alpha * self.temperature**2 * divergence

    def get_config(self) -> dict:
        return {
            "temperature": self.temperature,
            "alpha": self.alpha,
            "label_smoothing": self.label_smoothing,
            "name": self.name,
        }
