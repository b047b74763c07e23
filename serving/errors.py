"""What can go wrong between a store and a client, each as one sentence."""

from __future__ import annotations

from zoo.errors import ZooError


class ConfigError(ZooError):
    """A models.config, batching.config or monitoring.config that cannot be read or written."""


class StartError(ZooError):
    """The server cannot start: a model that does not load, a broken flag."""


class PortInUse(StartError):
    """A port that cannot be listened on."""

    def __init__(self, port: int, what: str, reason: str):
        super().__init__(
            f"Port {port} for {what} cannot be used ({reason}): stop what is listening there, or "
            "choose another port."
        )


class ServerUnreachable(ZooError):
    """Nothing answers at the address a client was given."""

    def __init__(self, address: str, reason: str = ""):
        because = f" ({reason})" if reason else ""
        super().__init__(
            f"No model server answers at {address}{because}: start one with `zoo serve`, "
            "or name the right address."
        )
        self.address = address


class RequestFailed(ZooError):
    """The server answered with an error; `code` is the gRPC status name."""

    def __init__(self, address: str, code: str, message: str):
        reason = message.strip().partition("\n")[0]  # TensorFlow adds lines about its graph
        super().__init__(f"The model server at {address} answered {code}: {reason}")
        self.address, self.code, self.message = address, code, message
