"""The baseline: what `model.export()` of Keras itself makes of a model, in float32."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras


def export_plain(model: keras.Model, folder: Path) -> Path:
    """A SavedModel by `model.export()` in `folder/1`, which a server can load; that folder.

    Keras writes every weight twice: into `variables/` and beside it into `_all_variables/`.
    """
    import keras

    version = Path(folder) / "1"
    # A model of its own: `export` leaves functions behind in the one it is called on.
    copy = keras.Model(model.inputs, model.outputs, name=model.name)
    copy.export(str(version), verbose=False)
    return version
