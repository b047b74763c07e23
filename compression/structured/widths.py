"""Which argument of a builder gives which layers their units."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from zoo.errors import InvalidOption


@dataclasses.dataclass(frozen=True)
class Width:
    """An argument of a builder that says how many units layers have.

    Attributes:
        argument: its name. A sequence has a number for each layer, in the model's order.
        layers: regular expression for the whole name of the layers; or a function that makes one
            from the builder's arguments.
        each: a single number, or None, may be replaced by one for each layer.
        residual: the width that all blocks share; it shrinks only when asked for by name.
    """

    argument: str
    layers: str | Callable[[Mapping[str, Any]], str]
    each: bool = False
    residual: bool = False

    def pattern(self, arguments: Mapping[str, Any]) -> str:
        """The regular expression with these arguments."""
        return self.layers(arguments) if callable(self.layers) else self.layers


def _inside_blocks(arguments: Mapping[str, Any]) -> str:
    from zoo.models.resnet import BOTTLENECKS

    inner = "[12]" if arguments["depth"] in BOTTLENECKS else "1"
    return rf"stage_\d+_block_\d+_{inner}_conv"


_TRANSFORMER = (
    Width("num_heads", r"block_\d+_attention", each=True),
    Width("feed_forward", r"block_\d+_inner", each=True),
)

_declared: dict[str, tuple[Width, ...]] = {
    "softmax_regression": (),
    "mlp_regressor": (Width("units", "hidden"),),
    "dense": (Width("units", r"hidden_\d+"),),
    "lenet5": (Width("filters", r"conv_\d"), Width("dense_units", r"hidden_\d")),
    "cnn_small": (Width("filters", "conv"),),
    "cnn": (Width("filters", r"conv_\d+"), Width("dense_units", "hidden")),
    "resnet": (Width("inner_filters", _inside_blocks, each=True),),
    "simple_rnn": (Width("units", "rnn"),),
    "lstm": (Width("units", "lstm"), Width("dense_units", "hidden")),
    "gru": (Width("units", "gru|both_ways"),),
    "bidirectional_lstm": (Width("width", "embedding"), Width("units", "both_ways")),
    "transformer_classifier": (*_TRANSFORMER, Width("width", "embedding", residual=True)),
    "vit": (*_TRANSFORMER, Width("width", "patches", residual=True)),
    "transformer_encoder": (
        Width("num_heads", r"block(_\d+)?_attention", each=True),
        Width("feed_forward", r"block(_\d+)?_inner", each=True),
        Width("width", r"block(_1)?_outer", residual=True),
        Width("embedding_width", "embedding", residual=True),
    ),
    "causal_lm": (
        Width("num_heads", r"block_\d+_self_attention", each=True),
        Width("feed_forward", r"block_\d+_inner", each=True),
        Width("width", "embedding", residual=True),
    ),
    "transformer_translator": (
        Width("num_heads", r"(en|de)coder_\d+_(self|cross)_attention"),
        Width("feed_forward", r"(en|de)coder_\d+_inner"),
        Width("width", r"(source_)?embedding", residual=True),
    ),
}


def declare(builder: str, *widths: Width) -> None:
    """Tells `shrink` which arguments of a registered builder of one's own give layers their units.

    Raises:
        InvalidOption: they were declared before.
    """
    if builder in _declared:
        raise InvalidOption(f"The widths of {builder} are declared already.")
    _declared[builder] = widths


def widths_of(builder: str) -> tuple[Width, ...] | None:
    """What was declared for a builder; None for nothing."""
    return _declared.get(builder)
