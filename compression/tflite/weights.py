"""Weights of a TFLite file in int8 or int4, by ai-edge-quantizer.

TensorFlow's own converter leaves tensors under 1,024 elements in float32, which in small models
are most of them: a GRU of 32 units takes 12.3 kB (gzip) from it and 8.6 kB from here.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def quantize_weights(content: bytes, job: Mapping[str, Any]) -> bytes:
    """The file with integer weights.

    Args:
        content: a float32 TFLite file whose tensors have names.
        job: `weights` and `embeddings`, each "int8" or "int4"; `activations`, "dynamic" where
            inputs of an operation are quantized while it runs, else "float32": the weights are
            turned into floats first; `granularity`, "channel" for a scale for each output
            channel, or "tensor" for one in all.
    """
    from ai_edge_quantizer import quantizer
    from ai_edge_quantizer.qtyping import QuantGranularity, TFLOperationName
    from ai_edge_quantizer.recipe_manager import RecipeManager

    recipe = RecipeManager()
    dynamic = job["activations"] == "dynamic"
    add = recipe.add_dynamic_config if dynamic else recipe.add_weight_only_config
    fine, coarse = QuantGranularity.CHANNELWISE, QuantGranularity.TENSORWISE
    granularity = fine if job["granularity"] == "channel" else coarse
    products, embeddings = int(job["weights"][3:]), int(job["embeddings"][3:])
    # A scale for each row of an int8 table costs a fifth of it and gains little.
    rows = granularity if embeddings < 8 else coarse
    for operation, bits, scales in (
        (TFLOperationName.ALL_SUPPORTED, 8, granularity),  # int4 convolutions are slow
        (TFLOperationName.FULLY_CONNECTED, products, granularity),
        (TFLOperationName.EMBEDDING_LOOKUP, embeddings, rows),
    ):
        add(regex=".*", operation_name=operation, num_bits=bits, granularity=scales)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        path = Path(folder, "float32.tflite")
        path.write_bytes(content)
        made = quantizer.Quantizer(str(path), recipe.get_quantization_recipe()).quantize()
    return bytes(made.quantized_model)
