"""A subject as the next version of a servable model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from compression.quantization.forms import FORMS
from compression.subject import Form, Subject
from zoo.errors import InvalidOption, StoreError

if TYPE_CHECKING:
    import numpy as np

DEFAULT, FILE = "serving_default", "model.tflite"


def publish(
    subject: Subject,
    store: Path | str,
    name: str,
    *,
    metrics: Mapping[str, Any] | None = None,
    measurements: Mapping[str, Any] | None = None,
    beside: bool = False,
    warmup_batch_sizes: Sequence[int] = (1, 32),
) -> Path:
    """Publish the subject as the next version of `name` in `store`; the folder of the version.

    Without a form that is a SavedModel of the subject's model, with all the signatures that
    zoo.export gives it. A TFLite form is a folder with `model.tflite`, whose one signature is
    `serving_default`, warmup requests, model card and checksum. It is loaded and asked every
    warmup request first, and appears all at once or not at all.

    Args:
        metrics: by split, for the model card.
        measurements: of sizes and speed, likewise.
        beside: put the SavedModel into the folder of a TFLite form as well.
        warmup_batch_sizes: of the requests that a server replays before it answers.

    Raises:
        InvalidOption: a name or a model that cannot be published.
        StoreError: the store cannot be written.
    """
    from zoo.export.exporter import export

    card = {"compression": describe(subject, measurements)}
    form = subject.form
    content = None if form is None else form.tflite
    if content is not None and not beside:
        return _publish_tflite(subject, store, name, metrics or {}, card, warmup_batch_sizes)
    files = _requirements(form)
    if content is not None:
        files[FILE] = content
    return export(
        subject.model if form is None or form.model is None else form.model,
        store,
        name,
        dataset=subject.dataset,
        metrics=metrics,
        training=training(subject),
        warmup_batch_sizes=warmup_batch_sizes,
        card_fields=card,
        files=files,
        jit_compile=form is not None and form.jit_compile,
        # Either of the two files may be the one that is served, and both have this signature.
        warmup_signatures=None if content is None else [DEFAULT],
    )


def describe(subject: Subject, measurements: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What the model card says under "compression"."""
    form = subject.form
    return {
        "chain": [step.to_json() for step in subject.steps],
        "parent": None if subject.parent is None else _parent(subject.parent),
        "form": "savedmodel" if form is None else form.name,
        "needs": [] if form is None else list(form.needs),
        "server_flags": [] if form is None else list(form.server_flags),
        "measurements": dict(measurements or {}),
    }


def training(subject: Subject) -> dict[str, Any]:
    """What the model card says under "training", as for a run."""
    return {
        "model": subject.builder,
        "arguments": dict(subject.arguments),
        "dataset": None if subject.dataset is None else subject.dataset.name,
        "recipe": subject.recipe.to_json(),
        "seed": subject.seed,
    }


def _requirements(form: Form | None) -> dict[str, bytes]:
    """The file by which a server knows what the version needs of the processor."""
    from serving.server import requirements

    info = None if form is None else FORMS.get(form.name)
    if info is None or not info.requires:
        return {}
    text = json.dumps({"form": form.name, "cpu": list(info.requires)})
    return {requirements.FILE.as_posix(): text.encode()}


def _parent(version: Path) -> dict[str, Any]:
    return {"name": version.parent.name, "version": int(version.name)}


def _publish_tflite(
    subject: Subject,
    store: Path | str,
    name: str,
    metrics: Mapping[str, Any],
    fields: Mapping[str, Any],
    sizes: Sequence[int],
) -> Path:
    from serving.server import tflite
    from zoo.export import card, warmup
    from zoo.export.checksum import fingerprint
    from zoo.export.publish import staging
    from zoo.export.store import check_name, reason

    check_name(name)
    sizes = warmup.check_batch_sizes(sizes)
    servable = _loaded(subject.form.tflite)
    signature = servable.signatures[DEFAULT]
    batches = list(warmup.requests(_functions(signature), subject.dataset, sizes or [1]))
    text = card.describe(
        name, subject.model, subject.dataset, metrics, training(subject), _table(signature)
    ) | card.plain(fields)
    _try(servable, batches)
    with staging(store, name) as stage:
        try:
            (stage.path / tflite.FILE).write_bytes(subject.form.tflite)
            if sizes:
                warmup.write(stage.path, name, batches)
            text["checksum"] = fingerprint(stage.path)
            card.write_card(stage.path, text)
        except OSError as error:
            raise StoreError(
                f"Cannot write a version of {name!r} in {store}: {reason(error)}; "
                "nothing was published."
            ) from error
        return stage.publish()


def _loaded(content: bytes) -> Any:
    """The file as a server has it; InvalidOption where it would not load."""
    from serving.server import tflite
    from serving.server.status import ServingError

    try:
        servable = tflite.TFLiteServable(content, 1)
    except ServingError as error:
        raise InvalidOption(f"The TFLite file would not load: {error.message}.") from error
    if DEFAULT not in servable.signatures:
        raise InvalidOption(f"The TFLite file has no signature {DEFAULT}.")
    return servable


def _functions(signature: Any) -> dict[str, Any]:
    """The signature in the shape of a concrete function, for zoo.export.warmup."""
    import tensorflow as tf

    specs = {
        name: tf.TensorSpec(spec.shape, tf.as_dtype(spec.dtype_number))
        for name, spec in signature.inputs.items()
    }
    return {DEFAULT: SimpleNamespace(structured_input_signature=((), specs))}


def _table(signature: Any) -> dict[str, Any]:
    """The signature for the model card; null is a free size."""
    import tensorflow as tf

    def tensor(spec: Any) -> dict[str, Any]:
        return {"dtype": tf.as_dtype(spec.dtype_number).name, "shape": list(spec.shape)}

    return {
        DEFAULT: {
            side: {name: tensor(spec) for name, spec in specs.items()}
            for side, specs in (("inputs", signature.inputs), ("outputs", signature.outputs))
        }
    }


def _try(servable: Any, batches: Sequence[tuple[str, Mapping[str, np.ndarray]]]) -> None:
    """Answer every request; InvalidOption where a server could not."""
    from serving.server.predict import prepare, signature_for
    from serving.server.status import ServingError

    for name, batch in batches:
        try:
            prepare(servable, signature_for(servable, name), batch).now()
        except ServingError as error:
            size = len(next(iter(batch.values())))
            raise InvalidOption(
                f"Signature {name!r} fails on a batch of {size}, so the version would not load: "
                f"{error.message}."
            ) from error
