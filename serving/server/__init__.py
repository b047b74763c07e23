"""The embedded model server: TensorFlow Serving's flags, files, REST and gRPC.

`run` serves a whole store, `background` does so from another process, and `main` takes
`tensorflow_model_server`'s command line. Neither imports
TensorFlow before it has found its ports free and its configuration readable.
"""

from __future__ import annotations

from serving.server.background import Running, background
from serving.server.command import main, run

__all__ = ["Running", "background", "main", "run"]
