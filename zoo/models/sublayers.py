"""Attention and feed-forward sublayers of named Dense layers.

`zoo.decoding` finds the layers again by these names: `…_query`, `…_key`, `…_value`, `…_attention`
and `…_output` of an attention called `…`, and `…_inner` and `…_outer` of a feed-forward layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

from zoo.errors import ShapeError
from zoo.layers import layers_for


def per_block(name: str, value: int | Sequence[int], blocks: int) -> tuple[int, ...]:
    """One number for each block, where `value` is one for all or one for each.

    Raises:
        ShapeError: numbers for more or fewer blocks than there are.
    """
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,) * blocks
    if len(values) != blocks:
        raise ShapeError(
            f"{name} has {len(values)} number(s) for {blocks} block(s): give one for all or one "
            "for each."
        )
    return values


def size_of_head(width: int, num_heads: int, head_width: int | None) -> int:
    """`head_width`, or where it is None an equal share of the width.

    Raises:
        ShapeError: the heads do not divide the width.
    """
    if head_width is not None:
        return head_width
    if width % num_heads:
        raise ShapeError(f"The {num_heads} attention heads do not divide the width {width}.")
    return width // num_heads


def attention(
    x: Any,
    context: Any,
    mask: Any,
    *,
    num_heads: int,
    dropout: float,
    name: str,
    keras: ModuleType,
    head_width: int | None = None,
    stddev: float | None = None,
    output_stddev: float | None = None,
) -> Any:
    """Multi-head attention from `x` to `context`, which is `x` itself in self-attention.

    Args:
        x: float `(batch, steps, width)`.
        context: float `(batch, others, width)`.
        mask: bool `(batch, others)` or `(batch, steps, others)`, True where a step may look.
        head_width: features of a head; None is an equal share of the width.
        stddev: of the kernels' normal distribution at the start; None is Glorot's uniform one.
        output_stddev: that of the last kernel, where it is another one.

    Returns:
        float `(batch, steps, width)`.

    Vaswani et al., "Attention Is All You Need", 2017, section 3.2.2.
    """
    width, kernel = x.shape[-1], _kernel(stddev, keras)
    inner = num_heads * size_of_head(width, num_heads, head_width)
    last = _kernel(output_stddev or stddev, keras)
    query, key, value = (
        keras.layers.Dense(inner, kernel_initializer=kernel(), name=f"{name}_{part}")(tensor)
        for part, tensor in (("query", x), ("key", context), ("value", context))
    )
    attended = layers_for(keras).DotProductAttention(num_heads, dropout, name=f"{name}_attention")(
        query, key, value, mask
    )
    return keras.layers.Dense(width, kernel_initializer=last(), name=f"{name}_output")(attended)


def feed_forward(
    x: Any,
    inner: int,
    *,
    activation: str,
    name: str,
    keras: ModuleType,
    stddev: float | None = None,
    output_stddev: float | None = None,
) -> Any:
    """Two Dense layers at each position: float `(batch, steps, width)`, same shape out.

    `stddev` and `output_stddev` are those of `attention`.

    Vaswani et al., 2017, section 3.3.
    """
    width, kernel = x.shape[-1], _kernel(stddev, keras)
    last = _kernel(output_stddev or stddev, keras)
    x = keras.layers.Dense(
        inner, activation=activation, kernel_initializer=kernel(), name=f"{name}_inner"
    )(x)  # (B, T, inner)
    return keras.layers.Dense(width, kernel_initializer=last(), name=f"{name}_outer")(x)


def _kernel(stddev: float | None, keras: ModuleType) -> Any:
    """A new initializer at each call: two layers must not share one's random numbers."""
    if stddev is None:
        return keras.initializers.GlorotUniform
    return lambda: keras.initializers.RandomNormal(stddev=stddev)
