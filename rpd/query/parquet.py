"""An answer as a Parquet file, where pyarrow is installed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rpd.errors import UsageError
from rpd.query.answer import Answer


def write(path: Path, answer: Answer) -> None:
    """Write ``answer`` to ``path``. Raise UsageError if pyarrow is not installed, OSError.

    A column whose values have several types becomes text; lists and tables become JSON.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise UsageError("--parquet: pyarrow is not installed: pip install 'rpd[parquet]'") from None
    columns = {
        name: pyarrow.array(_column([row[at] for row in answer.rows]))
        for at, name in enumerate(answer.columns)
    }
    parquet.write_table(pyarrow.table(columns), path)


def _column(values: Sequence[Any]) -> list[Any]:
    """Return the values of a column as one type; None stays None."""
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float}:
        return (
            [None if value is None else float(value) for value in values] if float in kinds else list(values)
        )
    if len(kinds) == 1 and kinds <= {bool, str}:
        return list(values)
    return [value if isinstance(value, str | None) else json.dumps(value, default=str) for value in values]
