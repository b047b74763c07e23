"""A trained model in a smaller or faster form, without further training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from compression import tflite
from compression.quantization import forms
from compression.subject import Form, Step, Subject

if TYPE_CHECKING:
    from rich.console import Console

CONVERSIONS = {"float32": "none", "dynamic_range": "dynamic_range", "float16": "float16"}


def quantize(
    thing: Any, *, form: str = "dynamic_range", console: Console | None = None, **rest: Any
) -> Subject:
    """The subject in one of `FORMS`.

    Args:
        thing: a run, a subject, or a Keras model with `**rest`.
        form: name of the form.
        console: where progress goes.

    Returns:
        A subject whose `form` holds the result; its model stays the float32 one.

    Raises:
        UnknownName: no such form.
        NotApplicable: this model cannot take it.
        ConverterCrashed: the converter ended with an error or a signal.
    """
    info = forms.get(form)
    subject = Subject.of(thing, **rest)
    content = tflite.convert(subject.model, quantization=CONVERSIONS[form], console=console)
    made = Form(form, tflite=content, needs=info.needs, server_flags=info.server_flags)
    return subject.then(Step(form, facts={"bytes": len(content)}), form=made)
