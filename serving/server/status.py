"""Status codes: what a request ends with, as a gRPC code and as an HTTP status."""

from __future__ import annotations

from enum import IntEnum

from zoo.errors import ZooError


class Code(IntEnum):
    """google.rpc.Code; the names are those of the wire."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


HTTP_STATUS = {
    Code.OK: 200,
    Code.INVALID_ARGUMENT: 400,
    Code.FAILED_PRECONDITION: 400,
    Code.OUT_OF_RANGE: 400,
    Code.UNAUTHENTICATED: 401,
    Code.PERMISSION_DENIED: 403,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.ABORTED: 409,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.CANCELLED: 499,
    Code.UNKNOWN: 500,
    Code.INTERNAL: 500,
    Code.DATA_LOSS: 500,
    Code.UNIMPLEMENTED: 501,
    Code.UNAVAILABLE: 503,
    Code.DEADLINE_EXCEEDED: 504,
}


class ServingError(ZooError):
    """A request or a load that failed, with the code a client gets."""

    def __init__(self, code: Code, message: str):
        super().__init__(message)
        self.code, self.message = code, message

    def __str__(self) -> str:
        return self.message


def invalid(message: str) -> ServingError:
    """INVALID_ARGUMENT, the most frequent of them all."""
    return ServingError(Code.INVALID_ARGUMENT, message)


def from_exception(error: BaseException) -> ServingError:
    """The status that any exception of a request or a load amounts to.

    TensorFlow's OpError carries its own code; everything else is a fault of ours.
    """
    if isinstance(error, ServingError):
        return error
    code = getattr(error, "error_code", None)
    if isinstance(code, int) and code in HTTP_STATUS and hasattr(error, "message"):
        return ServingError(Code(code), str(error.message))
    if isinstance(error, MemoryError):
        return ServingError(Code.RESOURCE_EXHAUSTED, "Not enough memory to answer this request.")
    return ServingError(Code.INTERNAL, f"{type(error).__name__}: {error}")
