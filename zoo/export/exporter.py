"""Export a Keras model as the next version of a servable model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import DataError, InvalidOption, StoreError

from . import card
from .checksum import fingerprint
from .loading import load
from .options import Decoding
from .publish import staging
from .store import check_name, reason

if TYPE_CHECKING:
    import keras
    import numpy as np

    from zoo.datasets import Dataset


def export(
    model: keras.Model,
    store: Path | str,
    name: str,
    *,
    dataset: Dataset | None = None,
    metrics: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
    warmup_batch_sizes: Sequence[int] = (1, 32),
    explain: bool = True,
    decoding: Decoding = Decoding(),  # noqa: B008 - frozen
    card_fields: Mapping[str, Any] | None = None,
    files: Mapping[str, bytes] | None = None,
    warmup_signatures: Sequence[str] | None = None,
    jit_compile: bool = False,
) -> Path:
    """Publish `model` as the next version of `name` in `store`; the folder `store/NAME/VERSION`.

    The version serves as it is, in TensorFlow Serving too: named signatures, raw-example signature
    and class names where `dataset` has them, warmup requests, model card and checksum. It is loaded
    and asked every warmup request before it is published, and appears all at once or not at all.
    The model itself is left as it was.

    `metrics` and `training` (command, seed, recipe, …) go into the model card as they are.
    With `explain` a classifier of a data set gets the signature of explain.py.
    `decoding` is how a model of text searches, and stands there too.
    `card_fields` are further fields of the model card, `files` further files of the version:
    path inside its folder → content. `warmup_signatures` names those whose requests a server is to
    replay; default: all of them. With `jit_compile` XLA compiles the model in `serving_default`,
    anew for each batch size.

    Raises InvalidOption or ShapeError for a model, a name or a data set that do not fit together,
    StoreError for a store that cannot be written.
    """
    check_name(name)
    import tensorflow as tf

    from . import generation, signatures, warmup

    sizes = warmup.check_batch_sizes(warmup_batch_sizes)
    module, functions = signatures.build(
        model, dataset, explain=explain, decoding=decoding, jit_compile=jit_compile
    )
    requests = list(warmup.requests(functions, dataset, sizes or [1]))
    text = card.describe(
        name, model, dataset, metrics or {}, training or {}, signatures.describe(functions)
    )
    if dataset is not None and dataset.task.kind in generation.KINDS:
        text["decoding"] = generation.describe(dataset, decoding)
    text |= card.plain(card_fields or {})
    with staging(store, name) as stage:
        try:
            tf.saved_model.save(module, str(stage.path), signatures=functions)
            if sizes:
                warmup.write(stage.path, name, _only(warmup_signatures, requests))
            write_files(stage.path, files or {})
            text["checksum"] = fingerprint(stage.path)
            card.write_card(stage.path, text)
        except (OSError, tf.errors.OpError) as error:
            raise StoreError(
                f"Cannot write a version of {name!r} in {store}: {reason(error)}; "
                "nothing was published."
            ) from error
        _try(stage.path, requests)
        return stage.publish()


def _only(
    names: Sequence[str] | None, requests: Sequence[tuple[str, Mapping[str, Any]]]
) -> list[tuple[str, Mapping[str, Any]]]:
    return [request for request in requests if names is None or request[0] in names]


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write `files`, path inside `folder` → content."""
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)


def _try(version: Path, requests: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
    """Answer every request from the written files; InvalidOption where a server could not."""
    from . import signatures

    loaded = load(version)
    for signature, batch in requests:
        size = len(next(iter(batch.values())))
        try:
            outputs = loaded[signature](**batch)
        except DataError as error:
            raise InvalidOption(
                f"Signature {signature!r} fails on a batch of {size}, so the version would not "
                f"load: {reason(error.__cause__)}."
            ) from error
        if signature != signatures.DEFAULT and "probabilities" in outputs:
            _check_probabilities(signature, outputs["probabilities"])


def _check_probabilities(signature: str, values: np.ndarray) -> None:
    """InvalidOption unless every row of (batch, classes) is a distribution."""
    # Loose, for half precision: logits are off by whole numbers.
    wrong = ~((values >= -0.01).all(axis=-1) & (abs(values.sum(axis=-1) - 1) < 0.01))
    if wrong.any():
        row = ", ".join(f"{value:.3g}" for value in values[wrong][0][:3])
        raise InvalidOption(
            f"Signature {signature!r} would return {row}, … as probabilities: end the model with "
            "a softmax, or a sigmoid for a binary task."
        )
