"""``python -m rpd.emulator``: run the emulator and print its address as one line of JSON."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from rpd.emulator.errors import EmulatorError
from rpd.emulator.machines import Limits
from rpd.emulator.server import Own, serve


def _announce(facts: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m rpd.emulator", description="Run an emulator of RunPod on this machine."
    )
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1 (default: any free one)")
    parser.add_argument("--balance", type=float, default=100.0, help="USD on the account (default: 100)")
    parser.add_argument(
        "--boot-seconds", type=float, default=0.3, help="how long a pod takes to boot (default: 0.3)"
    )
    parser.add_argument("--linger", type=float, help="end that many seconds after standard input is closed")
    parser.add_argument("--api-key", default="", help="the account's key (default: a random one)")
    parser.add_argument("--gpus", action="store_true", help="show this machine's NVIDIA GPUs to pods")
    parser.add_argument("--python", default="", help="interpreter or environment that pods see")
    for name in ("memory-mb", "processes", "disk-mb"):
        parser.add_argument(f"--pod-{name}", type=int, help=f"limit of a pod's {name}")
    parser.add_argument("--isolation", default="auto", choices=("auto", "root", "user", "plain"))
    return parser


def main() -> int:
    """Serve until SIGTERM or the end of standard input. Return the exit code."""
    options = vars(_parser().parse_args())
    limits = Limits(**{name: options.pop(f"pod_{name}") for name in ("memory_mb", "processes", "disk_mb")})
    own = Own(gpus=options.pop("gpus"), python=options.pop("python"), limits=limits)
    try:
        serve(**options, own=own, announce=_announce)
    except OSError as error:
        sys.stderr.write(f"rpd emulator: cannot listen on port {options['port']}: {error.strerror}\n")
        return 1
    except EmulatorError as error:
        if str(error).startswith("--"):  # a flag that this process was given: who started it says so
            _announce({"error": str(error)})
        else:
            sys.stderr.write(f"rpd emulator: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
