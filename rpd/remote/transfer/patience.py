"""How long a pod may take over the parts of a transfer, in seconds."""

from __future__ import annotations

SHORT_SECONDS = 120.0
"""For what looks at a tree without reading it."""

STALL_SECONDS = 900.0
"""For all of a file's bytes to be summed on a slow disk; a stuck network file system never ends by itself."""
