"""``rpd emulator``."""

from __future__ import annotations

from rpd.config import Config
from rpd.errors import ExitCode
from rpd.hooks import PluginManager


def main(config: Config, manager: PluginManager) -> int:
    """Serve an emulator until Ctrl-C, and say how to reach it."""
    del manager
    from rpd.emulator.launch import launch

    launched = launch(port=config.port)
    for notice in launched.notices:
        print(f"note: {notice}", flush=True)
    print("A RunPod on this machine: nothing on it costs money. In another shell:\n", flush=True)
    print(f"export RUNPOD_API_BASE_URL={launched.base_url}")
    print(f"export RUNPOD_API_KEY={launched.api_key}\n")
    print("rpd reads both. The plain runpod SDK reads only the first; in Python give it the key:")
    print('    import os, runpod; runpod.api_key = os.environ["RUNPOD_API_KEY"]\n', flush=True)
    print("Ctrl-C ends it, with every pod on it.", flush=True)
    try:
        code = launched.process.wait()
    except KeyboardInterrupt:
        launched.close()
        print()
        return ExitCode.OK
    return ExitCode.OK if code == 0 else ExitCode.FAILED
