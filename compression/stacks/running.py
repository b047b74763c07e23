"""Running a stack: what the model can take is checked first, then part after part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from compression.errors import NotApplicable
from compression.stacks.parts import Part, Stack, parse
from compression.subject import Subject
from zoo.errors import InvalidOption

if TYPE_CHECKING:
    from rich.console import Console

# Of the recipe's epochs, at least one.
EPOCHS = {"shrink": 0.25, "lowrank": 0.25, "distill": 0.75, "prune": 0.3, "cluster": 0.15}
EPOCHS["qat"] = 0.15
STRAIGHT = ("qat", "int8", "bfloat16")  # not for recurrent layers


def apply(
    stack: Stack | str,
    thing: Any,
    *,
    epochs: float | None = None,
    console: Console | None = None,
    **rest: Any,
) -> Subject:
    """The subject after every technique of the stack.

    Args:
        stack: of `parse`, or its text.
        thing: a run, a Subject, or a model with `builder`, `arguments` and `dataset` in `rest`.
        epochs: of training after each technique, where the stack does not say; default: `EPOCHS`
            of the recipe's. A shrink or lowrank right before distill does not train by itself.
        console: where progress goes.

    Raises:
        UnknownName, BadStack: of a text, see `parse`.
        InvalidOption: epochs below zero.
        NotApplicable, UnsupportedCpu: see `check_model`; nothing was done then.
    """
    stack = parse(stack) if isinstance(stack, str) else stack
    if epochs is not None and not 0 <= epochs < float("inf"):
        raise InvalidOption(f"epochs is {epochs}: it must not be negative.")
    subject = original = Subject.of(thing, **rest)
    check_model(stack, subject)
    return run(stack.parts, subject, original, epochs=epochs, console=console)


def run(
    parts: Sequence[Part],
    subject: Subject,
    original: Subject,
    *,
    epochs: float | None = None,
    console: Console | None = None,
) -> Subject:
    """The subject after these parts, without any check; distill's teacher is `original`."""
    following = [*(part.technique for part in parts[1:]), ""]
    for part, after in zip(parts, following, strict=True):
        if console is not None:
            console.print(part.text, highlight=False)
        options = dict(part.options)
        if part.trains:
            options["epochs"] = _epochs(part, after, subject, epochs)
        subject = _run(part, subject, original, options, console)
    return subject


def check_model(stack: Stack, subject: Subject) -> None:
    """What the model and this processor can take, before anything runs.

    Raises:
        NotApplicable: a technique that the model cannot take; the sentence names what it can.
        UnsupportedCpu: a form that needs instructions this processor does not have.
    """
    if subject.form is not None:
        raise NotApplicable(
            f"The model is in the form {subject.form.name} already: compress what it was made from."
        )
    wanted = {part.technique for part in stack.parts}
    kinds = {type(layer).__name__: layer.name for layer in _layers(subject.model)}
    from compression import cpu
    from compression.qat import RECURRENT
    from compression.quantization import FORMS

    recurrent = next((kind for kind in kinds if kind in RECURRENT), None)
    for name in STRAIGHT:
        if name in wanted and recurrent:
            raise NotApplicable(
                f"{name} cannot take {subject.builder}, whose layer {kinds[recurrent]} is a "
                f"{recurrent}: end the stack with dynamic_range, and prune, cluster or shrink "
                "before it."
            )
    for name in wanted & FORMS.keys():
        cpu.require(FORMS[name].needs, f"The form {name}")
    if "qat" in wanted and not subject.rebuildable:
        raise NotApplicable(
            f"qat needs a model that {subject.builder} can build: end with dynamic_range instead."
        )
    if "shrink" in wanted:
        from compression.structured import groups_of

        groups_of(subject)  # raises where there are none


def _layers(model: Any) -> list[Any]:
    return list(model._flatten_layers(include_self=False, recursive=True))


def _epochs(part: Part, after: str, subject: Subject, shared: float | None) -> float:
    if part.epochs is not None:
        return part.epochs
    if part.technique in ("shrink", "lowrank") and after == "distill":
        return 0
    if shared is not None:
        return shared
    return max(1.0, EPOCHS[part.technique] * subject.recipe.epochs)


def _run(
    part: Part, subject: Subject, original: Subject, options: dict[str, Any], console: Any
) -> Subject:
    if part.technique == "shrink":
        from compression.structured import shrink

        return shrink(subject, **options, console=console)
    if part.technique == "lowrank":
        from compression.low_rank import factorize

        return factorize(subject, **options, console=console)
    if part.technique == "distill":
        from compression.distillation import distill

        return distill(subject, teacher=original, **options, console=console)
    if part.technique == "prune":
        from compression.pruning import prune

        return prune(subject, **options, console=console)
    if part.technique == "cluster":
        from compression.clustering import cluster

        return cluster(subject, **options, console=console)
    if part.technique == "qat":
        from compression.qat import qat

        return qat(subject, **options, console=console)
    from compression.quantization import quantize

    return quantize(subject, form=part.technique, console=console)
