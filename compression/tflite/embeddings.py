"""Rows of a constant table: TFLite's EMBEDDING_LOOKUP in place of GATHER.

Both take rows by their number. Only of the first can a runtime keep the table in int8 or int4, a
scale for each row, and turn into floats no more than the rows it is asked for.
"""

from __future__ import annotations

from typing import Any

GATHER, RESHAPE, SHAPE, CONCATENATION, EMBEDDING_LOOKUP = 36, 22, 77, 2, 7


def use_lookups(model: Any) -> int:
    """Change the ModelT in place; returns how many lookups there are now."""
    from compression.tflite import flatbuffer

    count = 0
    for graph in model.subgraphs:
        operators = []
        for operator in graph.operators:
            if flatbuffer.code(model, operator) == GATHER and _is_lookup(model, graph, operator):
                operators += _lookup(model, graph, operator)
                count += 1
            else:
                operators.append(operator)
        graph.operators = operators
    return count


def _is_lookup(model: Any, graph: Any, operator: Any) -> bool:
    """Whether it takes rows of a constant float matrix, by int32 numbers."""
    from tensorflow.lite.python.schema_py_generated import TensorType

    from compression.tflite import flatbuffer

    table, rows = (graph.tensors[index] for index in operator.inputs[:2])
    options = operator.builtinOptions
    return (
        flatbuffer.constant(model, table) is not None
        and table.type == TensorType.FLOAT32
        and len(table.shape) == 2
        and rows.type == TensorType.INT32
        and rows.shape is not None
        and options.axis == 0
        and options.batchDims == 0
    )


def _lookup(model: Any, graph: Any, operator: Any) -> list[Any]:
    """Operators that give what the GATHER does: the lookup itself takes a list of numbers only."""
    import numpy as np
    from tensorflow.lite.python import schema_py_generated as schema

    from compression.tflite.flatbuffer import add_constant, add_operator, add_tensor

    table, rows = (int(index) for index in operator.inputs[:2])
    width = int(graph.tensors[table].shape[1])
    whole = list(graph.tensors[rows].shape)
    signature = graph.tensors[rows].shapeSignature
    free = [] if signature is None else [axis for axis, size in enumerate(signature) if size < 0]
    float32, int32 = schema.TensorType.FLOAT32, schema.TensorType.INT32
    made = []

    def add(code: int, inputs: list[int], output: int, **options: Any) -> int:
        made.append(add_operator(model, code, inputs, [output], **options))
        return output

    flat = add_constant(model, graph, np.array([-1], np.int32))
    count = int(np.prod(whole))
    listed = add(RESHAPE, [rows, flat], add_tensor(graph, int32, [count], [-1]))
    found = add(
        EMBEDDING_LOOKUP, [listed, table], add_tensor(graph, float32, [count, width], [-1, width])
    )
    if len(free) <= 1:
        sizes = [-1 if axis in free else int(size) for axis, size in enumerate(whole)]
        shape = add_constant(model, graph, np.array([*sizes, width], np.int32))
    else:
        options = schema.ShapeOptionsT()
        options.outType = int32
        sizes = add(
            SHAPE, [rows], add_tensor(graph, int32, [len(whole)]),
            kind=schema.BuiltinOptions.ShapeOptions, options=options,
        )  # fmt: skip
        last = add_constant(model, graph, np.array([width], np.int32))
        shape = add(
            CONCATENATION, [sizes, last], add_tensor(graph, int32, [len(whole) + 1]),
            kind=schema.BuiltinOptions.ConcatenationOptions,
            options=schema.ConcatenationOptionsT(),
        )  # fmt: skip
    add(RESHAPE, [found, shape], int(operator.outputs[0]))
    return made
