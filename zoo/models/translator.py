"""Encoder–decoder Transformer for translation."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any

from zoo import checks
from zoo.layers import layers_for
from zoo.models.sublayers import attention, feed_forward, size_of_head
from zoo.namespaces import keras
from zoo.recipe import Recipe
from zoo.registry import register
from zoo.sizes import Size

if TYPE_CHECKING:
    from keras import Model

EPSILON = 1e-6  # layer normalisation, as in the paper's reference implementation
PAPER = {
    "max_length": 1024,
    "num_encoder_blocks": 6,
    "num_decoder_blocks": 6,
}
SOURCE = "Vaswani et al. 2017, table 3"


@register(
    recipe=Recipe(
        dataset="ui_strings_en_es",
        epochs=36,
        batch_size=32,
        learning_rate=2e-3,
        schedule="inverse_sqrt",
        warmup_epochs=1,
        label_smoothing=0.1,
        # The average of the weights over about the last 1,000 steps stands for the paper's average
        # of the last checkpoints (section 6.1).
        optimizer_options={
            "beta_2": 0.98,
            "epsilon": 1e-9,
            "use_ema": True,
            "ema_momentum": 0.999,
        },
        # An epoch costs a third less than with two blocks a side, so more of them fit into minutes.
        arguments={"num_encoder_blocks": 1, "num_decoder_blocks": 1},
    ),
    sizes={
        "transformer_base": Size(
            {
                **PAPER,
                "vocabulary_size": 41_000,  # what all rows of the table but the last one imply
                "width": 512,
                "num_heads": 8,
                "feed_forward": 2048,
                "dropout": 0.1,
            },
            parameters=65_000_000,
            rounding=1_000_000,
            source=SOURCE,
        ),
        "transformer_big": Size(
            {
                **PAPER,
                "vocabulary_size": 36_000,  # with the text's "about 37,000" it would be 214 million
                "width": 1024,
                "num_heads": 16,
                "feed_forward": 4096,
                "dropout": 0.3,
            },
            parameters=213_000_000,
            rounding=1_000_000,
            source=SOURCE,
        ),
    },
)
def transformer_translator(
    vocabulary_size: int = 4096,
    max_length: int = 256,
    width: int = 128,
    num_heads: int = 4,
    feed_forward: int = 512,
    num_encoder_blocks: int = 2,
    num_decoder_blocks: int = 2,
    dropout: float = 0.1,
    shared_embeddings: bool = True,
    head_width: int | None = None,
    *,
    keras: ModuleType = keras,
) -> Model:
    """Transformer that reads a sentence and predicts each next token of its translation.

    Input `source`: int32 `(batch, source steps)`; id 0 is padding.
    Input `target`: int32 `(batch, target steps)`, the translation so far, its start token first.
    Output `logits`: float32 `(batch, target steps, vocabulary_size)`, of the token after each.

    Args:
        vocabulary_size: number of token ids of both languages, special tokens included.
        max_length: most steps of a source or a target; fewer are as good.
        width: size of embeddings and residuals.
        num_heads: attention heads; without `head_width` they divide `width` among them.
        feed_forward: inner size of the position-wise feed-forward layers.
        num_encoder_blocks: blocks that read the source.
        num_decoder_blocks: blocks that write the target.
        dropout: rate after the embeddings, in attention, and after every sublayer.
        shared_embeddings: one matrix for source, target and output, as in the paper; else three.
        head_width: features of a head; None is an equal share of `width`.
        keras: Keras namespace to build with.

    Raises:
        ShapeError: the heads do not divide the width, or a size is not positive.

    Vaswani et al., "Attention Is All You Need", 2017.
    """
    checks.positive(
        vocabulary_size=vocabulary_size,
        max_length=max_length,
        width=width,
        num_heads=num_heads,
        feed_forward=feed_forward,
        num_encoder_blocks=num_encoder_blocks,
        num_decoder_blocks=num_decoder_blocks,
        head_width=1 if head_width is None else head_width,
    )
    checks.rate(dropout=dropout)
    layers = layers_for(keras)
    options = {
        "num_heads": num_heads,
        "head_width": size_of_head(width, num_heads, head_width),
        "inner": feed_forward,
        "dropout": dropout,
        "keras": keras,
    }

    # === Tokens and positions ===
    source = keras.Input((None,), dtype="int32", name="source")
    target = keras.Input((None,), dtype="int32", name="target")
    if shared_embeddings:
        embedding = layers.TiedEmbedding(vocabulary_size, width, name="embedding")
        embeddings = {"source": embedding, "target": embedding}
    else:
        embeddings = {
            side: layers.TiedEmbedding(vocabulary_size, width, name=f"{side}_embedding")
            for side in ("source", "target")
        }

    def embedded(tokens: Any, side: str) -> Any:
        x = embeddings[side](tokens)  # (B, T, W)
        x = layers.SinusoidalPositions(max_length, name=f"{side}_positions")(x)
        return keras.layers.Dropout(dropout, name=f"{side}_dropout")(x)

    # === Encoder ===
    keep = layers.PaddingMask(name="source_keep")(source)  # (B, S)
    x = embedded(source, "source")
    for number in range(1, num_encoder_blocks + 1):
        x = encoder_block(x, keep, name=f"encoder_{number}", **options)
    memory = x  # (B, S, W)

    # === Decoder ===
    causal = layers.CausalMask(name="target_causal")(target)  # (B, T, T)
    x = embedded(target, "target")
    for number in range(1, num_decoder_blocks + 1):
        x = decoder_block(x, causal, memory, keep, name=f"decoder_{number}", **options)

    # === Next tokens ===
    if shared_embeddings:
        x = embedding(x, reverse=True)  # (B, T, V)
    else:
        x = keras.layers.Dense(vocabulary_size, use_bias=False, name="output")(x)
    # Float32 whatever the precision of the rest.
    logits = keras.layers.Activation("linear", dtype="float32", name="logits")(x)
    return keras.Model({"source": source, "target": target}, logits, name="transformer_translator")


def encoder_block(
    x: Any,
    keep: Any,
    *,
    num_heads: int,
    head_width: int,
    inner: int,
    dropout: float,
    name: str,
    keras: ModuleType,
) -> Any:
    """Self-attention and a feed-forward layer: x ← norm(x + sublayer(x)) for each.

    Args:
        x: float `(batch, steps, width)`.
        keep: bool `(batch, steps)`, False for padding.
        head_width: features of a head.
        inner: size inside the feed-forward layer.

    Returns:
        float `(batch, steps, width)`.
    """
    mine = {"dropout": dropout, "keras": keras}
    heads = {"num_heads": num_heads, "head_width": head_width}
    attended = attention(x, x, keep, name=f"{name}_self", **heads, **mine)
    x = _residual(x, attended, name=f"{name}_self", **mine)
    outer = feed_forward(x, inner, activation="relu", name=name, keras=keras)
    return _residual(x, outer, name=f"{name}_outer", **mine)


def decoder_block(
    x: Any,
    causal: Any,
    memory: Any,
    keep: Any,
    *,
    num_heads: int,
    head_width: int,
    inner: int,
    dropout: float,
    name: str,
    keras: ModuleType,
) -> Any:
    """As `encoder_block`, with attention to the encoder's output between its two sublayers.

    Args:
        x: float `(batch, target steps, width)`.
        causal: bool `(batch, target steps, target steps)`, see `CausalMask`.
        memory: float `(batch, source steps, width)`, the encoder's output.
        keep: bool `(batch, source steps)`, False for padding.
        head_width: features of a head.
        inner: size inside the feed-forward layer.

    Returns:
        float `(batch, target steps, width)`.
    """
    mine = {"dropout": dropout, "keras": keras}
    heads = {"num_heads": num_heads, "head_width": head_width}
    attended = attention(x, x, causal, name=f"{name}_self", **heads, **mine)
    x = _residual(x, attended, name=f"{name}_self", **mine)
    attended = attention(x, memory, keep, name=f"{name}_cross", **heads, **mine)
    x = _residual(x, attended, name=f"{name}_cross", **mine)
    outer = feed_forward(x, inner, activation="relu", name=name, keras=keras)
    return _residual(x, outer, name=f"{name}_outer", **mine)


def _residual(x: Any, branch: Any, *, dropout: float, name: str, keras: ModuleType) -> Any:
    branch = keras.layers.Dropout(dropout, name=f"{name}_dropout")(branch)
    x = keras.layers.Add(name=f"{name}_residual")([x, branch])
    return keras.layers.LayerNormalization(epsilon=EPSILON, name=f"{name}_norm")(x)
