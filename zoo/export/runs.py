"""Export of a training run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .exporter import export
from .options import Decoding

if TYPE_CHECKING:
    from zoo.training import Run

RECORDED = ("model", "arguments", "dataset", "recipe", "seed", "command", "versions")


def export_run(
    run: Run,
    store: Path | str,
    name: str | None = None,
    decoding: Decoding = Decoding(),  # noqa: B008 - frozen
    *,
    explain: bool = True,
) -> Path:
    """Publishes a complete run's model, with its metrics and recipe in the model card.

    Args:
        run: of `zoo.training`.
        store: folder of the model store.
        name: of the servable; default: the model's.
        decoding: how a model of text searches.
        explain: whether a classifier gets the signature of explain.py.

    Returns:
        The new version's folder, `store/NAME/VERSION`.

    Raises:
        RunError: the run is not complete or damaged.
        StoreError: the store cannot be written.
    """
    from zoo import datasets

    metrics = run.metrics()
    model = run.load_model()
    return export(
        model,
        store,
        name or run.model,
        dataset=datasets.load(run.info["dataset"]),
        metrics={split: metrics[split] for split in ("validation", "test")},
        training={
            key: run.info[key]
            for key in (*RECORDED, "transfer", "limit")
            if key in RECORDED or run.info.get(key)
        },
        decoding=decoding,
        explain=explain,
    )
