"""Attributions for the eye: an image under a heat map, words in colour, tables of features."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from rich.text import Text

from zoo.errors import DataError
from zoo.pictures import figure, png

FOR, AGAINST = (178, 24, 43), (33, 102, 172)  # the ends of matplotlib's RdBu, reversed


def image_overlay(encoded: bytes, attributions: np.ndarray, title: str) -> bytes:
    """PNG of an image beside itself under a heat map: red speaks for the class, blue against.

    Args:
        encoded: the image file.
        attributions: float `(height, width, channels)`; channels are added up.
        title: of the figure.

    Raises:
        DataError: the file cannot be decoded.
    """
    height, width, channels = attributions.shape
    pixels = _pixels(encoded, width, height, "L" if channels == 1 else "RGB")
    heat = attributions.sum(axis=-1)
    drawing, ((left, right),) = figure(2, (8.4, 4.2 * height / width + 0.6))
    grey = "gray" if channels == 1 else None
    left.imshow(pixels, cmap=grey, vmin=0, vmax=255)
    # Half way to white, so that dark images do not swallow the colours.
    right.imshow(_luminance(pixels), cmap="gray", vmin=-255, vmax=255)
    _heat(drawing, right, heat, alpha=np.clip(abs(heat) / _limit(heat), 0.15, 0.95))
    for axis in (left, right):
        axis.set_xticks([])
        axis.set_yticks([])
    drawing.suptitle(title)
    return png(drawing)


def sequence_overlay(attributions: np.ndarray, title: str) -> bytes:
    """PNG of a heat map, features by steps, over what each step gives in all.

    Args:
        attributions: float `(steps, features)`.
        title: of the figure.
    """
    steps, features = attributions.shape
    drawing, ((above,), (below,)) = figure(1, (8.4, 5.2), rows=2)
    _heat(drawing, above, attributions.T, aspect="auto")
    above.set_ylabel("feature")
    above.set_yticks(range(features) if features <= 16 else range(0, features, features // 8))
    totals = attributions.sum(axis=1)
    colours = [np.divide(FOR if total > 0 else AGAINST, 255) for total in totals]
    below.bar(range(steps), totals, color=colours)
    below.set_xlim(-0.5, steps - 0.5)
    below.set_xlabel("step")
    below.set_ylabel("attribution")
    drawing.suptitle(title)
    return png(drawing)


def coloured_words(words: list[str], attributions: np.ndarray) -> Text:
    """The words on red (for the class) and blue (against), the stronger the deeper."""
    limit, line = _limit(attributions), Text()
    for word, value in zip(words, attributions, strict=True):
        share = min(abs(value) / limit, 1)
        end = FOR if value > 0 else AGAINST
        red, green, blue = (round(255 + share * (part - 255)) for part in end)
        ink = "white" if share > 0.5 else "black"
        line.append(word, style=f"{ink} on rgb({red},{green},{blue})")
        line.append(" ")
    return line


def strongest(attributions: np.ndarray, count: int) -> list[int]:
    """Indices of the largest attributions by size, of those that are not 0."""
    order = np.argsort(-abs(attributions), kind="stable")[:count]
    return [int(index) for index in order if attributions[index]]


def _heat(drawing: Any, axis: Any, values: np.ndarray, **options: Any) -> None:
    limit = _limit(values)
    axis.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit, **options)
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    # Of its own, since that of a picture with an alpha for each pixel is pale.
    scale = ScalarMappable(Normalize(-limit, limit), "RdBu_r")
    drawing.colorbar(scale, ax=axis, label="attribution", shrink=0.85)


def _limit(values: np.ndarray) -> float:
    """The value of the deepest colour: a few single peaks would leave the rest pale."""
    sizes = abs(values[values != 0])
    return float(np.quantile(sizes, 0.99)) if sizes.size else 1.0


def _luminance(pixels: np.ndarray) -> np.ndarray:
    return pixels if pixels.ndim == 2 else pixels @ np.array([0.299, 0.587, 0.114])


def _pixels(encoded: bytes, width: int, height: int, mode: str) -> np.ndarray:
    from PIL import Image

    try:
        image = Image.open(io.BytesIO(encoded)).convert(mode)
    except OSError as error:
        raise DataError("The image cannot be decoded.") from error
    return np.asarray(image.resize((width, height)))
