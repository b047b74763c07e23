"""What the manager calls to bring up a version: load it, then warm it."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import time
from pathlib import Path
from typing import Any

from serving.config import text
from serving.config.batching import Batching, of_version
from serving.errors import ConfigError
from serving.server import requirements, session, tflite, warmup
from serving.server.flags import Flags
from serving.server.manager import Loader
from serving.server.metrics import Metrics
from serving.server.servable import Servable
from serving.server.status import Code, ServingError, invalid
from zoo import quiet

log = logging.getLogger(__name__)


def import_tensorflow() -> None:
    """Import TensorFlow now (seconds), with its chatter about deprecations and GPUs turned down."""
    quiet.load_tensorflow()
    import tensorflow as tf

    tf.get_logger().setLevel("ERROR")


def calm_collector() -> None:
    """Keep Python's cycle collector from walking over TensorFlow at each larger request.

    A JSON body of 25,000 numbers is as many lists: with the default threshold that is several full
    collections over a million objects (40 ms instead of 2 for such a body). Requests make no
    cycles; a model that is unloaded collects its own.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(200_000, 20, 50)


def make_loader(
    flags: Flags, metrics: Metrics | None = None, batching: Batching | None = None
) -> Loader:
    """A loader that follows the session, tag, warmup and cache flags.

    Args:
        metrics: are told of loads and warmups.
        batching: how requests for a version are merged, where it does not say so itself.

    Raises:
        ConfigError: the session's configuration cannot be read.
    """
    config = _session_config(flags)
    tags = (flags.saved_model_tags or "serve").split(",")
    interpreters = flags.num_tflite_pools * flags.num_tflite_interpreters_per_pool
    metrics = metrics or Metrics()

    def load(model: str, version: int, path: Path) -> Servable:
        started, status = time.perf_counter(), "success"
        try:
            requirements.check(path)
            if flags.prefer_tflite_model and (path / tflite.FILE).is_file():
                loaded = tflite.load(path, interpreters)
            else:
                loaded = session.load(path, tags=tags, session_config=config)
        except BaseException:
            status = "fail"
            raise
        finally:
            metrics.load_count.increment(str(path), status)
            micros = int((time.perf_counter() - started) * 1e6)
            metrics.load_latency.increment(str(path), by=micros)
        try:
            loaded.name = model
            loaded.batching = _batching_of(path, flags, batching)
            if flags.enable_model_warmup:
                _warm_up(loaded, path, flags, metrics)
        except BaseException:
            loaded.close()
            raise
        if flags.flush_filesystem_caches:
            _forget_files(path)
        return loaded

    return load


def _batching_of(path: Path, flags: Flags, common: Batching | None) -> Batching | None:
    found = common
    if common is not None and flags.enable_per_model_batching_parameters:
        try:
            found = of_version(path)  # without a file of its own, a version is not batched
        except text.BrokenText as error:
            log.error("%s", error.native)
            raise invalid(error.invalid) from error
        except text.UnreadableFile as error:
            raise ServingError(Code[error.code], error.native) from error
        except ConfigError as error:
            raise invalid(str(error)) from error
    if found is not None and found.fault:
        raise invalid(found.fault)
    return found


def _warm_up(loaded: Servable, path: Path, flags: Flags, metrics: Metrics) -> None:
    """Warm a version up. In the metrics is what read its file, to the end or to a broken place."""
    started, there = time.perf_counter(), (path / warmup.WARMUP_FILE).is_file()

    def record(status: str) -> None:
        micros = (time.perf_counter() - started) * 1e6
        metrics.warmup_latency.record(micros, str(path), status)

    try:
        count = warmup.warm_up(loaded, path, iterations=flags.num_request_iterations_for_warmup)
    except ServingError as error:
        if error.code is Code.DATA_LOSS:
            record(f"{error.code.name}: {error.message.removesuffix(warmup.ADVICE)}")
        raise
    if there:
        metrics.warmup_records.increment(str(path), by=count)
        record(Code.OK.name)


def _forget_files(path: Path) -> None:
    """Let the kernel drop a loaded version's files: its weights are in memory twice otherwise."""
    if not hasattr(os, "posix_fadvise"):  # Linux has it
        return
    for file in path.rglob("*"):
        with contextlib.suppress(OSError), file.open("rb") as opened:
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def set_environment(flags: Flags) -> None:
    """What TensorFlow reads from the environment, once, when it is imported."""
    if flags.xla_cpu_compilation_enabled:
        before = os.environ.get("TF_XLA_FLAGS", "")
        os.environ["TF_XLA_FLAGS"] = f"{before} --tf_xla_cpu_global_jit".strip()


def _session_config(flags: Flags) -> Any:
    from tensorflow.core.protobuf import config_pb2, rewriter_config_pb2

    if flags.tensorflow_session_config_file:
        return text.read(Path(flags.tensorflow_session_config_file), config_pb2.ConfigProto)
    both = flags.tensorflow_session_parallelism
    config = config_pb2.ConfigProto(
        intra_op_parallelism_threads=flags.tensorflow_intra_op_parallelism or both,
        # -1: a request's operations run on its own thread. Handing them to TensorFlow's pool and
        # waiting costs a small model more than its arithmetic (18 µs against 69 for a dense one),
        # and requests run side by side anyway.
        inter_op_parallelism_threads=flags.tensorflow_inter_op_parallelism or both or -1,
        allow_soft_placement=True,
    )
    if flags.xla_cpu_compilation_enabled:
        level = config_pb2.OptimizerOptions.ON_1
        config.graph_options.optimizer_options.global_jit_level = level
    if flags.mixed_precision == "bfloat16":
        rewriting = config.graph_options.rewrite_options
        rewriting.auto_mixed_precision_onednn_bfloat16 = rewriter_config_pb2.RewriterConfig.ON
    elif flags.mixed_precision:
        raise ConfigError(
            f"--mixed_precision is {flags.mixed_precision!r}: bfloat16 is the one there is."
        )
    return config
