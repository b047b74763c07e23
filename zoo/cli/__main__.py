"""`python -m zoo.cli` is the `zoo` command."""

from __future__ import annotations

import sys

from zoo.cli import main

sys.exit(main())
