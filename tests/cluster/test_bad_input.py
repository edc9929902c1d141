"""Clusters that cannot be: one clear error, before anything is rented."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import rpd
from rpd import cluster
from rpd.errors import DefinitionError, ImpossibleRequest
from rpd.events import NoEvents
from rpd.execute import fixtures
from rpd.execute.pod.kinds import SINGLE, kind_of_pods
from rpd.hooks import make_plugin_manager, register
from rpd.runpod.dry.provider import OfflineProvider
from rpd.values.never_rented import check_cluster, check_cluster_gpu, check_cluster_lifecycle
from rpd.values.pod import PodRequest, renter_of
from tests.collect.conftest import Project

H100 = rpd.Gpu("NVIDIA H100 80GB HBM3")
TWO = rpd.job(gpu=H100, cluster=rpd.Cluster(nodes=2))


@pytest.mark.parametrize("nodes", [0, 1, 9, 250, -2, 2.0, "2", True, None])
def test_numbers_of_nodes(nodes: Any) -> None:
    with pytest.raises(DefinitionError, match=r"Cluster.*nodes.*expected a whole number"):
        rpd.Cluster(nodes=nodes)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"spot": True}, "no spot clusters"),
        ({"cloud": "community"}, "expected secure with a cluster"),
        ({"cuda": "12.8"}, "cuda: .*has no field for it"),
        ({"min_cuda": "12.4"}, "min_cuda: .*has no field for it"),
        ({"registry": "mine"}, "registry: .*has no field for it"),
        ({"template_id": "abc"}, "template_id: .*has no field for it"),
        ({"min_vcpu": 8}, "min_vcpu: .*has no field for it"),
        ({"global_network": True}, "global_network: .*has no field for it"),
        ({"gpu": rpd.Gpu("NVIDIA L4", max_price_usd=3)}, "max_price_usd: .*has no field for it"),
    ],
)
def test_what_clusters_do_not_have(fields: dict[str, Any], said: str) -> None:
    job = TWO(**fields)
    with pytest.raises(DefinitionError, match=said):
        check_cluster(job)
    check_cluster(job(cluster=None))


def test_a_registry_is_not_repeated() -> None:
    """Whatever stands in its place may be a password."""
    with pytest.raises(DefinitionError) as caught:
        check_cluster(TWO(registry="hunter2"))
    assert "hunter2" not in str(caught.value)


def test_cpus_and_stops() -> None:
    with pytest.raises(DefinitionError, match="no clusters of CPU pods"):
        check_cluster_gpu(TWO(gpu=None))
    for how in ("stop", "recycle"):
        with pytest.raises(DefinitionError, match="expected delete or preserve with a cluster"):
            check_cluster_lifecycle(TWO.cluster, rpd.Lifecycle(on_success=how))  # type: ignore[arg-type]
    check_cluster_lifecycle(TWO.cluster, rpd.Lifecycle(on_failure="preserve"))


@pytest.mark.parametrize("cluster", [2, "2", {"nodes": 2}, True])
def test_no_cluster(cluster: Any) -> None:
    with pytest.raises(DefinitionError, match=r"expected a Cluster\(…\) or None"):
        rpd.job(cluster=cluster)


def test_defaults_of_a_project() -> None:
    """In a configuration file a cluster is a table, or the number of its nodes."""
    from rpd.values.job import use_job_defaults

    for written in ({"nodes": 4, "type": "ray"}, 4):
        use_job_defaults({"cluster": written})
        assert rpd.job().cluster is not None
        assert rpd.job().cluster.nodes == 4
    use_job_defaults({})


def test_the_wrong_fixture_is_found_when_collecting(tmp_path: Path) -> None:
    project = Project(tmp_path.resolve())
    project.manager = make_plugin_manager()
    register(project.manager, fixtures, "fixtures")
    register(project.manager, cluster, "cluster")
    two = "import rpd\ntwo = rpd.job(gpu=rpd.Gpu('NVIDIA L4'), cluster=rpd.Cluster(nodes=2))\n"
    project.write(
        {
            "deploy_a.py": f"{two}@two\ndef staged(staged_dir): ...\n",
            "deploy_b.py": f"{two}@two(cluster=None)\ndef single(cluster): ...\n",
            "deploy_c.py": f"{two}@two(spot=True)\ndef spot(cluster): ...\n",
            "deploy_e.py": f"{two}@two\n@rpd.mark.slots(gpu=1)\ndef slots(cluster): ...\n",
            "deploy_d.py": f"{two}@two\ndef fine(cluster_dir): ...\n",
        }
    )
    collection = project.collect()
    assert [error.message.split(":")[0] for error in collection.errors] != []
    assert [said in error.message for error, said in zip(collection.errors, (
        "expected a job that does not ask for pod", "expected a Cluster(…) for the fixture cluster",
        "RunPod has no spot clusters", "expected no cluster with the mark slots"), strict=True)] == [True] * 4  # fmt: skip
    assert [node.definition.name for node in collection.nodes] == ["fine"]


def test_providers_without_clusters() -> None:
    class Plain(OfflineProvider):
        def clusters(self) -> None:
            return None

    request = PodRequest(image="i", gpu=H100, cluster=TWO.cluster)
    with pytest.raises(ImpossibleRequest, match="does not rent clusters"):
        renter_of(Plain(), request)
    assert renter_of(Plain(), PodRequest(image="i", gpu=H100)).name == "dry run"


def test_the_room_can_be_taken_out() -> None:
    """Without the plugin a job with a cluster is an error, and any other is not."""
    with pytest.raises(ImpossibleRequest, match="no plugin rents clusters"):
        kind_of_pods(TWO, NoEvents())
    assert kind_of_pods(TWO(cluster=None), NoEvents()) is SINGLE


def test_offers_are_those_of_all_members() -> None:
    clusters = OfflineProvider().clusters()
    assert clusters is not None
    single = OfflineProvider().offers(PodRequest(image="i", gpu=H100))[0]
    offer = clusters.offers(PodRequest(image="i", gpu=H100, cluster=rpd.Cluster(nodes=4)))[0]
    assert offer.usd_per_hr == pytest.approx(4 * (single.usd_per_hr or 0))
    assert str(offer).startswith("4 nodes of NVIDIA H100 80GB HBM3 in ")
