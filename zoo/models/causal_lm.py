"""Decoder-only Transformer for text generation."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

from zoo import checks
from zoo.layers import layers_for
from zoo.models.sublayers import attention, feed_forward, per_block
from zoo.namespaces import keras
from zoo.recipe import Recipe
from zoo.registry import register
from zoo.sizes import Size

if TYPE_CHECKING:
    from keras import Model

EPSILON = 1e-5  # layer normalisation, as in the published code
STDDEV, WIDTH = 0.02, 768  # of every matrix at the start, and of the model that has it


@register(
    recipe=Recipe(
        dataset="reuters_bytes",
        epochs=7,
        batch_size=8,
        # A step costs little more than Adam's here, and learns more (Jordan et al., 2024).
        optimizer="muon",
        learning_rate=3e-3,
        schedule="cosine",
        warmup_epochs=0.2,
        optimizer_options={
            "weight_decay": 0.01,
            "adam_weight_decay": 0.01,
            "adam_beta_2": 0.98,
            "exclude_layers": ["positions"],
            "use_ema": True,
            "ema_momentum": 0.999,
        },
        arguments={"dropout": 0.0},
    ),
    sizes={
        "gpt2_small": Size(
            {
                "vocabulary_size": 50_257,
                "max_length": 1024,
                "width": 768,
                "num_heads": 12,
                "feed_forward": 3072,
                "num_blocks": 12,
            },
            parameters=124_439_808,
            source="Radford et al. 2019; count of the published weights",
        ),
    },
)
def causal_lm(
    vocabulary_size: int = 512,
    max_length: int = 128,
    width: int = 128,
    num_heads: int | Sequence[int] = 4,
    feed_forward: int | Sequence[int] = 512,
    num_blocks: int = 2,
    dropout: float = 0.1,
    head_width: int | None = None,
    *,
    keras: ModuleType = keras,
) -> Model:
    """Language model in GPT-2's form: each step predicts the next token from those before it.

    Input `tokens`: int32 `(batch, steps)`; id 0 is padding.
    Output `logits`: float32 `(batch, steps, vocabulary_size)`, of the token after each.

    Normalisation stands before every sublayer and once more after the last, positions are
    learned, the feed-forward layers use GELU, and the embedding matrix also gives the logits.

    Args:
        vocabulary_size: number of token ids, special tokens included.
        max_length: most steps of a sequence; fewer are as good.
        width: size of embeddings and residuals.
        num_heads: attention heads, of all blocks or of each; without `head_width` they divide
            `width` among them.
        feed_forward: inner size of the position-wise feed-forward layers, of all or of each.
        num_blocks: Transformer blocks.
        dropout: rate after the embedding, in attention, and after every sublayer.
        head_width: features of a head; None is an equal share of `width`.
        keras: Keras namespace to build with.

    Raises:
        ShapeError: the heads do not divide the width, other numbers than blocks are given, or a
            size is not positive.

    Radford et al., "Language Models are Unsupervised Multitask Learners", 2019.
    """
    checks.positive(
        vocabulary_size=vocabulary_size,
        max_length=max_length,
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
    stddev = STDDEV * WIDTH / width  # a narrow model with the published one learns slowly

    # === Tokens and positions ===
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    causal = layers.CausalMask(name="causal")(tokens)  # (B, T, T)
    embedding = layers.TiedEmbedding(vocabulary_size, width, stddev, name="embedding")
    x = layers.LearnedPositions(
        max_length, initializer="sinusoids", stddev=stddev, name="positions"
    )(embedding(tokens))  # (B, T, W)
    x = keras.layers.Dropout(dropout, name="dropout")(x)

    # === Decoder ===
    for number in range(num_blocks):
        x = causal_block(
            x,
            causal,
            num_heads=heads[number],
            head_width=head_width,
            inner=inner[number],
            dropout=dropout,
            stddev=stddev,
            output_stddev=stddev / (2 * num_blocks) ** 0.5,  # section 2.3 of the paper
            name=f"block_{number + 1}",
            keras=keras,
        )
    x = keras.layers.LayerNormalization(epsilon=EPSILON, name="norm")(x)

    # === Next tokens ===
    x = embedding(x, reverse=True)  # (B, T, V)
    # Float32 whatever the precision of the rest.
    logits = keras.layers.Activation("linear", dtype="float32", name="logits")(x)
    return keras.Model(tokens, logits, name="causal_lm")


def causal_block(
    x: Any,
    causal: Any,
    *,
    num_heads: int,
    inner: int,
    dropout: float,
    stddev: float,
    output_stddev: float,
    name: str,
    head_width: int | None = None,
    keras: ModuleType,
) -> Any:
    """Self-attention and a feed-forward layer: x ← x + sublayer(norm(x)) for each.

    Args:
        x: float `(batch, steps, width)`.
        causal: bool `(batch, steps, steps)`, see `CausalMask`.
        head_width: features of a head; None is an equal share of the width.
        inner: size inside the feed-forward layer.
        stddev: of the kernels' normal distribution at the start.
        output_stddev: that of the kernels whose output is added to x.

    Returns:
        float `(batch, steps, width)`.
    """
    layers = keras.layers
    h = layers.LayerNormalization(epsilon=EPSILON, name=f"{name}_self_norm")(x)
    h = attention(
        h,
        h,
        causal,
        num_heads=num_heads,
        head_width=head_width,
        dropout=dropout,
        name=f"{name}_self",
        keras=keras,
        stddev=stddev,
        output_stddev=output_stddev,
    )
    h = layers.Dropout(dropout, name=f"{name}_self_dropout")(h)
    x = layers.Add(name=f"{name}_self_residual")([x, h])

    h = layers.LayerNormalization(epsilon=EPSILON, name=f"{name}_outer_norm")(x)
    h = feed_forward(
        h,
        inner,
        activation="gelu",
        name=name,
        keras=keras,
        stddev=stddev,
        output_stddev=output_stddev,
    )
    h = layers.Dropout(dropout, name=f"{name}_outer_dropout")(h)
    return layers.Add(name=f"{name}_outer_residual")([x, h])
