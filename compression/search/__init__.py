"""The smallest or fastest version of a model within an accuracy budget."""

from compression.search.compressing import Result, compress

__all__ = ["Result", "compress"]
