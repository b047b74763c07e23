"""The named forms: what each one is, what it runs on and what it needs of a server."""

from __future__ import annotations

import dataclasses

from zoo.errors import UnknownName

TFLITE_FLAGS = ("--prefer_tflite_model",)


@dataclasses.dataclass(frozen=True)
class FormInfo:
    """A form before any model is put in it.

    Attributes:
        name: in stacks and model cards.
        summary: one line for a list.
        applies_to: which models can take it, in words.
        tflite: whether it is a `model.tflite`.
        calibrated: whether it takes examples to find ranges of activations with.
        needs: instruction sets of the processor, as /proc/cpuinfo names them.
        server_flags: what a server must be started with.
    """

    name: str
    summary: str
    applies_to: str
    tflite: bool = True
    calibrated: bool = False
    needs: tuple[str, ...] = ()
    server_flags: tuple[str, ...] = TFLITE_FLAGS


FORMS: dict[str, FormInfo] = {
    form.name: form
    for form in (
        FormInfo("float32", "TFLite with float32 weights", "every model TFLite has operations for"),
        FormInfo(
            "dynamic_range",
            "TFLite with int8 weights; activations are quantized while it runs",
            "every model TFLite has operations for",
        ),
        FormInfo(
            "float16",
            "TFLite with float16 weights, computed in float32",
            "every model TFLite has operations for",
        ),
    )
}


def get(name: str) -> FormInfo:
    """The form of that name.

    Raises:
        UnknownName: with the nearest names.
    """
    if name not in FORMS:
        raise UnknownName("quantized form", name, FORMS)
    return FORMS[name]
