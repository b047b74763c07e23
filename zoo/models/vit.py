"""Vision Transformers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

from zoo import checks
from zoo.errors import ShapeError
from zoo.layers import layers_for
from zoo.models.sublayers import per_block, size_of_head
from zoo.namespaces import keras
from zoo.recipe import Recipe
from zoo.registry import register
from zoo.sizes import Size

if TYPE_CHECKING:
    from keras import Model

EPSILON = 1e-6  # layer normalisation, as in the authors' code


def _size(width: int, num_blocks: int, patch_size: int, parameters: int) -> Size:
    """A size of the paper's table 1, for 224 × 224 colour images in 1,000 classes."""
    arguments = {
        "input_shape": (224, 224, 3),
        "num_classes": 1000,
        "patch_size": patch_size,
        "width": width,
        "num_heads": width // 64,
        "feed_forward": 4 * width,
        "num_blocks": num_blocks,
    }
    source = "Dosovitskiy et al., 2021; torchvision's count for 1,000 classes"
    return Size(arguments, parameters, source)


@register(
    recipe=Recipe(
        dataset="mnist",
        epochs=14,
        batch_size=128,
        learning_rate=2e-3,
        schedule="cosine",
        warmup_epochs=1,
        augment="shift",
        jit_compile=True,
    ),
    sizes={
        "vit_b_16": _size(768, 12, 16, 86_567_656),
        "vit_b_32": _size(768, 12, 32, 88_224_232),
        "vit_l_16": _size(1024, 24, 16, 304_326_632),
    },
)
def vit(
    input_shape: tuple[int, int, int] = (28, 28, 1),
    num_classes: int = 10,
    patch_size: int = 7,
    width: int = 64,
    num_heads: int | Sequence[int] = 4,
    feed_forward: int | Sequence[int] = 128,
    num_blocks: int = 4,
    dropout: float = 0.0,
    head_width: int | None = None,
    *,
    keras: ModuleType = keras,
) -> Model:
    """Vision Transformer: attention over square patches, classified by a trained token.

    Input `image`: float32 `(batch, height, width, channels)` in [0, 1].
    Output `probabilities`: float32 `(batch, num_classes)`, rows sum to 1.

    Args:
        input_shape: image height, width and channels.
        num_classes: classes to tell apart.
        patch_size: side of a patch in pixels; it divides height and width.
        width: size of embeddings and residuals.
        num_heads: attention heads, of all blocks or of each; without `head_width` they divide
            `width` among them.
        feed_forward: inner size of the feed-forward layers, of all or of each.
        num_blocks: encoder blocks.
        dropout: rate after the positions and after every sublayer.
        head_width: features of a head; None is an equal share of `width`.
        keras: Keras namespace to build with.

    Raises:
        ShapeError: the patches do not divide the image, the heads do not divide the width, other
            numbers than blocks are given, or a size is not positive.

    Dosovitskiy et al., "An Image is Worth 16x16 Words: Transformers for Image Recognition at
    Scale", 2021, arXiv:2010.11929.
    """
    checks.input_shape(input_shape, "height, width, channels")
    checks.positive(
        num_classes=num_classes,
        patch_size=patch_size,
        width=width,
        num_heads=num_heads,
        feed_forward=feed_forward,
        num_blocks=num_blocks,
        head_width=1 if head_width is None else head_width,
    )
    checks.rate(dropout=dropout)
    rows, columns = input_shape[0] // patch_size, input_shape[1] // patch_size
    if (rows * patch_size, columns * patch_size) != tuple(input_shape[:2]):
        common = math.gcd(*input_shape[:2])
        sides = ", ".join(str(side) for side in range(1, common + 1) if common % side == 0)
        raise ShapeError(
            f"Patches of {patch_size} × {patch_size} do not divide an image of "
            f"{input_shape[0]} × {input_shape[1]}: choose a patch_size out of {sides}."
        )
    heads = per_block("num_heads", num_heads, num_blocks)
    inner = per_block("feed_forward", feed_forward, num_blocks)
    layers = layers_for(keras)

    # === Patches and positions ===
    image = keras.Input(input_shape, name="image")
    x = keras.layers.Conv2D(width, patch_size, patch_size, name="patches")(image)  # (B, R, C, W)
    x = keras.layers.Reshape((rows * columns, width), name="sequence")(x)  # (B, N, W)
    x = layers.ClassToken(name="class_token")(x)  # (B, N + 1, W)
    x = layers.LearnedPositions(rows * columns + 1, name="positions")(x)
    x = keras.layers.Dropout(dropout, name="dropout")(x)

    # === Encoder ===
    for number in range(num_blocks):
        x = pre_norm_block(
            x,
            num_heads=heads[number],
            head_width=head_width,
            feed_forward=inner[number],
            dropout=dropout,
            name=f"block_{number + 1}",
            keras=keras,
        )

    # === Classes ===
    x = keras.layers.LayerNormalization(epsilon=EPSILON, name="norm")(x[:, 0])  # (B, W)
    probabilities = keras.layers.Dense(num_classes, activation="softmax", name="probabilities")(x)
    return keras.Model(image, probabilities, name="vit")


def pre_norm_block(
    x: Any,
    *,
    num_heads: int,
    feed_forward: int,
    dropout: float,
    name: str,
    head_width: int | None = None,
    keras: ModuleType = keras,
) -> Any:
    """Self-attention and a feed-forward layer: x ← x + sublayer(norm(x)) for each.

    Args:
        x: float `(batch, steps, width)`, every step of which counts.
        head_width: features of a head; None is an equal share of the width.

    Returns:
        float `(batch, steps, width)`.

    Dosovitskiy et al., 2021, equations 2 and 3.
    """
    layers, width = keras.layers, x.shape[-1]
    h = layers.LayerNormalization(epsilon=EPSILON, name=f"{name}_attention_norm")(x)
    size = size_of_head(width, num_heads, head_width)
    h = layers.MultiHeadAttention(num_heads, size, name=f"{name}_attention")(h, h)
    h = layers.Dropout(dropout, name=f"{name}_attention_dropout")(h)
    x = layers.Add(name=f"{name}_attention_residual")([x, h])

    h = layers.LayerNormalization(epsilon=EPSILON, name=f"{name}_outer_norm")(x)
    h = layers.Dense(feed_forward, activation="gelu", name=f"{name}_inner")(h)  # (B, N + 1, F)
    h = layers.Dense(width, name=f"{name}_outer")(h)  # (B, N + 1, W)
    h = layers.Dropout(dropout, name=f"{name}_outer_dropout")(h)
    return layers.Add(name=f"{name}_outer_residual")([x, h])
