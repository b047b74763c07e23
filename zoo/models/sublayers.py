"""Attention and feed-forward sublayers of named Dense layers.

`zoo.decoding` finds the layers again by these names: `…_query`, `…_key`, `…_value`, `…_attention`
and `…_output` of an attention called `…`, and `…_inner` and `…_outer` of a feed-forward layer.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from zoo.layers import layers_for


def attention(
    x: Any,
    context: Any,
    mask: Any,
    *,
    num_heads: int,
    dropout: float,
    name: str,
    keras: ModuleType,
    stddev: float | None = None,
    output_stddev: float | None = None,
) -> Any:
    """Multi-head attention from `x` to `context`, which is `x` itself in self-attention.

    Args:
        x: float `(batch, steps, width)`.
        context: float `(batch, others, width)`.
        mask: bool `(batch, others)` or `(batch, steps, others)`, True where a step may look.
        stddev: of the kernels' normal distribution at the start; None is Glorot's uniform one.
        output_stddev: that of the last kernel, where it is another one.

    Returns:
        float `(batch, steps, width)`.

    Vaswani et al., "Attention Is All You Need", 2017, section 3.2.2.
    """
    width, kernel = x.shape[-1], _kernel(stddev, keras)
    last = _kernel(output_stddev or stddev, keras)
    query, key, value = (
        keras.layers.Dense(width, kernel_initializer=kernel(), name=f"{name}_{part}")(tensor)
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
