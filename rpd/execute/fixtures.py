"""The built-in fixtures, registered through the same door as everybody's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rpd.errors import DefinitionError, ReleaseError, UsageError
from rpd.execute.context import RunContext
from rpd.execute.files import folder_name
from rpd.execute.lease import Lease
from rpd.execute.naming import pod_name
from rpd.execute.noderun import NodeRun, current_run
from rpd.execute.pod import Pod
from rpd.values.fixture import fixture
from rpd.values.job import Gpu, Job
from rpd.values.node import Node


@fixture
def gpu(request: Any) -> Gpu | None:
    """Which GPU the job asks for; override it in a conftest, or parametrize it, to change the pod."""
    node: Node = request.node
    return node.job.gpu


@fixture
def pod(provision: Provision, gpu: Gpu | str | None) -> Iterator[Pod]:
    """A pod of the job's kind: rented, reachable over SSH, released on every exit."""
    with provision(gpu=gpu) as made:
        yield made


@fixture
def project_dir(request: Any) -> Path:
    """The local folder that ``staged_dir`` sends: that of the deploy file; override it to send another."""
    context: RunContext = current_run().context
    node: Node = request.node
    return (context.rootdir / node.file).parent


@fixture
def staged_dir(pod: Pod, project_dir: Path) -> str:
    """The project's folder on the pod, sent afresh for each node; its remote path."""
    run = current_run()
    source = _checked_project(Path(project_dir))
    with run.phase("stage"):
        staged = pod.put(source, f"{pod.workspace}/{source.name}")
    run.staged = staged
    return staged.remote


def _checked_project(folder: Path) -> Path:
    """Refuse what nobody means to send. Raises UsageError."""
    resolved = folder.resolve()
    if resolved == Path.home() or resolved.parent == resolved:
        raise UsageError(f"staged_dir would send all of {resolved}: put the deploy file into a folder of its own")
    return resolved


@fixture
def run_dir() -> Path:
    """The local folder of this node; in a dry run a path that does not exist."""
    run = current_run()
    context: RunContext = run.context
    return run.files.folder if run.files else context.runs_path / "dry-run" / folder_name(run.node.id)


@fixture
def record_metric() -> Callable[[str, Any], None]:
    """``record_metric(name, value)`` keeps a number for the summary and the manifest."""
    return current_run().record_metric


@fixture(scope="session")
def variables() -> Mapping[str, Any]:
    """The variables of ``--var``, ``--vars-file`` and the configuration file, by name."""
    context: RunContext = current_run().context
    return context.variables


@fixture(scope="session")
def provision() -> Provision:
    """``with provision(job, gpu=…) as pod:`` rents a pod, for fixtures of any scope."""
    return Provision()


class Provision:
    """Rents pods. Call it in a ``with`` statement; the pod is released when that ends."""

    @contextmanager
    def __call__(self, job: Job | None = None, /, **changes: Any) -> Iterator[Pod]:
        """Rent the pod of ``job`` (default: the job of the node that is set up), its fields changed by ``changes``.

        It is released as the job's lifecycle says: ``on_failure`` if any node on it did not pass. Raises
        ProvisioningError, ProviderError, Interrupted, and ReleaseError if it may still bill.
        """
        run = current_run()
        context: RunContext = run.context
        wanted = (job or run.node.job).derive(**_with_gpu(changes))
        lease = _lease(wanted, run, context)
        context.leases.add(lease)
        run.leases.append(lease)
        with run.phase("provision"):
            remote = lease.acquire()
        _tell_ready(lease, run, context)
        try:
            yield Pod(
                lease,
                remote,
                stop=context.stop,
                base=(context.rootdir / run.node.file).parent,
                secrets=_chosen_secrets(wanted, context),
                key_file=context.files.keys / "id_ed25519" if context.files else None,
            )
        except BaseException:
            lease.failed = True
            raise
        finally:
            _give_back(lease, wanted, current_run(), context)


def _with_gpu(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Accept the plain id of a GPU, as a parametrized ``gpu`` usually is."""
    held = changes.get("gpu")
    if isinstance(held, str):
        return {**changes, "gpu": Gpu(held)}
    if held is not None and not isinstance(held, Gpu):
        raise DefinitionError("fixture", "gpu", "expected a Gpu(…), a GPU id or None", held)
    return dict(changes)


def _lease(job: Job, run: NodeRun, context: RunContext) -> Lease:
    name = pod_name(context.run_id, run.node.id)

    def record(event: str, *, sync: bool = False, **detail: Any) -> None:
        context.journal.write(event, sync=sync, node=run.node.id, **detail)
        run.journal.write(event, **detail)
        context.hook.rpd_pod_event(pod_name=name, event=event, detail={"node": run.node.id, **detail})

    return Lease(
        name=name,
        request=context.overrides.request(job, job.gpu),
        provider=context.provider(),
        connect=context.connect,
        record=record,
        stop=context.stop,
        ready_seconds=context.overrides.budget(job.budget).ssh_ready_seconds,
        env=context.pod_env,
    )


def _tell_ready(lease: Lease, run: NodeRun, context: RunContext) -> None:
    context.hook.rpd_pod_ready(node=run.node, pod=lease.pod)


def _chosen_secrets(job: Job, context: RunContext) -> Mapping[str, str]:
    return {secret.name: context.secrets[secret.name] for secret in job.secrets if secret.name in context.secrets}


def _give_back(lease: Lease, job: Job, run: NodeRun, context: RunContext) -> None:
    with run.phase("release"):
        try:
            state = lease.release(job.lifecycle.on_failure if lease.failed else job.lifecycle.on_success)
        except ReleaseError as error:
            context.leases.lost(error)
            raise
    context.hook.rpd_pod_released(pod=lease.pod, final_state=state, usd=lease.age_seconds * lease.rate_usd_per_hr / 3600)
