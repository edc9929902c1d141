"""The pods of the account: their owners and costs, and how to stop one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path
from typing import Any

from rpd.api.call import folder_of
from rpd.config import Config
from rpd.errors import AuthError, ProviderError
from rpd.lease import pod_release
from rpd.pipeline import connect_to_node, orphans
from rpd.pipeline.command_line import Silent
from rpd.pipeline.orphans import Claim
from rpd.pipeline.setup import configure
from rpd.pipeline.whole_account import WholeAccount
from rpd.runpod.key import find_key
from rpd.runpod.plugin import make_provider
from rpd.values.frozen import frozen, replace
from rpd.values.pod import PodInfo


@frozen
class PodView:
    """A pod of the account. USD and seconds; None if unknown.

    ``ours``: rpd made it. ``run`` and ``node`` are those it works for, as far as runs of this project know
    it. Its ``state`` is ``in use``, ``kept``, ``left behind`` (``rpd gc`` deletes it), ``running``,
    ``stopped`` or ``unclear``.
    """

    pod: PodInfo
    ours: bool
    state: str
    run: str = ""
    node: str = ""
    usd_per_hr: float | None = None
    usd_so_far: float | None = None
    since: datetime | None = None
    seconds_left: float | None = None
    root: str = ""
    """The folder that was asked from."""

    @property
    def id(self) -> str:
        """Its id."""
        return self.pod.id

    def release(self) -> None:
        """Delete it, and return once RunPod says that it is gone. Raise ReleaseError, ProviderError."""
        with _account(_config(self.root)) as provider:
            pod_release.delete(provider, self.pod)

    def row(self) -> dict[str, Any]:
        """Return it as a flat dict."""
        pod = self.pod
        return {
            "pod": pod.id,
            "name": pod.name,
            "ours": self.ours,
            "state": self.state,
            "run": self.run,
            "node": self.node,
            "gpu": pod.gpu,
            "count": pod.gpu_count,
            "datacenter": pod.datacenter,
            "usd_per_hr": self.usd_per_hr,
            "usd_so_far": self.usd_so_far,
            "seconds_left": self.seconds_left,
        }


def pods(root: str | PathLike[str] | None = None) -> tuple[PodView, ...]:
    """Return the pods of the account, rpd's own first.

    Without a key, return those on the emulator of the newest run of the project at ``root``, if that run is
    in progress. Raise AuthError, ProviderError, UsageError.
    """
    config = _config(root)
    with _account(config) as provider:
        listed = sorted(provider.list(), key=lambda pod: (not orphans.is_ours(pod), pod.name))
        for kind, error in provider.failures.items():
            raise ProviderError(f"{kind} cannot be listed: {error}") from error
    claims = orphans.claims(config.runs_path)
    now = time.time()
    return tuple(_view(pod, claims.of(pod), now, str(config.rootdir)) for pod in listed)


def _view(pod: PodInfo, claim: Claim | None, now: float, root: str) -> PodView:
    since = orphans.bills_since(pod, claim)
    return PodView(
        pod=pod,
        ours=orphans.is_ours(pod),
        state=orphans.state(pod, claim),
        run=claim.run if claim else "",
        node=claim.node if claim else "",
        usd_per_hr=orphans.usd_per_hr(pod),
        usd_so_far=None if claim is None else orphans.spent_usd(pod, claim, now),
        since=None if since is None else datetime.fromtimestamp(since, UTC),
        seconds_left=orphans.seconds_left(pod, claim, now),
        root=root,
    )


def _config(root: str | PathLike[str] | None) -> Config:
    return configure(Silent(name="ps", arguments=""), [], folder_of(Path(root) if root else None))[0]


@contextmanager
def _account(config: Config) -> Iterator[WholeAccount]:
    """Give the provider of the user's key; without one, the emulator of the newest run. Raise AuthError."""
    try:
        find_key()
    except AuthError:
        newest = connect_to_node.newest_local(config.runs_path)
        if newest is None or newest.end is None:
            raise
        config = replace(config, api=newest.end)
    provider = WholeAccount(make_provider(config))
    try:
        yield provider
    finally:
        provider.close()
