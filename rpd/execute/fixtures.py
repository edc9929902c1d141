"""The built-in fixtures, registered through the same hook as everybody's.

Every collection loads this module. Imports that only a run needs (pods, leases) are therefore inside the
functions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rpd.values.fixture import fixture
from rpd.values.job import Gpu
from rpd.values.node import Node

if TYPE_CHECKING:
    from rpd.execute.context import RunContext
    from rpd.execute.node.node_run import NodeRun
    from rpd.execute.pod.handle import Pod
    from rpd.execute.pod.provision import Provision


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
    context: RunContext = _run().context
    node: Node = request.node
    return context.project(node.file)


@fixture
def staged_dir(pod: Pod, project_dir: Path) -> str:
    """The project's folder on the pod, sent for each node; its remote path."""
    from rpd.execute.project_folder import checked_project

    run = _run()
    source = checked_project(project_dir)
    run.context.uploads.check(source)
    with run.results.phase("stage"):
        # Nodes that work on one pod side by side must not find their tree replaced by a neighbour's.
        place = f"{source.name}-gpu{run.use.gpus[0]}" if run.use.gpus else source.name
        staged = pod.put(source, f"{pod.workspace}/{place}")
    run.results.staged = staged
    return staged.remote


@fixture
def run_dir() -> Path:
    """The local folder of this node; in a dry run a path that does not exist."""
    run = _run()
    return run.files.folder


@fixture
def tmp_path() -> Iterator[Path]:
    """An empty local folder of the node's own, removed at its teardown; ``run_dir`` is the one that stays."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="rpd-", ignore_cleanup_errors=True) as folder:
        yield Path(folder).resolve()


@fixture
def record_metric() -> Callable[[str, Any], None]:
    """``record_metric(name, value)`` keeps a number for the summary and the manifest."""
    run = _run()

    def record(name: str, value: Any) -> None:
        # A job that is called again for its artifacts recorded its metrics the first time.
        if not run.steps.salvaging:
            run.results.record_metric(name, value)

    return record


@fixture
def needs() -> Any:
    """The results of the nodes that this one needs (mark ``needs``): their reports, metrics and verified files."""
    run = _run()
    return run.context.needed.by(run.node, run.results.sent)


@fixture(scope="session")
def variables() -> Mapping[str, Any]:
    """The variables of ``--var``, ``--vars-file`` and the configuration file, by name."""
    context: RunContext = _run().context
    return context.variables


@fixture(scope="session")
def provision() -> Provision:
    """Rent pods for fixtures of any scope, in a ``with`` statement."""
    from rpd.execute.pod.provision import Provision

    return Provision()


def _run() -> NodeRun:
    """Return the node run that asks."""
    from rpd.execute.node.current import current_run

    return current_run()
