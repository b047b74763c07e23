"""The protobuf messages that a client needs, without TensorFlow's package.

The wheels that hold these messages import all of TensorFlow, which takes seconds and 2 GB. Names
and field numbers here are those of TensorFlow and TensorFlow Serving, in a pool of our own, so the
bytes are the same and both can be imported side by side.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import (
    any_pb2,
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    wrappers_pb2,
)

# One line a field: name = number, type; "*" repeated, "{}" a map from strings, "|" in a oneof.
_SCHEMA = {
    "tensorflow.TensorShapeProto.Dim": "size=1 int64; name=2 string",
    "tensorflow.TensorShapeProto": "dim=2 *tensorflow.TensorShapeProto.Dim; unknown_rank=3 bool",
    "tensorflow.TensorProto": (
        "dtype=1 int32; tensor_shape=2 tensorflow.TensorShapeProto; version_number=3 int32; "
        "tensor_content=4 bytes; float_val=5 *float; double_val=6 *double; int_val=7 *int32; "
        "string_val=8 *bytes; scomplex_val=9 *float; int64_val=10 *int64; bool_val=11 *bool; "
        "dcomplex_val=12 *double; half_val=13 *int32; uint32_val=16 *uint32; uint64_val=17 *uint64"
    ),
    "tensorflow.TensorInfo": "name=1 string; dtype=2 int32; tensor_shape=3 "
    "tensorflow.TensorShapeProto",
    "tensorflow.SignatureDef": (
        "inputs=1 {}tensorflow.TensorInfo; outputs=2 {}tensorflow.TensorInfo; "
        "method_name=3 string; defaults=4 {}tensorflow.TensorProto"
    ),
    "tensorflow.serving.ModelSpec": (
        "name=1 string; version=2 |google.protobuf.Int64Value; version_label=4 |string; "
        "signature_name=3 string"
    ),
    "tensorflow.serving.PredictRequest": (
        "model_spec=1 tensorflow.serving.ModelSpec; inputs=2 {}tensorflow.TensorProto; "
        "output_filter=3 *string"
    ),
    "tensorflow.serving.PredictResponse": (
        "outputs=1 {}tensorflow.TensorProto; model_spec=2 tensorflow.serving.ModelSpec"
    ),
    "tensorflow.serving.GetModelMetadataRequest": (
        "model_spec=1 tensorflow.serving.ModelSpec; metadata_field=2 *string"
    ),
    "tensorflow.serving.GetModelMetadataResponse": (
        "model_spec=1 tensorflow.serving.ModelSpec; metadata=2 {}google.protobuf.Any"
    ),
    "tensorflow.serving.SignatureDefMap": "signature_def=1 {}tensorflow.SignatureDef",
    "tensorflow.serving.StatusProto": "error_code=1 int32; error_message=2 string",
    "tensorflow.serving.ModelVersionStatus": (
        "version=1 int64; state=2 int32; status=3 tensorflow.serving.StatusProto"
    ),
    "tensorflow.serving.GetModelStatusRequest": "model_spec=1 tensorflow.serving.ModelSpec",
    "tensorflow.serving.GetModelStatusResponse": (
        "model_version_status=1 *tensorflow.serving.ModelVersionStatus"
    ),
}
# Enumerations are held as int32: the same bytes, and no value is unknown to an older client.

_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    name: getattr(_Field, f"TYPE_{name.upper()}")
    for name in ("bool", "bytes", "double", "float", "int32", "int64", "string", "uint32", "uint64")
}


def _build() -> dict[str, Any]:
    pool = descriptor_pool.DescriptorPool()
    for module in (any_pb2, wrappers_pb2):
        file = descriptor_pb2.FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(file)
        pool.Add(file)
    for package in ("tensorflow", "tensorflow.serving"):
        pool.Add(_file(package))
    return {
        name.rpartition(".")[2]: message_factory.GetMessageClass(pool.FindMessageTypeByName(name))
        for name in _SCHEMA
    }


def _file(package: str) -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name=f"serving/client/{package}.proto", package=package, syntax="proto3"
    )
    if package == "tensorflow.serving":
        names = (any_pb2.DESCRIPTOR.name, wrappers_pb2.DESCRIPTOR.name)
        file.dependency.extend([*names, "serving/client/tensorflow.proto"])
    made: dict[str, descriptor_pb2.DescriptorProto] = {}
    nested = "tensorflow.TensorShapeProto.Dim"
    for name in sorted(_SCHEMA, key=lambda name: name == nested):  # the outer one first
        parent, _, short = name.rpartition(".")
        if parent == package:
            made[name] = file.message_type.add(name=short)
        elif parent in made:
            made[name] = made[parent].nested_type.add(name=short)
    for name, message in made.items():
        for line in _SCHEMA[name].split("; "):
            _add_field(message, name, line)
    return file


def _add_field(message: descriptor_pb2.DescriptorProto, owner: str, line: str) -> None:
    left, kind = line.split(" ")
    name, number = left.split("=")
    field = message.field.add(name=name, number=int(number), label=_Field.LABEL_OPTIONAL)
    if kind.startswith("|"):
        if not message.oneof_decl:
            message.oneof_decl.add(name="version_choice")
        field.oneof_index, kind = 0, kind[1:]
    elif kind.startswith("*"):
        field.label, kind = _Field.LABEL_REPEATED, kind[1:]
    elif kind.startswith("{}"):
        entry_name = "".join(part.capitalize() for part in name.split("_")) + "Entry"
        entry = message.nested_type.add(name=entry_name)
        entry.options.map_entry = True
        entry.field.add(name="key", number=1, type=_Field.TYPE_STRING, label=_Field.LABEL_OPTIONAL)
        value = entry.field.add(name="value", number=2, label=_Field.LABEL_OPTIONAL)
        value.type, value.type_name = _Field.TYPE_MESSAGE, "." + kind[2:]
        field.label, kind = _Field.LABEL_REPEATED, f"{owner}.{entry_name}"
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type, field.type_name = _Field.TYPE_MESSAGE, "." + kind


_classes = _build()
TensorProto = _classes["TensorProto"]
ModelSpec = _classes["ModelSpec"]
PredictRequest = _classes["PredictRequest"]
PredictResponse = _classes["PredictResponse"]
GetModelMetadataRequest = _classes["GetModelMetadataRequest"]
GetModelMetadataResponse = _classes["GetModelMetadataResponse"]
SignatureDefMap = _classes["SignatureDefMap"]
GetModelStatusRequest = _classes["GetModelStatusRequest"]
GetModelStatusResponse = _classes["GetModelStatusResponse"]
