"""Globs on the pod."""

import subprocess

from hypothesis import given
from hypothesis import strategies as st

from rpd.remote.transfer.globs import glob_words, split_glob


def test_the_fixed_part_of_a_glob() -> None:
    """It ends before the first part with a wildcard."""
    assert split_glob("/w/out/a.txt") == ("/w/out", None)
    assert split_glob("/w/*/a.txt") == ("/w", "*/a.txt")
    assert split_glob("/*") == ("/", "*")
    assert split_glob("/w/a[b/c") == ("/w/a[b", None)


@given(st.text(st.characters(codec="ascii", exclude_characters="\0/"), min_size=1, max_size=15))
def test_only_wildcards_are_active_in_a_glob(pattern: str) -> None:
    """With file names switched off any glob is itself again: nothing of it is run or evaluated."""
    words = glob_words(pattern)
    ended = subprocess.run(
        ["/bin/sh", "-c", f"set -f; printf %s ./{words}"], capture_output=True, check=True, env={"PATH": ""}
    )
    assert ended.stdout.decode() == f"./{pattern}"
