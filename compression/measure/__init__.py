"""What a compressed version is worth: size, operations, accuracy, agreement, speed.

    from compression.measure import Version, export_plain, measure

Everything is measured on version folders, loaded exactly as the embedded server loads them.
"""

from __future__ import annotations

from compression.measure.plain import export_plain
from compression.measure.versions import Version, loaded, measure, static

__all__ = ["Version", "export_plain", "loaded", "measure", "static"]
