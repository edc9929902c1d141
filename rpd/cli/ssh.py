"""``rpd ssh``."""

from __future__ import annotations

import shlex
import threading
import time
from pathlib import Path

from rpd.cli.command_options import SshOptions
from rpd.cli.output import note, say
from rpd.cli.provider_session import account
from rpd.config import Config
from rpd.errors import ExitCode, UsageError
from rpd.hooks import PluginManager
from rpd.pipeline import connect_to_node, orphans
from rpd.remote import session
from rpd.remote.console import Console
from rpd.values.duration import format_duration
from rpd.values.pod import PodInfo


def main(config: Config, manager: PluginManager) -> int:
    """Open a shell on the pod of a node, where its job stands, or run a command there; its exit code is passed on."""
    own: SshOptions = config.own
    del manager
    if not config.args:
        raise UsageError("rpd ssh needs a node, or the id or name of a pod (see `rpd ps`)")
    name, *words = config.args
    command = command_text(words)
    with account(
        config, connect_to_node.local_backend_of(config.runs_path, name, run=own.of_run)
    ) as provider:
        target = connect_to_node.find(config.runs_path, name, provider, run=own.of_run, rank=own.rank)
        if own.print_command:
            say(target.ssh_command())
            return ExitCode.OK
        console = Console(wants_terminal=not command)
        remote = connect_to_node.open_remote(target, provider)
        try:
            if console.is_terminal:
                _tell_end(config.runs_path, target.pod)
            for local, there in own.forwards:
                port = remote.forward(there, local)
                note(f"rpd: 127.0.0.1:{port} forwards to port {there} of pod {target.pod.id}")
            if own.forwards and not command and not console.is_terminal:
                _wait()
                return ExitCode.OK
            return remote.interactive(session.script(target.place(), command), console)
        finally:
            remote.close()


def _tell_end(runs_path: Path, pod: PodInfo) -> None:
    """Say when the pod's own watchdog ends it, which no shell on it puts off."""
    claim = orphans.claims(runs_path).of(pod)
    if claim is not None and claim.ends_at is not None:
        left = format_duration(max(1.0, claim.ends_at - time.time()))
        note(f"rpd: pod {pod.id} deletes itself within {left}")


def command_text(words: list[str]) -> str:
    """Return the words as a shell command: one word is one already, several are taken as they are."""
    return words[0] if len(words) == 1 else shlex.join(words)


def _wait() -> None:
    """Wait for Ctrl-C: the forwarded ports are all that is wanted."""
    note("rpd: Ctrl-C stops the forwarding")
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        return
