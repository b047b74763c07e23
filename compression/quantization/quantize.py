"""A trained model in a smaller or faster form, without further training."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from compression import cpu, tflite
from compression.errors import NotApplicable
from compression.quantization import forms
from compression.quantization.calibration import examples
from compression.quantization.forms import FormInfo
from compression.quantization.layers import EMBEDDINGS, named, skipped_layers
from compression.subject import Form, Step, Subject
from zoo.errors import InvalidOption

if TYPE_CHECKING:
    import numpy as np
    from rich.console import Console

CALIBRATION = 256  # examples
GRANULARITIES = ("auto", "channel", "tensor")


def quantize(
    thing: Any,
    *,
    form: str = "dynamic_range",
    calibration: int | np.ndarray | Mapping[str, np.ndarray] = CALIBRATION,
    granularity: str = "auto",
    force: bool = False,
    console: Console | None = None,
    **rest: Any,
) -> Subject:
    """The subject in one of `FORMS`.

    Args:
        thing: a run, a subject, or a Keras model with `**rest`.
        form: name of the form.
        calibration: for int8, how many training examples show the ranges of activations, or the
            examples themselves.
        granularity: channel, a scale for each output channel; tensor, one for each matrix, which
            keeps equal weights equal; auto, tensor where weights were clustered.
        force: make a form that this machine's processor lacks instructions for.
        console: where progress goes.

    Returns:
        A subject whose `form` holds the result; its model stays the float32 one.

    Raises:
        UnknownName: no such form.
        InvalidOption: calibration data that does not fit, a granularity there is not, or a
            subject that is quantized already.
        NotApplicable: this model cannot take it.
        UnsupportedCpu: the form needs instructions that are not here.
        ConverterCrashed: the converter ended with an error or a signal.
    """
    info = forms.get(form)
    subject = Subject.of(thing, **rest)
    _check(subject, info, granularity)
    if not force:
        cpu.require(info.needs, f"The form {form}")
    options: dict[str, Any] = {}
    if info.numbers is None:
        made = _in_saved_model(subject, info)
    else:
        options["granularity"] = _granularity(subject, granularity)
        numbers = dataclasses.replace(info.numbers, granularity=options["granularity"])
        data = examples(subject, calibration) if info.calibrated else None
        if data is not None:
            options["calibration"] = len(next(iter(data.values())))
        if console is not None:
            console.print(f"Converting {subject.model.name} to TFLite, {form}")
        content = tflite.convert(subject.model, numbers, calibration=data)
        made = Form(form, content, needs=info.needs, server_flags=info.server_flags)
    step = Step(form, options, _facts(subject, made), skipped_layers(subject.model, info))
    return subject.then(step, form=made)


def _check(subject: Subject, info: FormInfo, granularity: str) -> None:
    if granularity not in GRANULARITIES:
        raise InvalidOption(
            f"granularity is {granularity!r}: choose from {', '.join(GRANULARITIES)}."
        )
    if subject.form is not None:
        raise InvalidOption(
            f"The model is in the form {subject.form.name} already: quantize it once, at the end."
        )
    model = subject.model
    recurrent = tflite.recurrent_layers(model)
    if recurrent and info.name in ("int8", "bfloat16"):
        raise NotApplicable(
            f"{model.name} has the recurrent layer {recurrent[0].name!r}, which {info.name} cannot "
            "take: dynamic_range, int4 and float16 can."
        )
    if info.name == "int4_embeddings" and not named(model, EMBEDDINGS):
        raise NotApplicable(
            f"{model.name} has no embeddings, so int4_embeddings is what dynamic_range is: take "
            "that, or int4."
        )


def _granularity(subject: Subject, asked: str) -> str:
    if asked != "auto":
        return asked
    return "tensor" if subject.clusters else "channel"


def _in_saved_model(subject: Subject, info: FormInfo) -> Form:
    from compression.quantization import saved

    make = {"bfloat16": saved.in_bfloat16, "keras_int8": saved.in_keras_int8}[info.name]
    return Form(
        info.name,
        model=make(subject.model),
        jit_compile=info.name == "keras_int8",
        needs=info.needs,
        server_flags=info.server_flags,
    )


def _facts(subject: Subject, made: Form) -> dict[str, Any]:
    from compression.quantization.speed import expected_slower

    facts: dict[str, Any] = {} if made.tflite is None else {"bytes": len(made.tflite)}
    slower = expected_slower(made.name, subject.model)
    return facts | ({"expected_slower": slower} if slower else {})
