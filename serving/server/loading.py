"""What the manager calls to bring up a version: load it, then warm it."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

from serving.server import servable, warmup
from serving.server.flags import Flags
from serving.server.manager import Loader
from zoo import quiet


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


def make_loader(flags: Flags) -> Loader:
    """A loader that follows the session, tag and warmup flags."""
    config = _session_config(flags)
    tags = flags.saved_model_tags.split(",")
    iterations = flags.num_request_iterations_for_warmup

    def load(model: str, version: int, path: Path) -> servable.Servable:
        loaded = servable.load(path, tags=tags, session_config=config)
        try:
            if flags.enable_model_warmup:
                warmup.warm_up(loaded, path, iterations=iterations)
        except BaseException:
            loaded.close()
            raise
        return loaded

    return load


def _session_config(flags: Flags) -> Any:
    from tensorflow.core.protobuf import config_pb2

    both = flags.tensorflow_session_parallelism
    return config_pb2.ConfigProto(
        intra_op_parallelism_threads=flags.tensorflow_intra_op_parallelism or both,
        # -1: a request's operations run on its own thread. Handing them to TensorFlow's pool and
        # waiting costs a small model more than its arithmetic (18 µs against 69 for a dense one),
        # and requests run side by side anyway.
        inter_op_parallelism_threads=flags.tensorflow_inter_op_parallelism or both or -1,
        allow_soft_placement=True,
    )
