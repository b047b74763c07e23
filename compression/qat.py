"""Quantization-aware training: the model learns with the rounding of int8 in its layers.

What comes out is a TFLite file with int8 weights and activations. Fake quantization in a SavedModel
would be slower and no smaller, and trained weights brought back to float32 lose accuracy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from compression import bridge
from compression.errors import NotApplicable
from compression.pruning import check_epochs, steps_of
from compression.subject import Form, Step, Subject
from zoo.errors import InvalidOption

if TYPE_CHECKING:
    import keras
    from rich.console import Console

FORM = "qat"
FLAGS = ("--prefer_tflite_model",)
RECURRENT = ("SimpleRNN", "LSTM", "GRU", "Bidirectional", "RNN")


def qat(
    thing: Any,
    *,
    epochs: float = 1,
    preserve: bool = True,
    learning_rate: float | None = None,
    console: Console | None = None,
    **rest: Any,
) -> Subject:
    """The model as an int8 TFLite file, fine-tuned with the rounding in it.

    tfmot quantizes every layer where it can, else the Dense and Conv2D layers alone; the others
    stay float32, which makes `quantize` with the form dynamic_range the smaller and faster choice
    for models with attention.

    Args:
        thing: a run, a Subject, or a model of Keras 3 with `builder=`, `arguments=`, `dataset=`.
        epochs: of fine-tuning; a fraction stops early. Less than a tenth leaves the ranges of
            activations unlearned.
        preserve: zeros of an earlier `prune` and values of an earlier `cluster` stay (PQAT, CQAT
            and PCQAT).
        learning_rate: the first one; default: 0.3 of the recipe's.
        console: where progress goes.

    Returns:
        A subject with the form `qat`; its `model` is the one given. Its step's facts: `scheme`,
        `whole` where every layer is quantized, `layers` with int8 weights, `bytes`, `fine_tuning`.

    Raises:
        NotApplicable: a recurrent model, one that no builder makes, or one that tfmot refuses.
        InvalidOption: a value without sense.
        BridgeMismatch, ConverterCrashed, TrainingDiverged: from the process that runs tfmot.

    Jacob et al., "Quantization and Training of Neural Networks for Efficient
    Integer-Arithmetic-Only Inference", 2018.
    """
    subject = Subject.of(thing, **rest)
    bridge.check_model(subject)
    check_epochs(epochs)
    _check_layers(subject.model)
    bridge.check(subject, "qat")
    if not steps_of(subject, epochs):
        raise InvalidOption(
            f"epochs is {epochs}: qat learns the ranges of activations, so it needs a step at "
            "least."
        )
    scheme = "default"
    if preserve and (subject.masks or subject.clusters):
        names = ("prune", subject.masks), ("cluster", subject.clusters)
        scheme = "_".join(name for name, kept in names if kept)
    options = {"epochs": epochs, "preserve": preserve, "learning_rate": learning_rate}
    with bridge.crossing(subject, {**options, "scheme": scheme}) as crossing:
        answer = crossing.run(
            "compression.tfmot.qat:run",
            f"Quantization-aware training of {subject.builder}",
            console,
        )
        content = (crossing.folder / "model.tflite").read_bytes()
    facts = {
        "scheme": scheme,
        "whole": answer["whole"],
        "layers": answer["layers"],
        "bytes": len(content),
        "fine_tuning": answer["fine_tuning"],
    }
    why = "tfmot quantizes no layer of this kind: it stays float32"
    weighted = (layer for layer in subject.model.layers if _large(layer))
    skipped = {layer.name: why for layer in weighted if layer.name not in answer["layers"]}
    return subject.then(
        Step("qat", options, facts, skipped),
        form=Form(FORM, tflite=content, server_flags=FLAGS),
    )


def _large(layer: keras.layers.Layer) -> bool:
    return any(len(weight.shape) > 1 for weight in layer.trainable_weights)


def _check_layers(model: keras.Model) -> None:
    found = [layer for layer in model.layers if type(layer).__name__ in RECURRENT]
    if found:
        raise NotApplicable(
            f"qat cannot take {model.name}, whose layer {found[0].name} is a "
            f"{type(found[0]).__name__}: use quantize with the form dynamic_range, prune, cluster "
            "or shrink instead."
        )
