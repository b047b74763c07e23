"""Teachers and students: which models they are, made so that no given model changes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from compression.bridge import copied
from compression.subject import Subject, listed
from zoo import registry
from zoo.errors import InvalidOption

if TYPE_CHECKING:
    import keras


def teacher_of(thing: Any) -> keras.Model:
    """A copy of the teacher's model, because training with it freezes its layers.

    Raises:
        InvalidOption: it is no Subject, run or Keras model.
    """
    if isinstance(thing, Subject):
        return copied(thing.model)
    if hasattr(thing, "load_model"):
        return thing.load_model()
    if hasattr(thing, "get_layer"):
        return copied(thing)
    raise InvalidOption(
        f"A {type(thing).__name__} cannot teach: give a Subject, a run or a Keras model."
    )


def go_on(subject: Subject) -> Subject:
    """The subject with a copy of its model, to be trained further."""
    return dataclasses.replace(subject, model=copied(subject.model), form=None)


def make(subject: Subject, student: str | None, arguments: Mapping[str, Any] | None) -> Subject:
    """A new, untrained student for the subject's data; what was done to the subject is over.

    A student of another builder has that one's optimizer and learning rate.
    """
    import keras

    from zoo.training.objectives import check_fit

    name = student or subject.builder
    entry = registry.get(name)
    given = dict(arguments or {})
    given = {**entry.sized(given.pop("size", None)), **given}
    entry.check(given)
    recipe = subject.recipe
    if name == subject.builder:
        base = dict(subject.arguments)
    else:
        own = entry.recipe
        base = {**own.arguments, **entry.accepted(dict(subject.dataset.model_arguments))}
        recipe = recipe.replace(
            optimizer=own.optimizer,
            optimizer_options=own.optimizer_options,
            learning_rate=own.learning_rate,
            jit_compile=own.jit_compile,
        )
    full = listed({**base, **given})
    keras.utils.set_random_seed(subject.seed)
    model = registry.build(name, **full)
    check_fit(model, name, subject.dataset)
    return dataclasses.replace(
        subject,
        model=model,
        builder=name,
        arguments=full,
        recipe=recipe,
        masks={},
        clusters={},
        rebuildable=True,
        form=None,
    )


def check_outputs(teacher: keras.Model, student: keras.Model) -> None:
    """Raises InvalidOption unless both answer in the same shape."""
    theirs, ours = ([tuple(t.shape[1:]) for t in model.outputs] for model in (teacher, student))
    if theirs != ours:
        raise InvalidOption(
            f"The teacher's outputs {theirs} an example are not the student's {ours}: both must "
            "answer the same task."
        )


def json_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Builder arguments as JSON's own values."""
    return {name: _plain(value) for name, value in arguments.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return json_arguments(value)
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
