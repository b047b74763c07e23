"""HTTP/2 for asyncio, as far as a server of unary calls needs it (RFC 9113).

grpcio's Python server takes about 200 µs of a core for a call, which is more than a small model
takes; this one takes a fifth of it. Header compression is the `hpack` package's.
"""
