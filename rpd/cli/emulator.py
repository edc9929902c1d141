"""``rpd emulator``."""

from __future__ import annotations

from rpd.cli.command_options import EmulatorOptions
from rpd.cli.output import say
from rpd.config import Config
from rpd.errors import ExitCode
from rpd.hooks import PluginManager
from rpd.pipeline.local_backend import machine_of, start_emulator


def main(config: Config, manager: PluginManager) -> int:
    """Run an emulator until Ctrl-C, and print how to reach it."""
    own: EmulatorOptions = config.own
    del manager
    launched = start_emulator(port=own.port, machine=machine_of(config.run, config.invocation_dir))
    for notice in launched.notices:
        say(f"note: {notice}")
    say("An emulator of RunPod on this machine: nothing on it costs money. In another shell:\n")
    say(f"export RUNPOD_API_BASE_URL={launched.base_url}")
    say(f"export RUNPOD_API_KEY={launched.api_key}\n")
    say("rpd reads both. The plain runpod SDK reads only the first; in Python give it the key:")
    say('    import os, runpod; runpod.api_key = os.environ["RUNPOD_API_KEY"]\n')
    say("Ctrl-C stops it, with all its pods.")
    try:
        code = launched.process.wait()
    except KeyboardInterrupt:
        launched.close()
        say()
        return ExitCode.OK
    return ExitCode.OK if code == 0 else ExitCode.FAILED
