"""What a TFLite file holds beside its weights, and how much of it can go."""

from __future__ import annotations

from typing import Any

# Numbers of TFLite's schema (BuiltinOperator).
PACK, RESHAPE = 83, 22
KEEP_ALWAYS = {129, 142, 143, 144}  # CALL_ONCE, VAR_HANDLE, READ_VARIABLE, ASSIGN_VARIABLE


def stripped(content: bytes) -> bytes:
    """The same model without what no runtime needs. Nothing that is computed changes.

    Names of inner tensors, their free sizes, the description and the converter's metadata go;
    inputs, outputs and signatures keep their names. A reshape whose one free size is computed
    from its input's shape gets the constant -1 there. Equal constants are written once.
    """
    model = read(content)
    model.metadata, model.metadataBuffer, model.description = None, None, None
    for graph in model.subgraphs:
        _fix_reshapes(model, graph)
        _drop_unused_operators(model, graph)
        _drop_unused_tensors(model, graph)
        outer = {*graph.inputs, *graph.outputs}
        for index, tensor in enumerate(graph.tensors):
            if index not in outer:
                tensor.name, tensor.shapeSignature = None, None
            if tensor.quantization is not None and tensor.quantization.scale is None:
                tensor.quantization = None
        for operator in graph.operators:
            operator.debugMetadataIndex = -1
    _share_buffers(model)
    return write(model)


def read(content: bytes) -> Any:
    """The file's ModelT, of TFLite's schema, with all constants inside it."""
    import numpy as np
    from tensorflow.lite.python import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content, 0)
    for buffer in model.buffers:
        if buffer.size > 1:  # ai-edge-quantizer puts constants of larger models behind the rest
            data = content[buffer.offset : buffer.offset + buffer.size]
            buffer.data, buffer.offset, buffer.size = np.frombuffer(data, np.uint8), 0, 0
    return model


def write(model: Any) -> bytes:
    """The bytes of a ModelT; vectors that are equal stand in the file once."""
    import flatbuffers

    class Builder(flatbuffers.Builder):
        def __init__(self, size: int):
            super().__init__(size)
            self._written: dict[tuple, int] = {}

        def CreateNumpyVector(self, values: Any) -> int:  # noqa: N802 - overrides it
            key = (values.dtype.str, values.tobytes())
            if key not in self._written:
                self._written[key] = super().CreateNumpyVector(values)
            return self._written[key]

    builder = Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def constant(model: Any, tensor: Any) -> Any:
    """The bytes of a constant tensor; None for one that is computed."""
    data = model.buffers[tensor.buffer].data
    return None if data is None or not len(data) else data


def code(model: Any, operator: Any) -> int:
    """Its BuiltinOperator number."""
    found = model.operatorCodes[operator.opcodeIndex]
    return max(found.builtinCode, found.deprecatedBuiltinCode)


def _fix_reshapes(model: Any, graph: Any) -> None:
    """Give reshapes whose shape is packed from one computed size the constant -1 for it.

    The other sizes are known, so it can be nothing else.
    """
    import numpy as np

    maker = {out: operator for operator in graph.operators for out in operator.outputs}
    for operator in graph.operators:
        if code(model, operator) != RESHAPE or len(operator.inputs) < 2:
            continue
        packed = maker.get(operator.inputs[1])
        if packed is None or code(model, packed) != PACK:
            continue
        parts = [constant(model, graph.tensors[index]) for index in packed.inputs]
        if sum(part is None for part in parts) != 1:
            continue
        sizes = [-1 if p is None else int(np.asarray(p).view(np.int32)[0]) for p in parts]
        if 0 in sizes:
            continue
        added = add_constant(model, graph, np.array(sizes, np.int32))
        operator.inputs = np.array([operator.inputs[0], added], np.int32)
        operator.builtinOptionsType, operator.builtinOptions = 0, None


