"""``rpd import``: configurations of runpod-deploy rewritten as deploy files."""

from __future__ import annotations

import re
from pathlib import Path

from rpd.cli.command_options import ImportOptions
from rpd.cli.output import note, say
from rpd.config import Config
from rpd.errors import CollectionError, ExitCode, UsageError
from rpd.hooks import PluginManager


def main(config: Config, manager: PluginManager) -> int:
    """Write a deploy file for each configuration, and print the differences and their reasons."""
    own: ImportOptions = config.own
    del manager
    if own.their_runs is not None:
        return _import_runs(config, own.their_runs)
    from rpd.compat.runpod_deploy.spec import read_spec  # YAML is an extra
    from rpd.compat.runpod_deploy.writer import write

    if not config.args:
        raise UsageError(
            "rpd import: expected configurations to rewrite (rpd import configs/runpod/train.yaml), or --runs DIR for "
            "past runs"
        )
    sources = [_source(config.invocation_dir, text) for text in config.args]
    targets = _targets(config.invocation_dir, own, sources)
    broken = 0
    for source, target in zip(sources, targets, strict=True):
        try:
            written = write(read_spec(source), folder=target.parent)
        except CollectionError as error:
            note(error)
            broken += 1
            continue
        _save(target, str(written.lines), is_forced=own.force)
        say(f"wrote {_shown(target, config.invocation_dir)}")
        for notice in written.notices:
            say(f"  {notice}")
    written_to = " ".join(_shown(target, config.invocation_dir) for target in targets)
    if broken:
        return ExitCode.INTERRUPTED
    say(f"\nTry it for free:  rpd collect {written_to}   rpd run --dry-run {written_to}")
    return ExitCode.OK


def _import_runs(config: Config, text: str) -> int:
    """Add the past runs below a folder to those of rpd."""
    from rpd.compat.runpod_deploy.imported_runs import import_runs

    if config.args:
        raise UsageError(
            "rpd import --runs DIR takes no configurations: rewrite them with a second rpd import"
        )
    folder = config.invocation_dir / Path(text).expanduser()
    if not folder.is_dir():
        raise UsageError(f"rpd import --runs: no such folder: {text}")
    added = earlier = broken = 0
    for imported in import_runs(folder, config.rootdir, config.runs_path):
        if imported.problem:
            note(f"rpd: {imported.source}: {imported.problem}")
        elif imported.is_new:
            say(f"{imported.run_id}  {_shown(imported.source.parent, config.invocation_dir)}")
        added, earlier = added + imported.is_new, earlier + bool(imported.run_id and not imported.is_new)
        broken += bool(imported.problem)
    runs = "1 run" if added == 1 else f"{added} runs"
    there = f"; {earlier} had been imported before" if earlier else ""
    say(f"\nadded {runs}{there}. `rpd runs` lists them, `rpd query` searches them, `rpd estimate` uses them")
    return ExitCode.FAILED if broken else ExitCode.OK


def _source(invocation_dir: Path, text: str) -> Path:
    path = invocation_dir / Path(text).expanduser()
    if not path.is_file():
        raise UsageError(f"rpd import: no such file: {text}")
    return path


def _targets(invocation_dir: Path, own: ImportOptions, sources: list[Path]) -> list[Path]:
    """Return where each deploy file goes: ``-o``, else ``deploy_<name>.py`` next to the configuration."""
    if own.output_file is not None:
        if len(sources) > 1:
            raise UsageError("--output names one file, and several configurations were given: leave it out")
        return [invocation_dir / Path(own.output_file).expanduser()]
    targets = [path.parent / f"deploy_{re.sub(r'[^A-Za-z0-9_]', '_', path.stem)}.py" for path in sources]
    for target in targets:
        if targets.count(target) > 1:
            raise UsageError(
                f"two configurations would become {target.name}: rewrite them one by one, with --output"
            )
    for target in targets:
        _check_free(target, is_forced=own.force)
    return targets


def _check_free(target: Path, *, is_forced: bool) -> None:
    if target.exists() and not is_forced:
        raise UsageError(f"{target} already exists; nothing was written. Overwrite it with --force")


def _save(target: Path, text: str, *, is_forced: bool) -> None:
    _check_free(target, is_forced=is_forced)
    try:
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {target}: {error.strerror}") from error


def _shown(path: Path, invocation_dir: Path) -> str:
    here = invocation_dir
    return path.relative_to(here).as_posix() if path.is_relative_to(here) else str(path)
