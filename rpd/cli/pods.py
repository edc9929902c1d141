"""``rpd ps``, ``rpd stop`` and ``rpd gc``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict

from rpd.config import Config
from rpd.errors import ExitCode, ReleaseError, UsageError
from rpd.hooks import PluginManager
from rpd.pipeline import pods
from rpd.values.pod import PodInfo, PodStatus, Provider


@contextmanager
def _provider() -> Iterator[Provider]:
    from rpd.runpod.key import find_key
    from rpd.runpod.provider import RunPodProvider

    provider = RunPodProvider(find_key(), notify=lambda text: print(f"rpd: {text}", file=sys.stderr))
    try:
        yield provider
    finally:
        provider.close()


def ps(config: Config, manager: PluginManager) -> int:
    """List the pods of the account, ours first."""
    del manager
    with _provider() as provider:
        found = sorted(provider.list(), key=lambda pod: (not pods.is_ours(pod), pod.name))
    if config.as_json:
        print(json.dumps([asdict(pod) for pod in found], indent=2))
    elif not found:
        print("no pods")
    else:
        _print_table(found)
    return ExitCode.OK


def _print_table(found: Sequence[PodInfo]) -> None:
    rows = [("POD", "NAME", "STATUS", "GPU", "DC", "$/H", "OURS")]
    for pod in found:
        gpu = f"{pod.gpu_count}x {pod.gpu}" if pod.gpu else "CPU"
        rate = f"{pod.usd_per_hr:.2f}" if pod.usd_per_hr is not None else "?"
        ours = "yes" if pods.is_ours(pod) else "no"
        rows.append((pod.id, pod.name, str(pod.status), gpu, pod.datacenter or "?", rate, ours))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    running = sum(pod.usd_per_hr or 0.0 for pod in found if pod.status is PodStatus.RUNNING)
    print(f"{len(found)} pods, ${running:.2f} an hour")


def stop(config: Config, manager: PluginManager) -> int:
    """Delete the pods named on the command line."""
    del manager
    if not config.args:
        raise UsageError("rpd stop needs the id or name of a pod (see `rpd ps`)")
    with _provider() as provider:
        listed = provider.list()
        chosen = [pods.find(listed, wanted) for wanted in config.args]
        foreign = [pod.id for pod in chosen if not pods.is_ours(pod)]
        if foreign and not config.yes:
            raise UsageError(f"rpd did not make {', '.join(foreign)}: say --yes to delete it all the same")
        return _delete(provider, chosen)


def gc(config: Config, manager: PluginManager) -> int:
    """Show, and with ``--yes`` delete, what killed runs left behind."""
    del manager
    with _provider() as provider:
        listed = provider.list()
        left = pods.leftovers(listed, config.runs_path)
        known = {held.pod.id for held in left}
        for held in left:
            print(f"{held.pod.id}  {held.pod.name}  left by run {held.run}")
        for pod in listed:
            if pods.is_ours(pod) and pod.id not in known:
                print(
                    f"{pod.id}  {pod.name}  kept, in use, or made elsewhere: left alone (rpd stop {pod.id})"
                )
        if not left:
            print("nothing to reap")
            return ExitCode.OK
        if not config.yes:
            print(f"{len(left)} pods would be deleted: rpd gc --yes")
            return ExitCode.OK
        return _delete(provider, [held.pod for held in left])


def _delete(provider: Provider, chosen: Sequence[PodInfo]) -> int:
    code = ExitCode.OK
    for pod in chosen:
        try:
            pods.delete(provider, pod)
        except ReleaseError as error:
            print(f"rpd: error: {error}", file=sys.stderr)
            code = ExitCode.POD_NOT_RELEASED
        else:
            print(f"deleted {pod.id}  {pod.name}")
    return code
