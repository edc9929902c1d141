"""Who shares a connection to a pod: a node with some of its GPUs has its own, one for all its threads."""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any, cast

import pytest

from rpd.execute.node.node_run import NodeRun
from rpd.execute.pod.connections import Connections
from rpd.lease.lease import Lease
from rpd.remote.protocol import Remote


@pytest.mark.parametrize("gpus", [(), (0, 1)])
def test_the_threads_of_a_job_share_one(gpus: tuple[int, ...]) -> None:
    """They may all ask for the first time at once."""
    together = threading.Barrier(2)

    def another() -> Any:
        with contextlib.suppress(threading.BrokenBarrierError):
            together.wait(0.2)  # only a second one that is opened meanwhile gets through
        return SimpleNamespace(mark=lambda _mark: None)

    first = SimpleNamespace(mark=lambda _mark: None)
    connections = Connections(cast("Lease", SimpleNamespace(another_remote=another)), cast("Remote", first))
    run = cast("NodeRun", SimpleNamespace(use=SimpleNamespace(gpus=gpus), mark="m"))
    with ThreadPoolExecutor(4) as threads:
        remotes = list(threads.map(lambda _: connections.of(run), range(4)))
    assert {id(remote) == id(first) for remote in remotes} == {not gpus}
    assert len({id(remote) for remote in remotes}) == 1
    assert together.broken == bool(gpus)
