"""Loading TensorFlow without its start-up notices.

They are written to the process's standard error by C++ code before any log level holds. Here
standard error goes to a file meanwhile; whatever in it is not one of the known notices is passed
on afterwards, so that a broken driver still says so.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile

from zoo.errors import InvalidOption

NOTICES = re.compile(
    rb"All log messages before absl|oneDNN custom operations|Could not find cuda drivers"
    rb"|failed call to cuInit.*\(303\)|This TensorFlow binary is optimized"
    rb"|To enable the following instructions|^\s*$"
)


def load_tensorflow() -> None:
    """Imports TensorFlow, with it Keras, and looks for GPUs, once.

    Raises:
        InvalidOption: KERAS_BACKEND names no backend that is installed.
    """
    if "tensorflow" in sys.modules:
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            import tensorflow

            tensorflow.config.list_physical_devices()
        except (ValueError, ImportError) as error:  # TensorFlow imports Keras, Keras its backend
            raise InvalidOption(
                "Keras cannot be loaded with the backend "
                f"{os.environ.get('KERAS_BACKEND', 'tensorflow')!r} ({error}): set "
                "KERAS_BACKEND=tensorflow, or install that backend."
            ) from error
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            said.seek(0)
            for line in said:
                if not NOTICES.search(line):
                    sys.stderr.buffer.write(line)
            sys.stderr.flush()
