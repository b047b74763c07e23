"""What all tests share."""

from __future__ import annotations

import os

# Before anything imports TensorFlow: its start-up notices would bury a failure.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
