"""BERT and its kin: encoders that are pre-trained by filling in masked tokens."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

from zoo import checks
from zoo.errors import ShapeError
from zoo.layers import layers_for
from zoo.models.sublayers import per_block
from zoo.models.transformer import make_encoder_block
from zoo.namespaces import keras
from zoo.recipe import Recipe
from zoo.registry import register
from zoo.sizes import Size

if TYPE_CHECKING:
    from keras import Model

HEADS = ("masked_language_model", "pooler")
EPSILON = 1e-12  # layer normalisation, as BERT was published
STDDEV = 0.02  # of new embeddings, section 3.1 of GPT and BERT's own code

BERT_BASE = {
    "vocabulary_size": 30_522,
    "max_length": 512,
    "width": 768,
    "num_heads": 12,
    "feed_forward": 3072,
    "num_blocks": 12,
    "head": "pooler",
}
SIZES = {
    "bert_base": Size(
        BERT_BASE,
        parameters=109_482_240,
        source="Devlin et al., BERT, 2019; the uncased model",
    ),
    "bert_large": Size(
        {**BERT_BASE, "width": 1024, "num_heads": 16, "feed_forward": 4096, "num_blocks": 24},
        parameters=335_141_888,
        source="Devlin et al., BERT, 2019; the uncased model",
    ),
    "roberta_base": Size(
        {
            **BERT_BASE,
            "vocabulary_size": 50_265,
            "position_offset": 2,
            "num_segments": 1,
        },
        parameters=124_645_632,
        source="Liu et al., RoBERTa, 2019; with BERT's pooler",
    ),
    "albert_base": Size(
        {
            **BERT_BASE,
            "vocabulary_size": 30_000,
            "embedding_width": 128,
            "shared_layers": True,
        },
        parameters=11_683_584,
        source="Lan et al., ALBERT, 2020; with pooler",
    ),
}


@register(
    recipe=Recipe(
        dataset="reuters_mlm", epochs=4, batch_size=16, schedule="linear", warmup_epochs=0.3
    ),
    sizes=SIZES,
)
def transformer_encoder(
    vocabulary_size: int = 512,
    max_length: int = 128,
    num_segments: int = 2,
    width: int = 128,
    num_heads: int | Sequence[int] = 4,
    feed_forward: int | Sequence[int] = 512,
    num_blocks: int = 2,
    embedding_width: int | None = None,
    shared_layers: bool = False,
    position_offset: int = 0,
    dropout: float = 0.1,
    head: str = "masked_language_model",
    head_width: int | None = None,
    *,
    keras: ModuleType = keras,
) -> Model:
    """BERT-style encoder with a masked-language-model head or a pooler.

    Input `tokens`: int32 `(batch, steps)`, up to `max_length` steps; id 0 is padding.
    Input `segments`: int32 `(batch, steps)`, which of `num_segments` texts a token belongs to.
    Output `logits`, of the head "masked_language_model": float32 `(batch, steps,
    vocabulary_size)`.
    Outputs `sequence` and `pooled`, of the head "pooler": float32 `(batch, steps, width)`, the
    last block's states, and `(batch, width)`, tanh of a dense layer on the first step's.

    Args:
        vocabulary_size: number of token ids.
        max_length: the most steps a sequence may have.
        num_segments: number of segment ids.
        width: size of the residuals.
        num_heads: attention heads, of all blocks or of each; without `head_width` they divide
            `width` among them.
        feed_forward: inner size of the position-wise feed-forward layers, of all or of each.
        num_blocks: encoder blocks.
        embedding_width: size of the embeddings, projected to `width` where it differs (ALBERT).
        shared_layers: one block's weights serve as all blocks (ALBERT), of one size then.
        position_offset: rows of the position table before the first step's (RoBERTa has 2).
        dropout: rate after the embeddings, in attention, and after every sublayer.
        head: "masked_language_model" or "pooler".
        head_width: features of a head; None is an equal share of `width`.
        keras: Keras namespace to build with.

    Raises:
        ShapeError: the heads do not divide the width, other numbers than blocks are given, there
            is no such head, the offset is negative, or a size is not positive.

    Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers for Language
    Understanding", 2019; Liu et al., "RoBERTa", 2019; Lan et al., "ALBERT", 2020.
    """
    embedding_width = embedding_width or width
    checks.positive(
        vocabulary_size=vocabulary_size,
        max_length=max_length,
        num_segments=num_segments,
        width=width,
        num_heads=num_heads,
        feed_forward=feed_forward,
        num_blocks=num_blocks,
        embedding_width=embedding_width,
        head_width=1 if head_width is None else head_width,
    )
    checks.rate(dropout=dropout)
    if position_offset < 0:
        raise ShapeError(f"position_offset is {position_offset}: it must not be negative.")
    distinct = 1 if shared_layers else num_blocks
    heads = per_block("num_heads", num_heads, distinct)
    inner = per_block("feed_forward", feed_forward, distinct)
    if head not in HEADS:
        raise ShapeError(f"transformer_encoder takes head {' or '.join(HEADS)}, not {head!r}.")
    layers = layers_for(keras)

    # === Tokens, positions and segments ===
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    segments = keras.Input((None,), dtype="int32", name="segments")
    keep = layers.PaddingMask(name="keep")(tokens)  # (B, T)
    embedding = layers.TiedEmbedding(
        vocabulary_size, embedding_width, stddev=STDDEV, name="embedding"
    )
    x = embedding(tokens)  # (B, T, E)
    x = layers.LearnedPositions(
        max_length + position_offset,
        offset=position_offset,
        initializer="sinusoids",
        stddev=STDDEV,
        name="positions",
    )(x)
    segment = keras.layers.Embedding(num_segments, embedding_width, name="segment")(segments)
    x = keras.layers.Add(name="embeddings")([x, segment])
    x = keras.layers.LayerNormalization(epsilon=EPSILON, name="embedding_norm")(x)
    x = keras.layers.Dropout(dropout, name="dropout")(x)
    if embedding_width != width:
        x = keras.layers.Dense(width, name="projection")(x)  # (B, T, W)

    # === Encoder ===
    for number in range(num_blocks):
        if number < distinct:
            block = make_encoder_block(
                width=width,
                num_heads=heads[number],
                head_width=head_width,
                feed_forward=inner[number],
                dropout=dropout,
                activation="gelu",
                epsilon=EPSILON,
                stddev=width**-0.5,
                name="block" if shared_layers else f"block_{number + 1}",
                keras=keras,
            )
        x = block(x, keep)

    # === Head ===
    outputs = _pooler(x, keras) if head == "pooler" else _decoder(x, embedding, keras)
    return keras.Model(
        {"tokens": tokens, "segments": segments}, outputs, name="transformer_encoder"
    )


def _pooler(x: Any, keras: ModuleType) -> dict[str, Any]:
    sequence = keras.layers.Activation("linear", dtype="float32", name="sequence")(x)
    dense = keras.layers.Dense(x.shape[-1], activation="tanh", dtype="float32", name="pooled")
    return {"sequence": sequence, "pooled": dense(sequence[:, 0])}


def _decoder(x: Any, embedding: Any, keras: ModuleType) -> Any:
    """Scores of every token id, by the very matrix that embedded the tokens."""
    x = keras.layers.Dense(embedding.width, activation="gelu", name="transform")(x)
    x = keras.layers.LayerNormalization(epsilon=EPSILON, name="transform_norm")(x)
    scores = embedding(x, reverse=True)  # (B, T, V)
    return layers_for(keras).Bias(dtype="float32", name="logits")(scores)
