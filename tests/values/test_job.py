"""Jobs: frozen values, each checked when it is made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextvars import copy_context
from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import rpd
from rpd.errors import DefinitionError
from rpd.threads import thread
from rpd.values.gpus import KNOWN_GPU_TYPES
from rpd.values.job import (
    JOB_ATTRIBUTE,
    Budget,
    Gpu,
    Job,
    Lifecycle,
    Release,
    Secret,
    Storage,
    allow_gpu_ids,
    use_job_defaults,
)

L4 = "NVIDIA L4"


@pytest.fixture
def defaults() -> Iterator[Callable[..., None]]:
    """Set defaults of jobs for one test."""
    yield use_job_defaults
    use_job_defaults({})


WRONG: dict[str, tuple[Callable[[], object], str, str]] = {
    "unknown GPU": (lambda: Gpu("NVIDIA H100"), "Gpu.ids", "Did you mean"),
    "no GPU": (lambda: Gpu(), "Gpu.ids", "at least one GPU id, or min_vram_gb"),
    "GPU that is no text": (lambda: Gpu(4090), "Gpu.ids", "strings"),  # type: ignore[arg-type]
    "no GPUs": (lambda: Gpu(L4, count=0), "Gpu.count", "whole number >= 1"),
    "half a GPU": (lambda: Gpu(L4, count=0.5), "Gpu.count", "whole number"),  # type: ignore[arg-type]
    "price of nothing": (lambda: Gpu(L4, max_price_usd=0), "Gpu.max_price_usd", "> 0"),
    "unknown preference": (lambda: Gpu(L4, prefer="best"), "Gpu.prefer", "listed, cheapest"),  # type: ignore[arg-type]
    "negative memory": (lambda: Gpu(min_vram_gb=-1), "Gpu.min_vram_gb", "> 0"),
    "two storages": (lambda: Storage(volume_gb=1, network_volume="v"), "Storage", "not both"),
    "negative volume": (lambda: Storage(volume_gb=-1), "Storage.volume_gb", ">= 0"),
    "nameless volume": (lambda: Storage(network_volume=""), "Storage.network_volume", "name"),
    "no budget": (lambda: Budget(cost_cap_usd=0), "Budget.cost_cap_usd", "> 0"),
    "budget that is no number": (lambda: Budget(cost_cap_usd="5"), "Budget.cost_cap_usd", "a number"),  # type: ignore[arg-type]
    "budget that is true": (lambda: Budget(cost_cap_usd=True), "Budget.cost_cap_usd", "a number"),
    "budget that is nan": (lambda: Budget(cost_cap_usd=float("nan")), "Budget.cost_cap_usd", "a number"),
    "no duration": (lambda: Budget(max_runtime="soon"), "Budget.max_runtime", "a duration such as"),
    "unknown release": (
        lambda: Lifecycle(on_failure="burn"),
        "Lifecycle.on_failure",
        "delete, stop, preserve, recycle",
    ),  # type: ignore[arg-type]
    "failed pods that are used again": (
        lambda: Lifecycle(on_failure="recycle"),
        "Lifecycle.on_failure",
        "delete, stop or preserve, got 'recycle'. The next node would run on the pod that may have made this one fail",
    ),  # type: ignore[arg-type]
    "secret with a dash": (lambda: Secret("HF-TOKEN"), "Secret.name", "environment variable"),
    "secret from two places": (lambda: Secret("A", env="B", file="c"), "Secret", "not both"),
    "unknown field": (lambda: rpd.job(imagee="x"), "Job.imagee", "Did you mean 'image'"),
    "unknown field of a derived job": (lambda: Job()(gpus=1), "Job.gpus", "Did you mean 'gpu'"),
    "image with a blank": (lambda: Job(image="my image"), "Job.image", "container image"),
    "relative mount": (lambda: Job(mount="workspace"), "Job.mount", "absolute path"),
    "unknown cloud": (lambda: Job(cloud="mine"), "Job.cloud", "secure, community, any"),  # type: ignore[arg-type]
    "GPU as text": (lambda: Job(gpu="NVIDIA L4"), "Job.gpu", "Gpu(…)"),  # type: ignore[arg-type]
    "port without protocol": (lambda: Job(ports=("8888",)), "Job.ports", "8888/http"),
    "number as environment": (lambda: Job(env={"A": 1}), "Job.env['A']", "a string"),  # type: ignore[dict-item]
    "reserved environment": (lambda: Job(env={"RUNPOD_API_KEY": "x"}), "Job.env", "RunPod sets"),
    "wrong environment name": (lambda: Job(env={"1A": "x"}), "Job.env", "names of environment variables"),
    "no disk": (lambda: Job(container_disk_gb=0), "Job.container_disk_gb", ">= 1"),
    "spot as text": (lambda: Job(spot="yes"), "Job.spot", "True or False"),  # type: ignore[arg-type]
    "secret that is none": (lambda: Job(secrets=(1,)), "Job.secrets", "Secret(…)"),  # type: ignore[arg-type]
    "unknown CPU": (lambda: Job(cpu="cpu5x"), "Job.cpu", "Did you mean 'cpu5"),
    "country in words": (lambda: Job(countries=["Spain"]), "Job.countries", "two letters"),
    "unknown certificate": (lambda: Job(compliance="SOC2"), "Job.compliance", "SOC_2_TYPE_2"),
    "CUDA as a number": (lambda: Job(min_cuda=12.8), "Job.min_cuda", 'such as "12.8"'),  # type: ignore[arg-type]
    "network as text": (lambda: Job(global_network="yes"), "Job.global_network", "True or False"),  # type: ignore[arg-type]
    "tier without a volume": (lambda: Storage(tier="standard"), "Storage.tier", "network_volume"),
    "unknown tier": (
        lambda: Storage(network_volume="a", tier="fast"),
        "Storage.tier",
        "standard, high_performance",
    ),  # type: ignore[arg-type]
    "template without a name": (lambda: Job(template_id=" "), "Job.template_id", "id of a RunPod template"),
    "job with two things": (lambda: Job()(lambda: None, image="x"), "Job", "decorates one function"),  # type: ignore[call-overload]
}


@pytest.mark.parametrize(("make", "field", "rule"), WRONG.values(), ids=WRONG)
def test_wrong_values_are_told(make: Callable[[], object], field: str, rule: str) -> None:
    """A wrong value is an error with the field, the rule and the value."""
    with pytest.raises(DefinitionError) as raised:
        make()
    assert str(raised.value).startswith(f"{field}: ")
    assert rule in str(raised.value)


def test_a_job_decorates_and_derives() -> None:
    """A job decorates functions without changing them.

    Called with keywords it makes a new one and stays unchanged.
    """
    base = rpd.job(gpu=Gpu(L4), env={"A": "1"})

    @base
    def fit() -> int:
        return 5

    assert fit() == 5
    assert getattr(fit, JOB_ATTRIBUTE) is base
    other = base(container_disk_gb=50)
    assert (other.container_disk_gb, other.gpu, base.container_disk_gb) == (50, Gpu(L4), 20)
    assert base.derive(gpu=base.gpu) is base
    with pytest.raises(FrozenInstanceError):
        base.image = "x"  # type: ignore[misc]
    with pytest.raises(TypeError):
        base.env["B"] = "2"  # type: ignore[index]


def test_usual_slips_are_taken_as_meant() -> None:
    """A lone string where several may stand is one; a secret may be its name; names of choices may be text."""
    job = rpd.job(datacenters="EU-RO-1", secrets=["HF_TOKEN"], ports="8888/http", cloud="any")
    assert job.datacenters == ("EU-RO-1",)
    assert job.secrets == (Secret("HF_TOKEN"),)
    assert job.ports == ("8888/http",)
    assert job.cloud == "any"
    assert Lifecycle(on_failure="stop").on_failure is Release.STOP  # type: ignore[arg-type]


def test_new_gpus_can_be_allowed() -> None:
    """An id that rpd does not know yet is accepted once the settings name it."""
    with pytest.raises(DefinitionError):
        Gpu("NVIDIA Z1000")

    def project() -> None:
        allow_gpu_ids(["NVIDIA Z1000"])
        assert Gpu("NVIDIA Z1000").ids == ("NVIDIA Z1000",)

    copy_context().run(project)
    with pytest.raises(DefinitionError):
        Gpu("NVIDIA Z1000")


def test_defaults_are_those_of_the_project_at_work() -> None:
    """Two projects in one process have their own, on the threads that rpd starts for them, too."""
    images: dict[str, str] = {}

    def project(name: str) -> None:
        use_job_defaults({"image": name})
        slot = thread(lambda: images.update({name: rpd.job(spot=True).image}), name=name)
        slot.start()
        slot.join()

    for name in ("one:1", "two:2"):
        copy_context().run(project, name)
    assert images == {"one:1": "one:1", "two:2": "two:2"}
    assert rpd.job(spot=True).image == Job().image


@given(st.sampled_from(sorted(KNOWN_GPU_TYPES)), st.data())
def test_a_mistyped_gpu_is_recognised(gpu_id: str, data: st.DataObject) -> None:
    """A GPU id with other case and spacing is no id, but the first one that is suggested."""
    typed = data.draw(
        st.sampled_from(
            [gpu_id.lower(), gpu_id.upper(), gpu_id.replace(" ", "  "), gpu_id.removeprefix("NVIDIA ")]
        )
    )
    if typed in KNOWN_GPU_TYPES:
        return
    with pytest.raises(DefinitionError) as raised:
        Gpu(typed)
    assert repr(gpu_id) in str(raised.value)


def test_defaults_come_from_the_configuration(defaults: Callable[..., None]) -> None:
    """``[tool.rpd.job]`` sets fields of ``rpd.job(…)``; the values of a deploy file win.

    Tables become their classes.
    """
    defaults(
        {
            "image": "my/image", "gpu": ["NVIDIA L4", "NVIDIA A40"], "budget": {"cost_cap_usd": 3, "max_runtime": "1h"},
            "lifecycle": {"on_failure": "stop"}, "storage": {"volume_gb": 5}, "datacenters": ["EU-RO-1"],
        }
    )  # fmt: skip
    job = rpd.job(image="other")
    assert job.image == "other"
    assert job.gpu == Gpu("NVIDIA L4", "NVIDIA A40")
    assert job.budget == Budget(cost_cap_usd=3, max_runtime="1h")
    assert job.lifecycle.on_failure is Release.STOP
    assert job.storage == Storage(volume_gb=5)
    defaults({"gpu": {"min_vram_gb": 24, "count": 2}})
    assert rpd.job().gpu == Gpu(min_vram_gb=24, count=2)
    defaults({"gpu": "NVIDIA L4"})
    assert rpd.job().gpu == Gpu(L4)
    assert rpd.job(gpu=None).gpu is None


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"imagee": "x"}, "Job.imagee.*'image'"),
        ({"budget": {"cost_cap": 1}}, "Budget.cost_cap: .*'cost_cap_usd'"),
        ({"gpu": {"id": "x"}}, "Gpu.id"),
        ({"gpu": "NVIDIA L44"}, "Did you mean 'NVIDIA L4'"),
        ({"cloud": "mine"}, "Job.cloud"),
        ({"storage": 5}, "Job.storage"),
    ],
)
def test_wrong_defaults_are_told(table: dict[str, Any], message: str, defaults: Callable[..., None]) -> None:
    """A wrong default is an error when it is set, and changes nothing."""
    defaults({"image": "before"})
    with pytest.raises(DefinitionError, match=message):
        defaults(table)
    assert rpd.job().image == "before"


def test_every_field_of_a_job_is_documented() -> None:
    """The page on deploy files names every field of a job."""
    from pathlib import Path

    page = (Path(__file__).parents[2] / "docs" / "deploy-files.md").read_text(encoding="utf-8")
    assert [each.name for each in fields(Job) if f"`{each.name}" not in page] == []


@pytest.mark.parametrize(
    ("written", "meant"), [("SECURE", "secure"), ("Community", "community"), ("any", "any"), ("ALL", "any")]
)
def test_clouds_in_the_spelling_of_runpod(written: str, meant: str) -> None:
    """The names of clouds are taken in any case, in a job and in the defaults of a project alike."""
    assert rpd.job(cloud=written).cloud == meant
    assert Job()(cloud=written).cloud == meant


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"to": "kaggle.json"}, "expected the absolute path of a file on the pod"),
        ({"to": "/root/"}, "expected the absolute path of a file on the pod"),
        ({"to": 3}, "expected the absolute path of a file on the pod"),
        ({"to": "/root/k", "mode": 600}, "Octal numbers begin with 0o"),
        ({"to": "/root/k", "mode": "0600"}, "expected permissions such as 0o600"),
        ({"env": "A", "file": "b"}, "env or from file, not both"),
    ],
)
def test_a_secret_that_is_a_file_is_checked(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        Secret("KEY", **fields)
