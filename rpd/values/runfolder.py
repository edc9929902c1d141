"""Recognizes run folders within a project. They hold files from pods, so they are neither collected from nor staged."""

from __future__ import annotations

from collections.abc import Collection

_JOURNAL, _RUN, _NODE = MARKS = "events.jsonl", "run.toml", "manifest.toml"
"""Files of which a run folder, or that of a node, holds at least two."""
_STAMP_LENGTH = len("20261128T040942Z-2579b5")


def is_run_folder(name: str, entries: Collection[str]) -> bool:
    """Return whether a folder called ``name`` with ``entries`` belongs to a run, or to a node of one.

    It need not be in ``runs_dir``: nested projects have their own, the setting may have changed, and people
    copy run folders. A journal alone is no proof unless the name is that of a run: the file might be the
    user's.
    """
    if _JOURNAL in entries and (_RUN in entries or _NODE in entries):
        return True
    return is_run_id(name) and (_JOURNAL in entries or _RUN in entries)


def is_run_id(name: str) -> bool:
    """Return whether ``name`` is a UTC second and six hexadecimal digits, as the journal names run folders."""
    stamp, _, random = name.partition("-")
    return (
        len(name) == _STAMP_LENGTH
        and stamp[8:9] == "T"
        and stamp[15:] == "Z"
        and (stamp[:8] + stamp[9:15]).isdigit()
        and all(digit in "0123456789abcdef" for digit in random)
    )
