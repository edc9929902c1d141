"""Renting pods for fixtures: whatever fails on the way, the pod is given back as its lifecycle says, or named."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from rpd.errors import ConnectionLost, DefinitionError, PodNotReady, ReleaseError, TransientError
from rpd.execute.context import RunContext
from rpd.execute.local_disk import Disk
from rpd.execute.mode import Dry
from rpd.execute.node.current import acting_for
from rpd.execute.node.node_run import NodeRun
from rpd.execute.node.pod_use import PodUse
from rpd.execute.pod.lifetimes import NoLifetimes
from rpd.execute.pod.provision import Provision
from rpd.execute.pod.renting import Renting
from rpd.execute.price_ceiling import NoCover
from rpd.execute.uploads import Uploads
from rpd.journal.files import DryRunFiles
from rpd.journal.journal import NoJournal
from rpd.lease.lease import Lease
from rpd.lease.recycle import Recycler
from rpd.redaction import NO_SECRETS
from rpd.remote.dry_run import RecorderRemote
from rpd.remote.protocol import Remote
from rpd.runpod.dry.provider import OfflineProvider
from rpd.stop import Stop
from rpd.values.job import Budget, Gpu, Job, Lifecycle, Release, Secret, Storage
from rpd.values.node import Node
from rpd.values.overrides import Overrides
from rpd.values.pod import PodStatus
from rpd.values.report import SourceRecord
from tests.heard import Heard
from tests.nodes import definition

A4000, L4 = "NVIDIA RTX A4000", "NVIDIA L4"


class Recorded(Dry):
    """No pod exists, but each is rented as one that does."""

    keeps_records = True


class Far(RecorderRemote):
    """Keeps what is done to the pod in ``done``; a script fails if ``error`` is set."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.error: ConnectionLost | None = None

    def write(self, remote: str, data: bytes, *, mode: int = 0o644) -> None:
        self.done.append(f"write {remote} {data.decode()} {mode:o}")

    def script(self, text: str, *, timeout: float) -> str:
        if self.error is not None:
            raise self.error
        self.done.append(text)
        return ""


class Unguardable(NoLifetimes):
    """No watchdog can be started on its pods."""

    def secure(self, lease: Lease, use: PodUse) -> None:
        raise PodNotReady("no watchdog")


class Rent:
    """A node that rents pods, and the world around it."""

    def __init__(self, folder: Path) -> None:
        self.provider = OfflineProvider()
        self.far = Far()
        self.events = Heard()
        stop = Stop()
        self.context = RunContext(
            rootdir=folder,
            run_id="20260101T000000Z-abcdef",
            mode=Recorded(),
            files=DryRunFiles.below(folder),
            journal=NoJournal(),
            events=self.events,
            stop=stop,
            disk=Disk(stop, self.events),
            overrides=Overrides(),
            variables={},
            redactor=NO_SECRETS,
            secrets={"KEY": b"private", "TOKEN": "hush"},
            source=lambda _folder: SourceRecord(),
            lifetimes=NoLifetimes(),
            renting=Renting(
                provider=lambda: self.provider, connect=self._connect, overrides=Overrides(), env={}
            ),
            uploads=Uploads(rootdir=folder, events=self.events, limit_mb=1),
            new_journal=lambda _files: NoJournal(),
            cover=NoCover(),
        )

    def _connect(self, *_endpoint: object, **_how: object) -> Remote:
        return self.far

    def node(self, **fields: Any) -> NodeRun:
        """Return a run of a node whose job has these fields."""
        job = Job(gpu=Gpu(A4000, L4), **fields)
        node = Node(definition=definition(job=job), id="deploy_x.py::fit")
        return NodeRun(
            node=node,
            context=self.context,
            use=PodUse(node=node, budget=Budget()),
            files=self.context.files.node(node),
            journal=NoJournal(),
            events=self.events,
        )

    @property
    def left(self) -> list[PodStatus]:
        """The states of the pods that are there."""
        return [pod.status for pod in self.provider.list()]


@pytest.fixture
def rent(tmp_path: Path) -> Iterator[Rent]:
    made = Rent(tmp_path)
    yield made
    made.context.surroundings.close()


@pytest.mark.parametrize(("fails", "left"), [(False, []), (True, [PodStatus.EXITED])])
def test_a_pod_is_given_back_as_its_lifecycle_says(rent: Rent, fails: bool, left: list[PodStatus]) -> None:
    """``on_failure`` counts if anything was raised while it was in use."""
    run = rent.node(lifecycle=Lifecycle(on_success="delete", on_failure="stop"))
    error = ValueError("the job")
    raised: object = None
    try:
        with acting_for(run), Provision()() as pod:
            assert rent.left == [PodStatus.RUNNING]
            assert (pod.gpu, pod.id) == (A4000, run.use.leases[0].rented.id)
            if fails:
                raise error
    except ValueError as caught:
        raised = caught
    assert raised is (error if fails else None)
    assert rent.left == left


