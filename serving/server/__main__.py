"""`python -m serving.server --port=8500 --rest_api_port=8501 --model_config_file=…`."""

from __future__ import annotations

import sys

from serving.server.command import script

if __name__ == "__main__":
    sys.exit(script())
