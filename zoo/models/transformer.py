"""Transformer models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

from zoo import checks
from zoo.layers import layers_for
from zoo.models.sublayers import per_block, size_of_head
from zoo.namespaces import keras
from zoo.recipe import Recipe
from zoo.registry import register
from zoo.sizes import Size

if TYPE_CHECKING:
    from keras import Model

EPSILON = 1e-6  # layer normalisation, as in the paper's reference implementation


@register(
    recipe=Recipe(dataset="reuters_r8", epochs=8, batch_size=32, schedule="cosine"),
    sizes={
        "large": Size(
            {"width": 128, "num_heads": 4, "feed_forward": 512, "num_blocks": 4},
            parameters=3_354_120,
            source="no paper: what benchmarks of compression begin with",
        )
    },
)
def transformer_classifier(
    vocabulary_size: int = 20000,
    max_length: int = 128,
    num_classes: int = 8,
    width: int = 64,
    num_heads: int | Sequence[int] = 4,
    feed_forward: int | Sequence[int] = 128,
    num_blocks: int = 2,
    dropout: float = 0.1,
    head_width: int | None = None,
    *,
    keras: ModuleType = keras,
) -> Model:
    """Transformer encoder over token ids, masked mean pooling and a softmax.

    Input `tokens`: int32 `(batch, max_length)`; id 0 is padding.
    Output `probabilities`: float32 `(batch, num_classes)`, rows sum to 1.

    Args:
        vocabulary_size: number of token ids, padding and unknown included.
        max_length: steps of every example.
        num_classes: classes to tell apart.
        width: size of embeddings and residuals.
        num_heads: attention heads, of all blocks or of each; without `head_width` they divide
            `width` among them.
        feed_forward: inner size of the position-wise feed-forward layers, of all or of each.
        num_blocks: encoder blocks.
        dropout: rate after the embedding, in attention, and after every sublayer.
        head_width: features of a head; None is an equal share of `width`.
        keras: Keras namespace to build with.

    Raises:
        ShapeError: the heads do not divide the width, other numbers than blocks are given, or a
            size is not positive.

    Vaswani et al., "Attention Is All You Need", 2017.
    """
    checks.positive(
        vocabulary_size=vocabulary_size,
        max_length=max_length,
        num_classes=num_classes,
        width=width,
        num_heads=num_heads,
        feed_forward=feed_forward,
        num_blocks=num_blocks,
        head_width=1 if head_width is None else head_width,
    )
    checks.rate(dropout=dropout)
    heads = per_block("num_heads", num_heads, num_blocks)
    inner = per_block("feed_forward", feed_forward, num_blocks)
    layers = layers_for(keras)

    # === Tokens and positions ===
    tokens = keras.Input((max_length,), dtype="int32", name="tokens")
    keep = layers.PaddingMask(name="keep")(tokens)  # (B, T)
    x = keras.layers.Embedding(vocabulary_size, width, name="embedding")(tokens)  # (B, T, W)
    x = layers.SinusoidalPositions(name="positions")(x)
    x = keras.layers.Dropout(dropout, name="dropout")(x)

    # === Encoder ===
    for number in range(num_blocks):
        x = encoder_block(
            x,
            keep,
            num_heads=heads[number],
            head_width=head_width,
            feed_forward=inner[number],
            dropout=dropout,
            name=f"block_{number + 1}",
            keras=keras,
        )

    # === Classes ===
    x = layers.MaskedMean(name="mean")(x, keep)  # (B, W)
    probabilities = keras.layers.Dense(num_classes, activation="softmax", name="probabilities")(x)
    return keras.Model(tokens, probabilities, name="transformer_classifier")


def encoder_block(x: Any, keep: Any, **options: Any) -> Any:
    """One block of `make_encoder_block` with weights of its own, applied once."""
    return make_encoder_block(width=x.shape[-1], **options)(x, keep)


def make_encoder_block(
    *,
    width: int,
    num_heads: int,
    feed_forward: int,
    dropout: float,
    name: str,
    head_width: int | None = None,
    activation: str = "relu",
    epsilon: float = EPSILON,
    stddev: float | None = None,
    keras: ModuleType = keras,
) -> Callable[[Any, Any], Any]:
    """Self-attention and a feed-forward layer, each with residual and layer normalisation.

    Attention(Q, K, V) = softmax(Q Kᵀ / √d_k) V in every head; x ← norm(x + sublayer(x)).

    Args:
        head_width: features of a head; None is an equal share of the width.
        stddev: of the attention kernels' normal distribution at the start; None is Keras's own,
            which takes the heads for a part of a far larger matrix and begins near even attention.

    Returns:
        A function of x, float `(batch, steps, width)`, and keep, bool `(batch, steps)`, False for
        padding, that gives a float of x's shape. Its weights are the same at every call.

    Vaswani et al., 2017, section 3.1.
    """
    layers = keras.layers
    kernel = "glorot_uniform" if stddev is None else keras.initializers.RandomNormal(stddev=stddev)
    attention = layers.MultiHeadAttention(
        num_heads,
        size_of_head(width, num_heads, head_width),
        dropout=dropout,
        kernel_initializer=kernel,
        name=f"{name}_attention",
    )
    attention_dropout = layers.Dropout(dropout, name=f"{name}_attention_dropout")
    attention_residual = layers.Add(name=f"{name}_attention_residual")
    attention_norm = layers.LayerNormalization(epsilon=epsilon, name=f"{name}_attention_norm")
    inner = layers.Dense(feed_forward, activation=activation, name=f"{name}_inner")
    outer = layers.Dense(width, name=f"{name}_outer")
    outer_dropout = layers.Dropout(dropout, name=f"{name}_outer_dropout")
    outer_residual = layers.Add(name=f"{name}_outer_residual")
    outer_norm = layers.LayerNormalization(epsilon=epsilon, name=f"{name}_outer_norm")

    def block(x: Any, keep: Any) -> Any:
        # By name, because Keras 3's MultiHeadAttention sees no mask that was computed outside.
        attended = attention(x, x, attention_mask=keep[:, None, :])
        x = attention_norm(attention_residual([x, attention_dropout(attended)]))
        transformed = outer(inner(x))  # (B, T, F), then (B, T, W)
        return outer_norm(outer_residual([x, outer_dropout(transformed)]))

    return block
