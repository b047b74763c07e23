"""The configuration messages that the tensorflow-serving-api wheel leaves out.

`ModelServerConfig` comes with the wheel; `BatchingParameters`, `MonitoringConfig` and `SSLConfig`
do not. Text files name fields and not numbers, so a definition with the same names reads and
writes them. The pool is private: a later wheel that ships these messages does not collide with it.
"""

from __future__ import annotations

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, wrappers_pb2
from tensorflow_serving.config import model_server_config_pb2

ModelServerConfig = model_server_config_pb2.ModelServerConfig

_BOOL = descriptor_pb2.FieldDescriptorProto.TYPE_BOOL
_INT64 = descriptor_pb2.FieldDescriptorProto.TYPE_INT64
_STRING = descriptor_pb2.FieldDescriptorProto.TYPE_STRING
_INT64_VALUE = ".google.protobuf.Int64Value"
_BOOL_VALUE = ".google.protobuf.BoolValue"

# message → field → (number, type or message name, repeated?)
_MESSAGES = {
    "BatchingParameters": {
        "max_batch_size": (1, _INT64_VALUE, False),
        "batch_timeout_micros": (2, _INT64_VALUE, False),
        "max_enqueued_batches": (3, _INT64_VALUE, False),
        "num_batch_threads": (4, _INT64_VALUE, False),
        "thread_pool_name": (5, ".google.protobuf.StringValue", False),
        "allowed_batch_sizes": (6, _INT64, True),
        "pad_variable_length_inputs": (7, _BOOL, False),
        "enable_large_batch_splitting": (8, _BOOL_VALUE, False),
        "max_execution_batch_size": (9, _INT64_VALUE, False),
    },
    "PrometheusConfig": {"enable": (1, _BOOL, False), "path": (2, _STRING, False)},
    "MonitoringConfig": {
        "prometheus_config": (1, ".tensorflow.serving.PrometheusConfig", False),
    },
    "SSLConfig": {
        "server_key": (1, _STRING, False),
        "server_cert": (2, _STRING, False),
        "custom_ca": (3, _STRING, False),
        "client_verify": (4, _BOOL, False),
    },
}


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name="serving/config/messages.proto",
        package="tensorflow.serving",
        syntax="proto3",
        dependency=[wrappers_pb2.DESCRIPTOR.name],
    )
    for message_name, fields in _MESSAGES.items():
        message = file.message_type.add(name=message_name)
        for name, (number, kind, repeated) in fields.items():
            field = message.field.add(name=name, number=number, label=3 if repeated else 1)
            if isinstance(kind, str):
                field.type, field.type_name = field.TYPE_MESSAGE, kind
            else:
                field.type = kind
    return file


def _classes() -> dict[str, type]:
    pool = descriptor_pool.DescriptorPool()
    wrappers = descriptor_pb2.FileDescriptorProto()
    wrappers_pb2.DESCRIPTOR.CopyToProto(wrappers)
    pool.Add(wrappers)
    pool.Add(_file())
    return {
        name: message_factory.GetMessageClass(
            pool.FindMessageTypeByName(f"tensorflow.serving.{name}")
        )
        for name in _MESSAGES
    }


_built = _classes()
BatchingParameters = _built["BatchingParameters"]
MonitoringConfig = _built["MonitoringConfig"]
SSLConfig = _built["SSLConfig"]