def add_constant(model: Any, graph: Any, values: Any) -> int:
    """Index of a new tensor that holds an int32 array."""
    import numpy as np
    from tensorflow.lite.python import schema_py_generated as schema

    buffer = schema.BufferT()
    buffer.data = np.ascontiguousarray(values, np.int32).view(np.uint8)
    model.buffers.append(buffer)
    index = add_tensor(graph, schema.TensorType.INT32, values.shape)
    graph.tensors[index].buffer = len(model.buffers) - 1
    return index


def add_tensor(graph: Any, kind: int, shape: Any, free: Any = None) -> int:
    """Index of a new computed tensor; `free` is its shape with -1 where a size is free."""
    import numpy as np
    from tensorflow.lite.python import schema_py_generated as schema

    tensor = schema.TensorT()
    tensor.name = f"added_{len(graph.tensors)}".encode()  # ai-edge-quantizer needs names
    tensor.type, tensor.shape = kind, np.array(shape, np.int32)
    tensor.shapeSignature = None if free is None else np.array(free, np.int32)
    tensor.quantization = schema.QuantizationParametersT()
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def add_operator(
    model: Any, builtin: int, inputs: Any, outputs: Any, kind: int = 0, options: Any = None
) -> Any:
    """A new OperatorT of a builtin operation; where it goes is the caller's business."""
    import numpy as np
    from tensorflow.lite.python import schema_py_generated as schema

    operator = schema.OperatorT()
    operator.opcodeIndex = _code_index(model, builtin)
    operator.inputs, operator.outputs = np.array(inputs, np.int32), np.array(outputs, np.int32)
    operator.builtinOptionsType, operator.builtinOptions = kind, options
    return operator


def _code_index(model: Any, builtin: int) -> int:
    from tensorflow.lite.python import schema_py_generated as schema

    for index, known in enumerate(model.operatorCodes):
        if max(known.builtinCode, known.deprecatedBuiltinCode) == builtin:
            return index
    added = schema.OperatorCodeT()
    added.builtinCode, added.deprecatedBuiltinCode, added.version = builtin, min(builtin, 127), 1
    model.operatorCodes.append(added)
    return len(model.operatorCodes) - 1


def _drop_unused_operators(model: Any, graph: Any) -> None:
    needed, kept = set(graph.outputs), []
    for operator in reversed(graph.operators):
        if code(model, operator) in KEEP_ALWAYS or needed.intersection(operator.outputs):
            needed.update(operator.inputs)
            kept.append(operator)
    graph.operators = kept[::-1]


def _drop_unused_tensors(model: Any, graph: Any) -> None:
    import numpy as np

    used = {*graph.inputs, *graph.outputs}
    for operator in graph.operators:
        used.update(operator.inputs, operator.outputs, _all(operator.intermediates))
    order = sorted(used - {-1})
    place = {old: new for new, old in enumerate(order)} | {-1: -1}

    def moved(indices: Any) -> Any:
        return np.array([place[index] for index in _all(indices)], np.int32)

    graph.tensors = [graph.tensors[old] for old in order]
    graph.inputs, graph.outputs = moved(graph.inputs), moved(graph.outputs)
    for operator in graph.operators:
        operator.inputs, operator.outputs = moved(operator.inputs), moved(operator.outputs)
        if operator.intermediates is not None:
            operator.intermediates = moved(operator.intermediates)
    for signature in model.signatureDefs or []:
        if model.subgraphs[signature.subgraphIndex] is graph:
            for item in [*signature.inputs, *signature.outputs]:
                item.tensorIndex = place[item.tensorIndex]


def _all(indices: Any) -> list[int]:
    return [] if indices is None else [int(index) for index in indices]


def _share_buffers(model: Any) -> None:
    """One buffer for each different content. The first stands for "none", for what is computed."""
    buffers, place = [model.buffers[0]], {}
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            data = constant(model, tensor)
            if data is None:
                tensor.buffer = 0
                continue
            key = bytes(data)
            if key not in place:
                place[key] = len(buffers)
                buffers.append(model.buffers[tensor.buffer])
            tensor.buffer = place[key]
    model.buffers = buffers
