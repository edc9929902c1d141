"""``rpd init``."""

from __future__ import annotations

import os
import re
from pathlib import Path

from rpd.cli.output import say
from rpd.config import Config
from rpd.config.settings_file import find_root, read_file
from rpd.errors import ExitCode, UsageError
from rpd.hooks import PluginManager
from rpd.user_text import parse_toml, read_text

DEPLOY, CONFTEST = "deploy_first.py", "conftest.py"
_OWN_FILE = "rpd.toml"
_HEADER = re.compile(r"^\s*\[\s*tool\s*\.\s*rpd\s*\][^\n]*\n", re.MULTILINE)
_MARK = "\ufeff"
_PACKAGED = Path(__file__).parent / "templates"
_CHECKOUT = Path(__file__).parents[2] / "conftest_templates"


def main(config: Config, manager: PluginManager) -> int:
    """Write the first deploy file and conftest into a folder, never over something, and how that conftest is called."""
    del manager
    if len(config.args) > 1:
        raise UsageError("rpd init takes one folder")
    folder = Path(os.path.normpath(config.invocation_dir / (config.args[0] if config.args else ".")))
    templates = _PACKAGED if _PACKAGED.is_dir() else _CHECKOUT
    name, setting = _conftest(folder, config.collect.conftest if "conftest" in config.sources else None)
    texts = {folder / each: read_text(templates / of) for each, of in ((DEPLOY, DEPLOY), (name, CONFTEST))}
    existing = [path for path in texts if os.path.lexists(path)]
    if existing:
        raise UsageError(f"{existing[0]} exists already; nothing was written{_advice(existing[0])}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in (texts | setting).items():
            path.write_text(text, encoding="utf-8", newline="")
            say(f"wrote {path}")
    except OSError as error:
        raise UsageError(f"cannot write into {folder}: {error.strerror}") from error
    where = "" if folder == config.invocation_dir else f" {config.args[0]}"
    say(f"\nTry it for free:  rpd collect{where}   rpd run --dry-run{where}   rpd run --local{where}")
    return ExitCode.OK


def _advice(existing: Path) -> str:
    """Return advice about an existing conftest, which is usually pytest's."""
    if existing.name != CONFTEST:
        return ""
    return ". If it is pytest's, let rpd's have another name: rpd init --conftest rpd_conftest.py"


def _conftest(folder: Path, asked: str | None) -> tuple[str, dict[Path, str]]:
    """Return the name of the conftest, and the file that has to say so with its text, unless it does."""
    root, file = find_root(folder)
    text = read_file(file)
    known = text.get("conftest", CONFTEST)
    wanted = asked or known
    if wanted == known:
        return wanted, {}
    if "conftest" in text:
        raise UsageError(f"{file}: conftest is {known!r} here already; nothing was written")
    file = file or root / _OWN_FILE
    return wanted, {file: _with_key(file, f'conftest = "{wanted}"')}


def _with_key(file: Path, line: str) -> str:
    """Return the text of a configuration file with one more key, everything else as it is.

    Raises UsageError where that has to be done by hand.
    """
    try:
        text = file.read_bytes().decode() if file.exists() else ""
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}; nothing was written") from error
    if file.name == _OWN_FILE:
        return f"{line}\n{text.removeprefix(_MARK)}"
    changed = _HEADER.sub(lambda match: f"{match[0]}{line}\n", text, count=1)
    tools = parse_toml(changed.removeprefix(_MARK)).get("tool", {})
    if "conftest" not in tools.get("rpd", {}):
        raise UsageError(
            f"{file}: put {line} into the table tool.rpd, then run rpd init again; nothing was written"
        )
    return changed
