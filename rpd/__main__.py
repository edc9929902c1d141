"""``python -m rpd``."""

from __future__ import annotations

import os
import sys

if not sys.flags.safe_path and sys.path[:1] == [os.getcwd()]:  # noqa: PTH109 - as Python itself put it there
    # ``python -m`` looks into the current folder first; what the user keeps there must not replace a library.
    del sys.path[0]

from rpd.cli import main

if __name__ == "__main__":
    sys.exit(main())
