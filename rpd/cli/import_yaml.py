"""``rpd import``: configurations of runpod-deploy rewritten as deploy files."""

from __future__ import annotations

import re
from pathlib import Path

from rpd.cli.output import note, say
from rpd.config import Config
from rpd.errors import CollectionError, ExitCode, UsageError
from rpd.hooks import PluginManager


def main(config: Config, manager: PluginManager) -> int:
    """Write a deploy file for each configuration, and say what is different in it and why."""
    del manager
    from rpd.compat.runpod_deploy.spec import read_spec  # YAML is an extra
    from rpd.compat.runpod_deploy.writer import write

    if not config.args:
        raise UsageError(
            "rpd import: expected configurations to rewrite: rpd import configs/runpod/train.yaml"
        )
    sources = [_source(config, text) for text in config.args]
    targets = _targets(config, sources)
    broken = 0
    for source, target in zip(sources, targets, strict=True):
        try:
            written = write(read_spec(source), folder=target.parent)
        except CollectionError as error:
            note(error)
            broken += 1
            continue
        _save(target, str(written.lines), is_forced=config.own.force)
        say(f"wrote {_shown(target, config)}")
        for notice in written.notices:
            say(f"  {notice}")
    written_to = " ".join(_shown(target, config) for target in targets)
    if broken:
        return ExitCode.INTERRUPTED
    say(f"\nTry it for free:  rpd collect {written_to}   rpd run --dry-run {written_to}")
    return ExitCode.OK


def _source(config: Config, text: str) -> Path:
    path = config.invocation_dir / Path(text).expanduser()
    if not path.is_file():
        raise UsageError(f"rpd import: there is no file {text}")
    return path


def _targets(config: Config, sources: list[Path]) -> list[Path]:
    """Return where each deploy file goes: ``-o``, else ``deploy_<name>.py`` beside the configuration."""
    if config.own.output_file is not None:
        if len(sources) > 1:
            raise UsageError("--output names one file, and several configurations were given: leave it out")
        return [config.invocation_dir / Path(config.own.output_file).expanduser()]
    targets = [path.parent / f"deploy_{re.sub(r'[^A-Za-z0-9_]', '_', path.stem)}.py" for path in sources]
    for target in targets:
        if targets.count(target) > 1:
            raise UsageError(
                f"two configurations would become {target.name}: rewrite them one by one, with --output"
            )
    for target in targets:
        _check_free(target, is_forced=config.own.force)
    return targets


def _check_free(target: Path, *, is_forced: bool) -> None:
    if target.exists() and not is_forced:
        raise UsageError(f"{target} exists already; nothing was written. Overwrite it with --force")


def _save(target: Path, text: str, *, is_forced: bool) -> None:
    _check_free(target, is_forced=is_forced)
    try:
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {target}: {error.strerror}") from error


def _shown(path: Path, config: Config) -> str:
    here = config.invocation_dir
    return path.relative_to(here).as_posix() if path.is_relative_to(here) else str(path)
