"""Serve a store with TensorFlow Serving's own container.

The store and the configuration folder are mounted at the paths they have on this machine, so that
`models.config` means the same inside and outside, and the flags are those of the embedded server.
The binary is the entry point: the image's own start script ignores SIGTERM.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from serving.config.store import BATCHING_FILE, MODELS_FILE, MONITORING_FILE
from serving.errors import ConfigError

# The newest release that has an image (tensorflow/serving#4129). Pinned: a server must not change
# under a store that was tested with another.
IMAGE = "tensorflow/serving:2.20.0"

_INSIDE_REST, _INSIDE_GRPC = 8501, 8500


def command(
    store: Path,
    config_dir: Path,
    rest_port: int = 8501,
    grpc_port: int = 8500,
    *,
    prefer_tflite: bool = False,
) -> list[str]:
    """The `docker run` that serves `store` with the files that `serving.config.write` wrote.

    Args:
        store: mounted read-only at its own absolute path.
        config_dir: likewise; holds models.config, batching.config and monitoring.config.
        rest_port, grpc_port: on this machine.
        prefer_tflite: serve `model.tflite` where a version has one.
    """
    store, config_dir = store.expanduser().resolve(), config_dir.expanduser().resolve()
    mounts = [
        f"--mount=type=bind,source={path},target={path},readonly" for path in (store, config_dir)
    ]
    return [
        "docker",
        "run",
        "--rm",
        "--init",  # reaps children and passes SIGTERM on
        f"--publish={rest_port}:{_INSIDE_REST}",
        f"--publish={grpc_port}:{_INSIDE_GRPC}",
        *mounts,
        "--entrypoint=/usr/bin/tensorflow_model_server",
        IMAGE,
        f"--port={_INSIDE_GRPC}",
        f"--rest_api_port={_INSIDE_REST}",
        f"--model_config_file={config_dir / MODELS_FILE}",
        "--model_config_file_poll_wait_seconds=10",
        "--enable_batching=true",
        f"--batching_parameters_file={config_dir / BATCHING_FILE}",
        f"--monitoring_config_file={config_dir / MONITORING_FILE}",
        *(["--prefer_tflite_model=true"] if prefer_tflite else []),
    ]


def run(
    store: Path,
    config_dir: Path,
    rest_port: int = 8501,
    grpc_port: int = 8500,
    *,
    prefer_tflite: bool = False,
) -> int:
    """Run the container in the foreground; where no docker engine answers, print the command.

    Returns:
        The container's exit status, or 0 where the command was printed.

    Raises:
        ConfigError: the configuration folder lacks models.config.
    """
    if not (config_dir / MODELS_FILE).is_file():
        raise ConfigError(
            f"{config_dir} holds no {MODELS_FILE}: write it with `zoo config` before serving."
        )
    arguments = command(store, config_dir, rest_port, grpc_port, prefer_tflite=prefer_tflite)
    if not _engine_answers():
        sys.stderr.write("No docker engine answers here. Where one does, run:\n")
        sys.stdout.write(shlex.join(arguments) + "\n")
        return 0
    return subprocess.run(arguments, check=False).returncode  # noqa: S603 — a list, no shell


def _engine_answers() -> bool:
    docker = shutil.which("docker")
    if docker is None:
        return False
    try:
        asked = subprocess.run(  # noqa: S603 — a list, no shell
            [docker, "version", "--format", "{{.Server.Version}}"],
            capture_output=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return asked.returncode == 0
