"""The smallest or fastest version of a model within an accuracy budget."""

from compression.search.compressing import compress
from compression.search.result import Result

__all__ = ["Result", "compress"]
