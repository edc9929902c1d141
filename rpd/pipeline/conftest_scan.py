"""A first scan of the command line, before its options are known: conftests may add some and are loaded first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rpd.collect import load_conftests
from rpd.collect.arguments import Target, parse_target, read_targets
from rpd.config import settings
from rpd.config.settings_file import override_value
from rpd.errors import CollectionError, UsageError
from rpd.hooks import PluginManager


def load_early_conftests(
    manager: PluginManager,
    *,
    argv: Sequence[str],
    added: Sequence[str],
    deploypaths: Sequence[str],
    conftest: str,
    rootdir: Path,
    cwd: Path,
    own: type,
) -> tuple[CollectionError, ...]:
    """Register the conftests for the paths in ``argv`` (else ``added``, else ``deploypaths``) and of folders above.

    ``conftest`` is their file name, ``own`` declares the options of this command alone. Return the errors of
    those that cannot be loaded. Arguments that are no paths are skipped: whether they are values of options
    is known only once the conftests have added theirs.
    """
    targets = list(_named(argv, cwd, own)) or list(_named(added, cwd, own))
    if not targets:
        targets = _defaults(deploypaths, rootdir, cwd)
    folders = dict.fromkeys(target.path for target in targets)
    return load_conftests(manager, rootdir, folders, name=conftest)


def early_overrides(argv: Sequence[str]) -> dict[str, Any]:
    """Return the keys that ``-o`` sets, as the configuration file would. Raise UsageError for a wrong one."""
    values: dict[str, Any] = {}
    words = iter(argv)
    for word in words:
        text = ""
        if word in ("-o", "--override"):
            text = next(words, "")
        elif word.startswith("--override="):
            text = word.removeprefix("--override=")
        elif word.startswith("-o"):
            text = word.removeprefix("-o")
        key, equals, value = text.partition("=")
        if equals and key.strip():
            values[key.strip()] = override_value(key.strip(), value)
    return values


def _named(argv: Sequence[str], cwd: Path, own: type) -> Iterator[Target]:
    for text in _positionals(argv, own):
        try:
            yield from read_targets([text], deploypaths=(), rootdir=cwd, invocation_dir=cwd)
        except UsageError:
            continue  # reported once it is certain that this is no value of an option


def _defaults(deploypaths: Sequence[str], rootdir: Path, cwd: Path) -> list[Target]:
    try:
        return list(read_targets((), deploypaths=deploypaths, rootdir=rootdir, invocation_dir=cwd))
    except UsageError:
        return [parse_target(".", cwd)]


def _positionals(argv: Sequence[str], own: type) -> Iterator[str]:
    """Yield the words that are neither a flag nor the value of one of rpd's own."""
    take_one = _flags_with_value(own)
    words = iter(argv)
    for word in words:
        if word == "--":
            yield from words
        elif word in take_one:
            next(words, None)
        elif not word.startswith("-"):
            yield word


def _flags_with_value(own: type) -> frozenset[str]:
    return frozenset(
        flag
        for setting in settings(own).values()
        if setting.action in ("store", "append") and setting.const is None
        for flag in setting.flags
    )
