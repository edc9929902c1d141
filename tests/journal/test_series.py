"""The file of series: every written value is read again, and a damaged file is read as far as possible."""

from __future__ import annotations

import json
import math
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from rpd.journal import series
from rpd.journal.series import Line

LINES = st.lists(
    st.builds(
        Line,
        step=st.integers(-5, 5) | st.sampled_from([0.5, 1e-9]),
        attempt=st.integers(1, 3),
        values=st.dictionaries(st.sampled_from("abc"), st.floats(), min_size=1),
    ),
    max_size=20,
)


@settings(max_examples=40)
@given(lines=LINES)
def test_a_curve_has_one_value_for_each_step_the_last(lines: list[Line], tmp_path_factory: object) -> None:
    """Every line is JSON for other programs, too; NaN and infinities come back unchanged."""
    expected: dict[str, dict[float, float]] = {}
    for line in lines:
        for name, value in line.values.items():
            expected.setdefault(name, {})[line.step] = value
    path = tmp_path_factory.mktemp("series") / series.SERIES_FILE  # type: ignore[attr-defined]
    texts = [series.text_of(line, "2026-01-02T03:04:05.000+00:00") for line in lines]
    assert not any("NaN" in json.dumps(json.loads(text)).replace('"NaN"', "") for text in texts)
    # Lines that are no values are passed over.
    path.write_text(
        "\n".join(["{", *texts, "[]", '{"values": 3}', '{"step": null, "values": {"a": 1}}', '{"step": 1'])
    )
    curves = series.read(path)
    assert {name: repr(dict(sorted(curve.items()))) for name, curve in expected.items()} == {
        name: repr(curve) for name, curve in curves.items()
    }
    assert [line.attempt for line in series.lines(path)] == [line.attempt for line in lines]


def test_no_file_has_no_series(tmp_path: Path) -> None:
    """A missing file, and a link to elsewhere, has no series."""
    (tmp_path / "real").write_text('{"step": 1, "values": {"a": 1}}')
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert series.read(tmp_path / "none") == series.read(tmp_path / "link") == {}
    assert math.isclose(series.read(tmp_path / "real")["a"][1], 1.0)
