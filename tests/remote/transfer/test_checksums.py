"""Lists of sums are read the same, whether they are read line by line or at once."""

from __future__ import annotations

import posixpath

from hypothesis import given
from hypothesis import strategies as st

from rpd.remote.transfer.checksums import parse_sums, sum_lines

names = (
    st.text(st.sampled_from("ab./\\\n\t é"), min_size=1, max_size=12)
    .map(posixpath.normpath)
    .filter(lambda name: name not in (".", "/") and not name.startswith(("/", "..")))
)
sums = st.dictionaries(names, st.integers(0, (1 << 256) - 1).map("{:064x}".format), max_size=8)


@given(sums, st.sampled_from(["  ", " *"]), st.sampled_from(["", "./", ".//", "./x/../"]))
def test_names_come_out_as_they_went_in(known: dict[str, str], between: str, before: str) -> None:
    """However they are written: with the mark of binary files, the long way round, with escapes."""
    lines = sum_lines(known)
    text = "".join(f"{line.partition('  ')[0]}{between}{before}{line.partition('  ')[2]}\n" for line in lines)
    assert parse_sums(text) == known
    # A line that is no sum belongs to the name before it, as busybox writes names with newlines.
    assert parse_sums(f"no sum\n{text}") == known


@given(sums)
def test_lines_are_those_of_sha256sum(known: dict[str, str]) -> None:
    """Sorted by name; a backslash before the line says that the name has escapes."""
    lines = sum_lines(known)
    assert len(lines) == len(known)
    for line, name in zip(lines, sorted(known), strict=True):
        is_odd = any(mark in name for mark in "\\\n\r")
        assert line.startswith("\\") == is_odd
        if not is_odd:
            assert line == f"{known[name]}  {name}"
