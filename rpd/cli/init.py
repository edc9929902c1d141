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
_OWN_FILE, _IGNORE, _GIT_IGNORE = "rpd.toml", ".rpdignore", ".gitignore"
_SETTINGS = """\
# Settings of rpd for this project. Remove the "#" to use a line. `rpd run --show-config` prints every setting, its
# value and where it came from; docs/command-line.md explains them.

# n = 4                     # how many nodes run at a time
# confirm_above_usd = 5     # ask before a run that may cost more than this, in USD (default: 10)
# keep_failed = "30m"       # keep the pod of a failed node for this long
# addopts = ["-v"]          # arguments for every command line

# [job]                     # defaults for the fields of all jobs
# cloud = "any"
# datacenters = ["EU-RO-1", "EU-SE-1"]
# budget = {cost_cap_usd = 2, max_runtime = "60m"}

# [variables]               # values of rpd.variable(), which --var NAME=VALUE overrides
# epochs = 20
"""
_UNSENT = """\
# Files that `staged_dir` and `pod.put` do not send to a pod, besides those in .gitignore. The syntax is the same.
# `rpd run --dry-run -v` lists the files that they leave out.

# data/
# *.ckpt
"""
_HEADER = re.compile(r"^\s*\[\s*tool\s*\.\s*rpd\s*\][^\n]*\n", re.MULTILINE)
_MARK = "\ufeff"
_PACKAGED = Path(__file__).parent / "templates"
_CHECKOUT = Path(__file__).parents[2] / "conftest_templates"


def main(config: Config, manager: PluginManager) -> int:
    """Write the first deploy file and conftest into a folder, with settings and rules, never over something."""
    del manager
    if len(config.args) > 1:
        raise UsageError("rpd init takes one folder")
    folder = Path(os.path.normpath(config.invocation_dir / (config.args[0] if config.args else ".")))
    templates = _PACKAGED if _PACKAGED.is_dir() else _CHECKOUT
    name, setting = _conftest(folder, config.collect.conftest if "conftest" in config.sources else None)
    texts = {folder / each: read_text(templates / of) for each, of in ((DEPLOY, DEPLOY), (name, CONFTEST))}
    existing = [path for path in texts if os.path.lexists(path)]
    if existing:
        raise UsageError(f"{existing[0]} already exists; nothing was written{_advice(existing[0])}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in (_extras(folder) | texts | setting).items():
            path.write_text(text, encoding="utf-8", newline="")
            say(f"wrote {path}")
        if rules := _ignore_runs(find_root(folder)[0], config.run.runs_dir):
            say(f"added {config.run.runs_dir} to {rules}")
    except OSError as error:
        raise UsageError(f"cannot write into {folder}: {error.strerror}") from error
    where = "" if folder == config.invocation_dir else f" {config.args[0]}"
    say(f"\nTry it for free:  rpd collect{where}   rpd run --dry-run{where}   rpd run --local{where}")
    return ExitCode.OK


def _extras(folder: Path) -> dict[Path, str]:
    """Return the other files of a new project, by path, without those that exist."""
    root, file = find_root(folder)
    wanted = {folder / _IGNORE: _UNSENT} | ({root / _OWN_FILE: _SETTINGS} if file is None else {})
    return {path: text for path, text in wanted.items() if not os.path.lexists(path)}


def _ignore_runs(root: Path, runs_dir: str) -> Path | None:
    """Add the folder of runs to the ``.gitignore`` of a repository; return that file, None if nothing was to be done.

    Raise OSError.
    """
    rules, line = root / _GIT_IGNORE, f"{runs_dir.rstrip('/')}/"
    is_in_git = any(os.path.lexists(folder / ".git") for folder in (root, *root.parents))
    if not is_in_git or Path(runs_dir).is_absolute() or (os.path.lexists(rules) and not rules.is_file()):
        return None
    before = rules.read_bytes() if rules.is_file() else b""
    if any(rule.strip(b"/ \r") == line.strip("/").encode() for rule in before.split(b"\n")):
        return None
    with rules.open("ab") as file:
        file.write((b"" if not before or before.endswith(b"\n") else b"\n") + f"{line}\n".encode())
    return rules


def _advice(existing: Path) -> str:
    """Return advice about an existing conftest, which is usually pytest's."""
    if existing.name != CONFTEST:
        return ""
    return ". If it belongs to pytest, give rpd's conftest another name: rpd init --conftest rpd_conftest.py"


def _conftest(folder: Path, asked: str | None) -> tuple[str, dict[Path, str]]:
    """Return the name of the conftest, and the file that has to say so with its text, unless it does."""
    root, file = find_root(folder)
    text = read_file(file)
    present = text.get("conftest", CONFTEST)
    conftest = asked or present
    if conftest == present:
        return conftest, {}
    if "conftest" in text:
        raise UsageError(f"{file}: it already sets conftest to {present!r}; nothing was written")
    line = f'conftest = "{conftest}"'
    if file is None:
        return conftest, {root / _OWN_FILE: f"{line}\n\n{_SETTINGS}"}
    return conftest, {file: _with_key(file, line)}


def _with_key(file: Path, line: str) -> str:
    """Return the text of a configuration file with one more key, everything else as it is.

    Raise UsageError if that has to be done by hand.
    """
    try:
        text = file.read_bytes().decode()
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
