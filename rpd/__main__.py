"""``python -m rpd``."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

with suppress(FileNotFoundError):
    # ``python -m`` looks into the current folder first; what the user keeps there must not replace a library.
    if not sys.flags.safe_path and sys.path[:1] == [str(Path.cwd())]:
        del sys.path[0]

from rpd.cli import main

if __name__ == "__main__":
    sys.exit(main())