def test_fields_change_the_pod_and_wrong_ones_rent_nothing(rent: Rent) -> None:
    """A GPU may be its id, as where the fixture ``gpu`` is parametrized."""
    run = rent.node()
    with acting_for(run):
        with pytest.raises(DefinitionError, match=r"expected a job \(its fields go by name"):
            Provision()(cast("Job", "NVIDIA L4")).__enter__()
        with pytest.raises(DefinitionError, match=r"expected a Gpu\(…\), a GPU id or None"):
            Provision()(gpu=5).__enter__()
        assert run.use.leases == []
        with Provision()(gpu=L4, storage=Storage(volume_gb=7)) as pod:
            assert pod.gpu == L4
            assert run.use.leases[0].request.storage.volume_gb == 7
    assert rent.left == []


def test_a_pod_that_never_became_ready_is_deleted_and_its_offer_comes_last(
    rent: Rent, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(_lease: Lease) -> Remote:
        raise PodNotReady("no port")

    monkeypatch.setattr(Lease, "_wait_until_ready", never)
    run = rent.node()
    with acting_for(run), pytest.raises(PodNotReady, match="no port"):
        Provision()().__enter__()
    assert [offer.gpu_id for offer in rent.context.renting.bad_offers] == [A4000]
    assert rent.left == []


def test_a_pod_without_a_watchdog_is_deleted_whatever_its_lifecycle(rent: Rent) -> None:
    """It would bill on if this process died."""
    rent.context.lifetimes = Unguardable()
    with acting_for(rent.node(lifecycle=Lifecycle(on_failure="preserve"))), pytest.raises(PodNotReady):
        Provision()().__enter__()
    assert rent.left == []


def test_a_pod_that_cannot_be_released_is_named(rent: Rent, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_pod_id: str) -> None:
        raise TransientError("try again")

    monkeypatch.setattr(rent.provider, "delete", refuse)
    monkeypatch.setattr("rpd.lease.pod_release.pause", lambda _attempt: 0.0)
    run = rent.node()
    with acting_for(run), pytest.raises(ReleaseError), Provision()():
        pass
    assert rent.context.leases.unreleased == (run.use.leases[0].rented.id,)


@pytest.mark.parametrize(
    ("fields", "is_removed"),
    [
        ({}, False),
        ({"lifecycle": Lifecycle(on_success="stop")}, True),
        ({"storage": Storage(network_volume="data")}, True),
    ],
    ids=["deleted", "stopped", "network volume"],
)
def test_a_secret_file_is_removed_where_the_disk_stays(
    rent: Rent, fields: dict[str, Any], is_removed: bool
) -> None:
    """A secret that is a text goes to commands only."""
    secrets = [Secret("KEY", file="key", to="/root/the key", mode=0o400), Secret("TOKEN")]
    with acting_for(rent.node(secrets=secrets, **fields)), Provision()():
        assert rent.far.done == ["write /root/the key private 400"]
    assert rent.far.done[1:] == (["rm -f -- '/root/the key'"] if is_removed else [])


def test_a_secret_file_that_may_still_be_there_is_named(rent: Rent) -> None:
    secrets = [Secret("KEY", file="key", to="/root/key")]
    run = rent.node(secrets=secrets, lifecycle=Lifecycle(on_success="stop"))
    with acting_for(run), Provision()():
        rent.far.error = ConnectionLost("no route")
    assert rent.events.notices == ["deploy_x.py::fit: /root/key may still be on the pod: no route"]


def recycler_of(stopped: object) -> Recycler:
    """Return one that finds this pod, and nothing that is in the way."""
    return cast(
        "Recycler",
        SimpleNamespace(
            unwanted=lambda *_about: [], outgrown=lambda *_about: [], take=lambda *_about: stopped
        ),
    )


@pytest.mark.parametrize("is_there", [True, False], ids=["starts", "is gone"])
def test_a_stopped_pod_is_used_again_if_it_starts(rent: Rent, is_there: bool) -> None:
    """Else a new one is rented, and the notice names the old one."""
    again = Lifecycle(on_success=Release.RECYCLE)
    with acting_for(rent.node(lifecycle=again)), Provision()() as pod:
        old, offer, name = pod.id, pod._lease.offer, pod._lease.name
    assert rent.left == [PodStatus.EXITED]
    stopped = SimpleNamespace(
        name=name, pod_id=old if is_there else "other", key=Path(), offer=offer, before=("run node",)
    )
    rent.context.renting.recycler = recycler_of(stopped)
    rent.context.renting.connect_again = lambda _key, _pod_id: rent._connect
    with acting_for(rent.node(lifecycle=again)), Provision()() as pod:
        assert (pod.id == old) is is_there
        assert pod._lease.before == (("run node",) if is_there else ())
    said = "\n".join(rent.events.notices)
    assert ("pod other cannot be used again" in said) is not is_there
