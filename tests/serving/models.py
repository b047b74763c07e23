"""The small models behind the recorded answers, made from code.

Names of signatures, tensors and nodes are part of the recordings (metadata and error messages
quote them), so these functions keep to the ones that were served.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import tensorflow as tf

FLOATS = tf.TensorSpec([None], tf.float32)


def save_functions(path: Path, **signatures: tuple[Callable, dict[str, tf.TensorSpec]]) -> Path:
    """A SavedModel whose signatures are these functions of these inputs."""
    module = tf.Module()
    functions = {}
    for name, (function, inputs) in signatures.items():
        traced = tf.function(function)
        functions[name] = traced.get_concrete_function(
            **{key: tf.TensorSpec(spec.shape, spec.dtype, key) for key, spec in inputs.items()}
        )
        setattr(module, f"kept_{name}", traced)
    tf.saved_model.save(module, str(path), signatures=functions)
    return path


def save_scale(path: Path, factor: float) -> Path:
    """`y = factor × x`; a version that can be told from others by its answer."""
    return save_functions(path, serving_default=(lambda x: {"y": x * factor}, {"x": FLOATS}))


def save_batch_size(path: Path) -> Path:
    """`y = x`, and for each row the size of the batch that it was run in."""

    def function(x: tf.Tensor) -> dict[str, tf.Tensor]:
        size = tf.shape(x)[:1]
        return {"y": tf.identity(x), "batch": tf.fill(size, tf.cast(size[0], tf.float32))}

    return save_functions(path, serving_default=(function, {"x": FLOATS}))


def save_half_plus_two(path: Path) -> Path:
    """TensorFlow 1's example model: predict, and classify and regress over parsed examples."""
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        a = v1.Variable(0.5, name="a", use_resource=False)
        b = v1.Variable(2.0, name="b", use_resource=False)
        c = v1.Variable(3.0, name="c", use_resource=False)
        serialized = v1.placeholder(tf.string, name="tf_example")
        parsed = tf.raw_ops.ParseExample(
            serialized=tf.reshape(serialized, [-1], name="ParseExample/Reshape"),
            names=tf.constant([], tf.string),
            sparse_keys=[],
            dense_keys=["x", "x2"],
            dense_defaults=[tf.constant([], tf.float32), tf.constant([0.0])],
            sparse_types=[],
            dense_shapes=[[1], [1]],
            name="ParseExample/ParseExample",
        )
        x = tf.identity(parsed.dense_values[0], name="x")
        x2 = tf.identity(parsed.dense_values[1], name="x2")
        y = tf.add(tf.multiply(a, x), b, name="y")
        y2 = tf.add(tf.multiply(a, x), c, name="y2")
        y3 = tf.add(tf.multiply(a, x2), c, name="y3")
        session.run(v1.global_variables_initializer())

        info = v1.saved_model.build_tensor_info
        examples = info(serialized)

        def signature(inputs: dict, outputs: dict, method: str):
            return v1.saved_model.build_signature_def(
                inputs, outputs, f"tensorflow/serving/{method}"
            )

        builder = v1.saved_model.Builder(str(path))
        builder.add_meta_graph_and_variables(
            session,
            ["serve"],
            signature_def_map={
                "serving_default": signature({"x": info(x)}, {"y": info(y)}, "predict"),
                "classify_x_to_y": signature({"inputs": examples}, {"scores": info(y)}, "classify"),
                "classify_x2_to_y3": signature(
                    {"inputs": info(x2)}, {"scores": info(y3)}, "classify"
                ),
                "regress_x_to_y": signature({"inputs": examples}, {"outputs": info(y)}, "regress"),
                "regress_x_to_y2": signature(
                    {"inputs": examples}, {"outputs": info(y2)}, "regress"
                ),
                "regress_x2_to_y3": signature(
                    {"inputs": info(x2)}, {"outputs": info(y3)}, "regress"
                ),
            },
        )
        builder.save()
    return path


def save_counter(path: Path) -> Path:
    """A TensorFlow 1 model with a state, and signatures without inputs."""
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        counter = v1.Variable(0.0, name="counter", use_resource=False)
        delta = v1.placeholder(tf.float32, name="delta")
        outputs = {
            "get_counter": counter._ref(),
            "reset_counter": tf.raw_ops.Assign(ref=counter._ref(), value=0.0),
            "incr_counter": tf.raw_ops.AssignAdd(ref=counter._ref(), value=1.0),
            "incr_counter_by": tf.raw_ops.AssignAdd(ref=counter._ref(), value=delta),
        }
        session.run(v1.global_variables_initializer())
        info = v1.saved_model.build_tensor_info
        builder = v1.saved_model.Builder(str(path))
        builder.add_meta_graph_and_variables(
            session,
            ["serve"],
            signature_def_map={
                name: v1.saved_model.build_signature_def(
                    {"delta": info(delta)} if name == "incr_counter_by" else {},
                    {"output": info(output)},
                    "tensorflow/serving/predict",
                )
                for name, output in outputs.items()
            },
        )
        builder.save()
    return path


