"""`keras.distillation` on the models of the zoo: the teacher answers every batch anew."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops
from keras.distillation import Distiller, FeatureDistillation, LogitsDistillation

from compression.distillation.views import logits_view
from compression.subject import Subject
from compression.tuning import fine_tune
from zoo.errors import InvalidOption, UnknownName
from zoo.training.objectives import objective_for


def train(
    student: Subject,
    teacher: keras.Model,
    temperature: float,
    alpha: float,
    layers: Sequence[tuple[str, str]],
    options: dict[str, Any],
) -> dict[str, Any]:
    """Trains the student's model in place; what `fine_tune` returns.

    Of token tasks every step counts for the distillation loss, also those without a target.
    """
    task = student.dataset.task
    features = [_feature_loss(teacher, student.model, *pair) for pair in layers]
    if task.kind == "regression":
        models, answers = (teacher, student.model), FeatureDistillation("mse")
    else:
        models = (logits_view(teacher, task), logits_view(student.model, task))
        # By its default, the name, Keras 3.15 finds a function and not this class, and then takes
        # the divergence of the logits themselves, which is no divergence at all.
        answers = LogitsDistillation(temperature, keras.losses.KLDivergence())
    distiller = Distiller(*models, [answers, *features], student_loss_weight=1 - alpha)
    # Layers that no graph holds: only an attribute makes them trained.
    distiller.projections = [loss.projection for loss in features if loss.projection]
    loss, metrics = None, None
    if not task.predicts_tokens and task.kind != "regression":
        loss = LabelCrossEntropy(student.recipe.label_smoothing)
        metrics = objective_for(task).metrics() if task.kind == "classification" else []
    return fine_tune(student, distiller, loss=loss, metrics=metrics, **options)


@keras.saving.register_keras_serializable(package="zoo")
class LabelCrossEntropy(keras.losses.Loss):
    """Cross-entropy of logits float `(batch, classes)` against the labels of any classifier.

    Targets int `(batch,)` or float `(batch, 1)`: class numbers.
    """

    def __init__(self, label_smoothing: float = 0.0, name: str = "cross_entropy"):
        super().__init__(name=name)
        self.label_smoothing = label_smoothing

    def call(self, targets, logits):
        classes = logits.shape[-1]
        labels = ops.one_hot(ops.cast(ops.reshape(targets, (-1,)), "int32"), classes)
        labels = labels * (1 - self.label_smoothing) + self.label_smoothing / classes
        return -ops.sum(labels * ops.log_softmax(logits), axis=-1)

    def get_config(self) -> dict:
        return {"label_smoothing": self.label_smoothing, "name": self.name}


class ProjectedFeatures(FeatureDistillation):
    """Mean squared error of features; the student's go through `projection` where there is one."""

    def __init__(self, teacher_layer: str, student_layer: str, projection: Any):
        super().__init__("mse", teacher_layer, student_layer)
        self.projection = projection

    def compute_loss(self, teacher_outputs, student_outputs, **rest):
        if self.projection is not None:
            student_outputs = self.projection(student_outputs)
        return super().compute_loss(teacher_outputs, student_outputs, **rest)


def _feature_loss(
    teacher: keras.Model, student: keras.Model, theirs: str, ours: str
) -> ProjectedFeatures:
    from_shape, to_shape = _shape(student, ours, "student"), _shape(teacher, theirs, "teacher")
    if len(from_shape) != len(to_shape) or from_shape[:-1] != to_shape[:-1]:
        raise InvalidOption(
            f"The teacher's layer {theirs} gives {to_shape} an example and the student's {ours} "
            f"{from_shape}: only the last axes may differ."
        )
    projection = None
    if from_shape[-1] != to_shape[-1]:
        projection = keras.layers.Dense(to_shape[-1], use_bias=False, name=f"{ours}_to_{theirs}")
        projection.build((None, *from_shape))
    return ProjectedFeatures(theirs, ours, projection)


def _shape(model: keras.Model, layer: str, whose: str) -> tuple[int | None, ...]:
    names = [each.name for each in model.layers]
    if layer not in names:
        raise UnknownName(f"layer of the {whose}", layer, names)
    try:
        return tuple(model.get_layer(layer).output.shape[1:])
    except (AttributeError, ValueError) as error:
        raise InvalidOption(
            f"The layer {layer} of the {whose} has not one output of its own: choose another."
        ) from error
