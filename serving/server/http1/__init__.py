"""HTTP/1.1 for asyncio: httptools reads the requests, answers are written in one piece.

An ASGI server between the two costs as much as a small model takes.
"""
