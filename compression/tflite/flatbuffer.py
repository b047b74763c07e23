"""What a TFLite file holds beside its weights, and how much of it can go."""

from __future__ import annotations

from typing import Any


def stripped(content: bytes) -> bytes:
    """The same model without what no runtime reads.

    Names of inner tensors, the description, and the metadata of the converter go. Inputs, outputs
    and signatures keep their names. Nothing that is computed changes.
    """
    model = read(content)
    model.metadata, model.metadataBuffer, model.description = None, None, None
    for graph in model.subgraphs:
        kept = {*graph.inputs, *graph.outputs}
        for index, tensor in enumerate(graph.tensors):
            if index not in kept:
                tensor.name = None
        for operator in graph.operators:
            operator.debugMetadataIndex = -1
    _drop_unused_buffers(model)
    return write(model)


def read(content: bytes) -> Any:
    """The file's ModelT, of TFLite's schema."""
    from tensorflow.lite.python import schema_py_generated as schema

    return schema.ModelT.InitFromPackedBuf(content, 0)


def write(model: Any) -> bytes:
    """The bytes of a ModelT."""
    import flatbuffers

    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _drop_unused_buffers(model: Any) -> None:
    """Keep the buffers that tensors name, and the first, which stands for "none"."""
    used = sorted({0, *(tensor.buffer for graph in model.subgraphs for tensor in graph.tensors)})
    place = {old: new for new, old in enumerate(used)}
    model.buffers = [model.buffers[old] for old in used]
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            tensor.buffer = place[tensor.buffer]
