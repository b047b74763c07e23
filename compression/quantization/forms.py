"""The named forms: what each one is, what it applies to and what it needs."""

from __future__ import annotations

import dataclasses

from compression.tflite import Numbers
from zoo.errors import UnknownName

TFLITE_FLAGS = ("--prefer_tflite_model",)


@dataclasses.dataclass(frozen=True)
class FormInfo:
    """A form before any model is put in it.

    Attributes:
        name: in stacks and model cards.
        summary: one line for a list.
        applies_to: which models can take it, in words.
        numbers: of a TFLite file; None for a form that stays in a SavedModel.
        needs: instruction sets, as /proc/cpuinfo names them, without which it cannot run or is
            slower than float32.
        requires: those of them without which it cannot run at all.
        server_flags: what a server must be started with.
    """

    name: str
    summary: str
    applies_to: str
    numbers: Numbers | None
    needs: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    server_flags: tuple[str, ...] = TFLITE_FLAGS

    @property
    def calibrated(self) -> bool:
        """Whether ranges of activations are found with examples."""
        return self.numbers is not None and self.numbers.activations == "int8"


_EVERY = "every model that TFLite has the operations for"

FORMS: dict[str, FormInfo] = {
    form.name: form
    for form in (
        FormInfo("float32", "TFLite in float32", _EVERY, Numbers()),
        FormInfo(
            "float16",
            "TFLite with float16 weights, computed in float32",
            _EVERY,
            Numbers(weights="float16"),
        ),
        FormInfo(
            "dynamic_range",
            "TFLite with int8 weights; inputs of products are quantized while it runs",
            _EVERY,
            Numbers("int8", "int8", "dynamic"),
        ),
        FormInfo(
            "int8_weights",
            "TFLite with int8 weights, computed in float32",
            _EVERY,
            Numbers("int8", "int8", "float32"),
        ),
        FormInfo(
            "int8",
            "TFLite in int8 throughout, with ranges found on training examples",
            "models without recurrent layers; attention is slower in it than in dynamic_range",
            Numbers("int8", "int8", "int8"),
        ),
        FormInfo(
            "int4_embeddings",
            "dynamic_range with embeddings in int4",
            "models with embeddings",
            Numbers("int8", "int4", "dynamic"),
        ),
        FormInfo(
            "int4",
            "dynamic_range with int4 weights, but in convolutions",
            _EVERY + ", at some accuracy",
            Numbers("int4", "int4", "dynamic"),
        ),
        FormInfo(
            "bfloat16",
            "SavedModel that stores and computes in bfloat16",
            "models without recurrent layers, on processors with AMX",
            None,
            needs=("amx_bf16",),
            requires=("avx512f",),
            server_flags=(),
        ),
        FormInfo(
            "keras_int8",
            "SavedModel of Keras's quantize('int8'), compiled by XLA",
            "models with dense layers, embeddings or attention, at large batches",
            None,
            server_flags=("--xla_cpu_compilation_enabled",),
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
