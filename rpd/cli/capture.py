"""``rpd capture-env``."""

from __future__ import annotations

import os
from pathlib import Path

from rpd.cli.command_options import CaptureEnvOptions
from rpd.cli.json_document import dumps
from rpd.cli.output import hand_over, say
from rpd.config import Config
from rpd.errors import ExitCode, UsageError
from rpd.hooks import PluginManager
from rpd.record import environment
from rpd.record.report_output import write_report


def main(config: Config, manager: PluginManager) -> int:
    """Write everything that affects the project's programs: python, platform, packages, source; as TOML."""
    own: CaptureEnvOptions = config.own
    del manager
    if len(config.args) > 1:
        raise UsageError("rpd capture-env takes one folder")
    folder = Path(os.path.realpath(config.invocation_dir / (config.args[0] if config.args else ".")))
    if not folder.is_dir():
        raise UsageError(f"{folder}: expected a folder")
    facts = environment.capture(folder)
    text = f"{dumps(facts, indent=2)}\n" if config.output.as_json else environment.dumps(facts)
    if own.output_file is None:
        hand_over(text)
        return ExitCode.OK
    path = config.invocation_dir / Path(own.output_file).expanduser()
    try:
        is_file = write_report(path, text)
    except OSError as error:
        raise UsageError(
            f"--output {own.output_file}: cannot be written: {error.strerror or error}"
        ) from error
    if is_file:
        say(f"wrote {path}")
    return ExitCode.OK
