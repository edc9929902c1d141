"""Clusters: several pods that are rented, driven and released as one. This is the plugin, with its fixtures.

Every collection loads this module, so modules that only a run needs are imported at their first use.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, cast

from rpd.values.fixture import fixture
from rpd.values.job import Gpu, Job

if TYPE_CHECKING:
    from rpd.cluster.running_cluster import RunningCluster
    from rpd.execute.pod.kinds import PodKind
    from rpd.execute.pod.provision import Provision


@fixture
def cluster(provision: Provision, gpu: Gpu | str | None) -> Iterator[RunningCluster]:
    """The pods of a job with ``cluster``: all of them reachable over SSH, released together on every exit."""
    with provision(gpu=gpu) as made:
        yield cast("RunningCluster", made)


@fixture
def cluster_dir(cluster: RunningCluster, project_dir: Path) -> str:
    """The project's folder on every member of the cluster, sent for each node; its remote path."""
    from rpd.execute.node.current import current_run
    from rpd.execute.project_folder import checked_project

    run = current_run()
    source = checked_project(project_dir)
    run.context.uploads.check(source)
    with run.results.phase("stage"):
        staged = cluster.put(source, f"{cluster.primary.workspace}/{source.name}")[0]
    run.results.staged = staged
    return staged.remote


def rpd_pod_kind(job: Job) -> PodKind | None:
    """Rent the pods of a job with ``cluster`` as an Instant Cluster."""
    if job.cluster is None:
        return None
    from rpd.cluster.cluster_lease import ClusterLease
    from rpd.cluster.running_cluster import hold
    from rpd.execute.pod.kinds import PodKind

    return PodKind(lease=ClusterLease, hold=hold)
