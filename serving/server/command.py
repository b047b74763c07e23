"""The two ways to start the server: over a store, and by TensorFlow Serving's flags."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from serving.config import messages, text
from serving.config.batching import Batching, parse_batching, read_batching, server_batching
from serving.config.models import ModelConfig, ModelFile, VersionPolicy, check_base_path
from serving.config.store import BATCHING_FILE, MODELS_FILE, MONITORING_FILE, store_models
from serving.config.text import BrokenText, UnreadableFile, read_monitoring
from serving.errors import ConfigError, PortInUse, StartError
from serving.server.flags import Flags, inert, parse, usage
from serving.server.status import ServingError
from zoo.errors import InvalidOption, ZooError

log = logging.getLogger(__name__)

DEFAULT_METRICS_PATH = "/monitoring/prometheus/metrics"
NATIVE_FAILURE = 255  # what tensorflow_model_server exits with where it cannot start


def run(
    store: Path | str,
    *,
    config: Path | str | None = None,
    rest_port: int | None = 8501,
    grpc_port: int | None = 8500,
    host: str = "0.0.0.0",  # noqa: S104 — a model server is there for other machines
    latest: int | None = None,
    poll_seconds: int = 1,
    processes: int = 1,
    flags: Flags | None = None,
) -> None:
    """Serve every model of a store, or those of a configuration, until SIGTERM or SIGINT.

    New models and new versions are picked up while it runs, removed ones are unloaded.

    Args:
        store: holds NAME/VERSION folders.
        config: a folder that `serving.config.write` wrote. Its models.config, read again whenever
            it changes, then says what is served and in which versions.
        rest_port, grpc_port: where to listen; None for not at all, 0 for any free port.
        latest: how many of each model's newest versions to serve; all of them by default, so that
            any can be asked for by number.
        poll_seconds: between two looks at the store and the configuration.
        processes: how many share the work; 0 for one a core.
        flags: everything else, as TensorFlow Serving calls it.

    Raises:
        ConfigError: the store or the configuration cannot be read.
        StartError: a port is in use.
    """
    from serving.server.server import Plan, serve

    flags = replace(
        flags or Flags(),
        file_system_poll_wait_seconds=poll_seconds,
        num_processes=processes,
        # a store is served as far as it can be, and so are its labels
        allow_version_labels_for_unavailable_models=True,
    )
    if config is not None:
        folder = Path(config)
        flags = replace(
            flags,
            enable_batching=True,
            batching_parameters_file=str(folder / BATCHING_FILE),
            monitoring_config_file=str(folder / MONITORING_FILE),
        )
    _log_to_stderr()
    _warn_of_inert(flags)
    policy = VersionPolicy("all") if latest is None else VersionPolicy("latest", count=latest)

    list_models: Callable[[], Sequence[ModelConfig]] = partial(store_models, Path(store), policy)
    if config is not None:
        list_models = ModelFile(Path(config) / MODELS_FILE)

    serve(
        Plan(
            flags,
            list_models,
            rest_port,
            grpc_port,
            host,
            batching=_batching(flags, strict=True),
            list_seconds=poll_seconds,
            reloadable=config is not None,
            metrics_path=_metrics_path(flags) if config is not None else DEFAULT_METRICS_PATH,
            strict=False,
        )
    )


def main(arguments: Sequence[str]) -> int:
    """Run as `tensorflow_model_server` with these arguments; returns the exit status."""
    try:
        flags, unknown = parse(arguments)
    except ZooError as error:
        _say(f"{error}\n{usage()}")
        return NATIVE_FAILURE
    if flags.version:
        server, library = _version("model-zoo-serving"), _version("tensorflow")
        sys.stdout.write(f"TensorFlow ModelServer: {server}\nTensorFlow Library: {library}\n")
        return 0
    if unknown[:1] == ["--help"]:
        _say(usage())
        return NATIVE_FAILURE
    for argument in unknown[:1]:
        _say(f"unknown argument: {argument}\n{usage()}")
    _log_to_stderr()
    _warn_of_inert(flags)
    try:
        _serve_by_flags(flags)
    except BrokenText as error:
        log.error("%s", error.native)
        return _failed(f"INVALID_ARGUMENT: {error.invalid}", NATIVE_FAILURE)
    except UnreadableFile as error:
        return _failed(f"{error.code}: {error.native}", NATIVE_FAILURE)
    except ConfigError as error:
        return _failed(f"INVALID_ARGUMENT: {error}", NATIVE_FAILURE)
    except PortInUse as error:
        return _failed(f"UNKNOWN: {error}", error.exit_code)
    except StartError as error:
        return _failed(f"UNKNOWN: {error}", NATIVE_FAILURE)
    except ServingError as error:
        return _failed(f"{error.code.name}: {error}", NATIVE_FAILURE)
    except InvalidOption as error:
        return _failed(f"INVALID_ARGUMENT: {error}", NATIVE_FAILURE)
    return 0


def script() -> int:
    """The console script `zoo-model-server`."""
    return main(sys.argv[1:])


def _serve_by_flags(flags: Flags) -> None:
    from serving.server.server import Plan, serve

    if flags.port == 0 and not flags.grpc_socket_path:
        raise ConfigError(
            "At least one of server_options.grpc_port or server_options.grpc_socket_path must be "
            "set."
        )
    list_models, batching = _model_list(flags), _batching(flags)
    _check_parallelism(flags)
    if flags.platform_config_file:
        text.load(Path(flags.platform_config_file))
    rest_port = flags.rest_api_port or None
    if rest_port is not None and rest_port == flags.port:
        log.error(
            "server_options.http_port cannot be same as grpc_port. Please use a different port for "
            "HTTP/REST API. Skipped exporting HTTP/REST API."
        )
        rest_port = None
    serve(
        Plan(
            flags,
            list_models,
            rest_port,
            flags.port or None,
            batching=batching,
            list_seconds=_list_seconds(flags),
            metrics_path=_metrics_path(flags) if rest_port is not None else "",
        )
    )


def _check_parallelism(flags: Flags) -> None:
    inside, between = flags.tensorflow_intra_op_parallelism, flags.tensorflow_inter_op_parallelism
    if inside > 0 and between > 0 and flags.tensorflow_session_parallelism > 0:
        raise ConfigError(
            "Either configure server_options.tensorflow_session_parallelism or "
            "(server_options.tensorflow_intra_op_parallelism, "
            "server_options.tensorflow_inter_op_parallelism) separately. "
            "You cannot configure all."
        )


def _batching(flags: Flags, *, strict: bool = False) -> Batching | None:
    if flags.batching_parameters_file and not flags.enable_batching:
        raise ConfigError(
            "server_options.batching_parameters_file is set without setting "
            "server_options.enable_batching to true."
        )
    if flags.batching_parameters_file:
        path = Path(flags.batching_parameters_file)
        return parse_batching(read_batching(path)) if strict else server_batching(path)
    return Batching() if flags.enable_batching else None


def _metrics_path(flags: Flags) -> str:
    if not flags.monitoring_config_file:
        return ""
    config = read_monitoring(Path(flags.monitoring_config_file)).prometheus_config
    return (config.path or DEFAULT_METRICS_PATH) if config.enable else ""


def _list_seconds(flags: Flags) -> int:
    return max(0, flags.model_config_file_poll_wait_seconds) if flags.model_config_file else 0


def _model_list(flags: Flags) -> Callable[[], Sequence[ModelConfig]]:
    """What the source asks: the config file's models, or the one of the flags."""
    if flags.model_config_file:
        path = Path(flags.model_config_file)
        text.read(path, messages.ModelServerConfig)  # a broken one comes before other mistakes
        return ModelFile(path)
    if not flags.model_base_path:
        raise ConfigError(
            "Both server_options.model_base_path and server_options.model_config_file are empty!"
        )
    log.info(
        "Building single TensorFlow model file config:  model_name: %s model_base_path: %s",
        flags.model_name,
        flags.model_base_path,
    )

    def list_model() -> Sequence[ModelConfig]:
        check_base_path(flags.model_name, flags.model_base_path)
        return [ModelConfig(flags.model_name, flags.model_base_path)]

    return list_model


def _failed(reason: str, status: int) -> int:
    _say(f"Failed to start server. Error: {reason}")
    return status


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def _warn_of_inert(flags: Flags) -> None:
    for name in inert(flags):
        log.warning("--%s is accepted and does nothing here", name)


def _log_to_stderr() -> None:
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO,
        format="%(asctime)s %(levelname).1s %(name)s] %(message)s",
    )
    for noisy in "asyncio":
        logging.getLogger(noisy).setLevel(logging.WARNING)
