"""Distillation as a technique: which student, which targets, then training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from compression.distillation import students
from compression.errors import NotApplicable
from compression.subject import Step, Subject
from compression.tuning import fine_tune
from zoo.errors import InvalidOption

if TYPE_CHECKING:
    from rich.console import Console

TARGETS = ("soft", "logits", "features")
# Temperatures: on dense's digits, a student of a quarter of the weights lost a point at 3 against
# labels alone and gained 0.3 at 1; one cut to half its widths came back further at 3 than at 1.
NEW, KEPT = 1.0, 3.0
RECOVERY = 0.5  # of the recipe's epochs, where a student goes on with the weights it has


def distill(
    thing: Any,
    *,
    student: str | None = None,
    arguments: Mapping[str, Any] | None = None,
    teacher: Any = None,
    targets: str | None = None,
    temperature: float | None = None,
    alpha: float = 0.5,
    layers: Sequence[tuple[str, str]] = (),
    epochs: float | None = None,
    learning_rate: float | None = None,
    scratch: bool = False,
    console: Console | None = None,
    **rest: Any,
) -> Subject:
    """Trains a student on a teacher's answers and the labels.

    With `student` or `arguments` a new model learns from `thing`. With `teacher` alone the model
    of `thing` itself goes on learning, which brings a model back that lost accuracy to `shrink` or
    `factorize`; masks of pruning hold.

    Args:
        thing: a run, a Subject, or a model with `builder`, `arguments` and `dataset`.
        student: registered name of the student's builder; default: that of `thing`.
        arguments: the student's, over those of `thing` (of the data set, for another builder).
        teacher: Subject, run or model with the task's outputs; default: `thing`.
        targets: `soft`: the teacher's answers on the training split, computed once; `logits`:
            computed for every batch, by `keras.distillation`; `features`: `logits` and the outputs
            of `layers` besides. Default: `soft`; for tasks of tokens `logits`.
        temperature: divides the logits of both before they are compared (Hinton et al., 2015);
            default: 1 for a new student, 3 for one that keeps its weights.
        alpha: weight of the teacher against the labels, from 0 to 1.
        layers: pairs of a teacher's and a student's layer. Where their last axes differ, a
            learned linear map leads from the student's to the teacher's (Romero et al., 2015).
        epochs: default: the recipe's; half of them where a student keeps its weights.
        learning_rate: default: the recipe's.
        scratch: train the same student on the labels alone, for comparison.
        console: where progress goes.
        **rest: what `Subject.of` takes with a bare model.

    Returns:
        A subject whose model is the student.

    Raises:
        InvalidOption: an option outside its range, or nothing to distill into.
        NotApplicable: these targets do not exist for this task.
        UnknownName: of a builder, an argument or a layer.
        ShapeError: the student does not fit the data set.

    Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015.
    """
    subject = Subject.of(thing, **rest)
    kind = subject.dataset.task.kind
    targets = targets or ("logits" if subject.dataset.task.predicts_tokens else "soft")
    fresh = student is not None or arguments is not None
    if temperature is None:
        temperature = NEW if fresh else KEPT
    _check(targets, temperature, alpha, epochs, learning_rate, layers)
    if targets == "soft" and subject.dataset.task.predicts_tokens:
        raise NotApplicable(
            f"Soft targets of a {kind} task would be a number for every token of the vocabulary "
            "at every step of the training split: use targets='logits'."
        )
    if student is None and arguments is None and teacher is None:
        raise InvalidOption(
            "There is nothing to distill into: give student=, arguments=, or the teacher= that "
            "this model is to learn from."
        )
    teaching = students.teacher_of(subject if teacher is None else teacher)
    taught = students.make(subject, student, arguments) if fresh else students.go_on(subject)
    students.check_outputs(teaching, taught.model)
    if epochs is None:
        epochs = taught.recipe.epochs * (1 if fresh else RECOVERY)
    options = {
        "epochs": epochs,
        "learning_rate": learning_rate or taught.recipe.learning_rate,
        "console": console,
    }
    if scratch:
        done = fine_tune(taught, taught.model, **options)
    elif targets == "soft":
        from compression.distillation import soft

        done = soft.train(taught, teaching, temperature, alpha, options)
    else:
        from compression.distillation import live

        pairs = layers if targets == "features" else ()
        done = live.train(taught, teaching, temperature, alpha, pairs, options)
    step = Step(
        "distill",
        {
            "targets": "labels" if scratch else targets,
            "temperature": temperature,
            "alpha": 0.0 if scratch else alpha,
            **({"layers": [list(pair) for pair in layers]} if layers else {}),
            "student": taught.builder,
            "arguments": students.json_arguments(taught.arguments),
        },
        {
            **done,
            "parameters": taught.model.count_params(),
            "teacher_parameters": teaching.count_params(),
        },
    )
    return taught.then(step)


def _check(
    targets: str,
    temperature: float,
    alpha: float,
    epochs: float | None,
    learning_rate: float | None,
    layers: Sequence[tuple[str, str]],
) -> None:
    if targets not in TARGETS:
        raise InvalidOption(f"Unknown targets {targets!r}: choose from {', '.join(TARGETS)}.")
    if not 0 < temperature < math.inf:
        raise InvalidOption(f"temperature is {temperature}: it must be positive.")
    if not 0 <= alpha <= 1:
        raise InvalidOption(f"alpha is {alpha}: it is a weight from 0 to 1.")
    if epochs is not None and not 0 <= epochs < math.inf:
        raise InvalidOption(f"epochs is {epochs}: it must not be negative.")
    if learning_rate is not None and not 0 < learning_rate < math.inf:
        raise InvalidOption(f"learning_rate is {learning_rate}: it must be positive.")
    if (targets == "features") != bool(layers):
        raise InvalidOption(
            "Feature distillation is between named layers: give targets='features' and "
            "layers=((TEACHER'S, STUDENT'S), …) together."
        )
    if any(isinstance(pair, str) or len(pair) != 2 for pair in layers):
        raise InvalidOption("Each of layers is a pair: the teacher's layer and the student's.")
