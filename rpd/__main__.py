"""``python -m rpd``."""

from __future__ import annotations

import sys

from rpd.cli import main

if __name__ == "__main__":
    sys.exit(main())
