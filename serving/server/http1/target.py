"""What a request asks for: its target as libevent, TensorFlow Serving's HTTP layer, reads it.

It takes the characters of RFC 3986 and no others: a `{` or a lone `%` is a bad request. Nothing is
decoded here, and a query and a fragment stay with the path, as TensorFlow Serving knows neither.
"""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache

# The methods that are served; any other is not implemented.
METHODS = frozenset(["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"])

_PLAIN = rb"[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2}"
_PATH, _MORE = rb"(?:%b|[:@/])*" % _PLAIN, rb"(?:%b|[:@/?])*" % _PLAIN
_SCHEME = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*:")
_REST = re.compile(rb"(%b)(?:\?%b)?(?:#%b)?" % (_PATH, _MORE, _MORE))
_AUTHORITY = re.compile(
    rb"(?:(?:%b|:)*@)?(?P<host>\[[^\]@]*\]|(?:%b)*)(?::(?P<port>[0-9]*))?" % (_PLAIN, _PLAIN)
)
_LINE = re.compile(rb"(?P<method>[^ ]*) (?P<target>.+) HTTP/[01]\.[0-9]+ *")


SHORT = 512  # bytes; what is longer is not worth remembering


def read(target: bytes) -> str | None:
    """Path, query and fragment; None for what is no address."""
    return _read(target) if len(target) <= SHORT else _read.__wrapped__(target)


@lru_cache(maxsize=1024)
def _read(target: bytes) -> str | None:
    scheme = _SCHEME.match(target)
    rest = target[scheme.end() :] if scheme else target
    with_host = rest.startswith(b"//")
    if with_host:
        authority = re.split(rb"[/?#]", rest[2:], maxsplit=1)[0]
        if not _is_authority(authority):
            return None
        rest = rest[2 + len(authority) :]
    found = _REST.fullmatch(rest)
    if found is None:
        return None
    if not with_host and not scheme and b":" in found[1].partition(b"/")[0]:
        return None  # it would be a scheme
    return rest.decode("ascii")


def _is_authority(authority: bytes) -> bool:
    """A host, with or without a user and a port."""
    found = _AUTHORITY.fullmatch(authority)
    if found is None:
        return False
    port = (found["port"] or b"").lstrip(b"0")
    if len(port) > 5 or int(port or 0) > 65535:
        return False
    host = found["host"].decode("latin-1")
    if host.startswith("["):
        try:
            ipaddress.IPv6Address(host[1:-1])
        except ValueError:
            return False
    return True


def refusal(sent: bytes) -> int:
    """The status for a request that begins with `sent` and that cannot be read."""
    line = sent.lstrip(b"\r\n").partition(b"\n")[0].rstrip(b"\r")
    found = _LINE.fullmatch(line)
    if found is None:
        return 400
    if found["method"].decode("latin-1") not in METHODS:
        return 501
    if found["target"].startswith((b"/", b"*")) or b"://" in found["target"]:
        return 400  # not for its target: there is something wrong further on
    path = read(found["target"])
    return 400 if path is None or path.startswith("/") else 404
