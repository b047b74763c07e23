"""One server for the recorded models, shared by all tests that only ask."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from serving.server import Running, background

# Examples here wait for servers and for machines that do other things as well.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


@pytest.fixture(scope="session")
def recorded_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the models behind the recordings."""
    from tests.serving import models

    return models.save_recorded(tmp_path_factory.mktemp("recorded"))


@pytest.fixture(scope="session")
def server(recorded_store: Path) -> Iterator[Running]:
    """The recorded models, served as tensorflow_model_server would be told to."""
    from tests.serving import models

    config = recorded_store / "models.config"
    config.write_text(models.recorded_config(recorded_store))
    grpc_port, rest_port = free_ports(2)
    command = [
        sys.executable,
        "-m",
        "serving.server",
        f"--port={grpc_port}",
        f"--rest_api_port={rest_port}",
        f"--model_config_file={config}",
        "--allow_version_labels_for_unavailable_models=true",
    ]
    with background(recorded_store, command=command) as running:
        yield running