def _save_multi(path: Path) -> Path:
    return save_functions(
        path,
        serving_default=(lambda a, b: {"sum": a + b, "diff": a - b}, {"a": FLOATS, "b": FLOATS}),
        other=(lambda a: {"neg": -a}, {"a": FLOATS}),
    )


def _save_text(path: Path) -> Path:
    strings = {"s": tf.TensorSpec([None], tf.string)}
    return save_functions(
        path,
        serving_default=(
            lambda s: {
                "upper": tf.strings.upper(s),
                "raw_bytes": tf.identity(s),
                "len": tf.strings.length(s),
            },
            strings,
        ),
    )


def _save_text1(path: Path) -> Path:
    strings = {"s": tf.TensorSpec([None], tf.string)}
    return save_functions(path, serving_default=(lambda s: {"out": tf.strings.upper(s)}, strings))


def _save_blob(path: Path) -> Path:
    blobs = {"image_bytes": tf.TensorSpec([None], tf.string)}
    return save_functions(
        path, serving_default=(lambda image_bytes: {"out_bytes": tf.identity(image_bytes)}, blobs)
    )


def _save_recip(path: Path) -> Path:
    return save_functions(
        path,
        serving_default=(lambda x: {"y": 1.0 / x}, {"x": FLOATS}),
        logx=(lambda x: {"y": tf.math.log(x)}, {"x": FLOATS}),
    )


def _save_mat(path: Path) -> Path:
    rows = {"x": tf.TensorSpec([None, 3], tf.float32)}
    return save_functions(
        path, serving_default=(lambda x: {"y": tf.matmul(x, tf.ones([3, 2]))}, rows)
    )


def _save_ints(path: Path) -> Path:
    def numbers(dtype: tf.DType) -> dict[str, tf.TensorSpec]:
        return {"i": tf.TensorSpec([None], dtype)}

    return save_functions(
        path,
        serving_default=(lambda i: {"y": i * 2}, numbers(tf.int32)),
        i64=(lambda i: {"y": i * 2}, numbers(tf.int64)),
        u8=(lambda i: {"y": tf.identity(i)}, numbers(tf.uint8)),
        i8=(lambda i: {"y": tf.identity(i)}, numbers(tf.int8)),
        u64=(lambda i: {"y": tf.identity(i)}, numbers(tf.uint64)),
        bool=(lambda i: {"y": tf.logical_not(i)}, numbers(tf.bool)),
        f32=(lambda i: {"y": i / 3}, numbers(tf.float32)),
        f64=(lambda i: {"y": i / 3}, numbers(tf.float64)),
        f16=(lambda i: {"y": i / 3}, numbers(tf.float16)),
        bf16=(lambda i: {"y": tf.identity(i)}, numbers(tf.bfloat16)),
    )


def _save_nobatch(path: Path) -> Path:
    return save_functions(
        path,
        serving_default=(lambda x: {"y": x + 1.0}, {"x": tf.TensorSpec([], tf.float32)}),
        sumall=(lambda x: {"total": tf.reduce_sum(x)}, {"x": FLOATS}),
        mixed=(lambda x: {"rows": x * 2.0, "total": tf.reduce_sum(x)}, {"x": FLOATS}),
        uneven=(lambda x: {"rows": x * 2.0, "half": x[:1]}, {"x": FLOATS}),
    )


def _save_half_plus_two_tf2(path: Path) -> Path:
    one = {"x": tf.TensorSpec([1], tf.float32)}
    return save_functions(path, serving_default=(lambda x: {"y": 0.5 * x + 2.0}, one))


_RECORDED: dict[str, Callable[[Path], Path]] = {
    "multi": _save_multi,
    "text": _save_text,
    "text1": _save_text1,
    "blob": _save_blob,
    "recip": _save_recip,
    "mat": _save_mat,
    "ints": _save_ints,
    "nobatch": _save_nobatch,
    "hp2_tf2": _save_half_plus_two_tf2,
    "counter": save_counter,
}


def save_recorded(store: Path) -> Path:
    """All models that the recordings ask for, with the versions they had."""
    save_half_plus_two(store / "half_plus_two" / "00000123")
    shutil.copytree(store / "half_plus_two" / "00000123", store / "half_plus_two" / "00000124")
    for name, save in _RECORDED.items():
        save(store / name / "1")
    return store


def recorded_config(store: Path) -> str:
    """models.config for the recorded models, as text."""
    entries = [
        f'config {{ name: "{name}" base_path: "{store / name}" model_platform: "tensorflow" }}'
        for name in _RECORDED
    ]
    entries.append(
        f'config {{ name: "half_plus_two" base_path: "{store / "half_plus_two"}"\n'
        '  model_platform: "tensorflow"\n'
        "  model_version_policy { specific { versions: 123 versions: 124 } }\n"
        '  version_labels { key: "stable" value: 123 }\n'
        '  version_labels { key: "canary" value: 124 } }'
    )
    return "model_config_list {\n" + "\n".join(entries) + "\n}\n"
