"""``rpd init``."""

from __future__ import annotations

from pathlib import Path

from rpd.cli.out import say
from rpd.config import Config
from rpd.errors import ExitCode, UsageError
from rpd.hooks import PluginManager

WRITTEN = ("deploy_first.py", "conftest.py")
_PACKAGED = Path(__file__).parent / "templates"
_CHECKOUT = Path(__file__).parents[2] / "conftest_templates"


def main(config: Config, manager: PluginManager) -> int:
    """Write the first deploy file and conftest into a folder, never over something."""
    del manager
    if len(config.args) > 1:
        raise UsageError("rpd init takes one folder")
    folder = config.invocation_dir / (config.args[0] if config.args else ".")
    templates = _PACKAGED if _PACKAGED.is_dir() else _CHECKOUT
    existing = [name for name in WRITTEN if (folder / name).exists()]
    if existing:
        raise UsageError(f"{folder / existing[0]} exists already; nothing was written")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in WRITTEN:
            (folder / name).write_text((templates / name).read_text(encoding="utf-8"), encoding="utf-8")
            say(f"wrote {folder / name}")
    except OSError as error:
        raise UsageError(f"cannot write into {folder}: {error.strerror}") from error
    where = "" if folder == config.invocation_dir else f" {config.args[0]}"
    say(f"\nTry it for free:  rpd collect{where}   rpd run --dry-run{where}   rpd run --local{where}")
    return ExitCode.OK
