"""Every value that users hold survives Python's operations on values: replace, asdict, copy, pickle, repr, hash."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import rpd
from rpd import errors
from rpd.values.frozen import replace
from rpd.values.gpus import KNOWN_GPU_TYPES
from rpd.values.job import Release
from rpd.values.report import (
    ArtifactRecord,
    AttemptRecord,
    CostRecord,
    EnvironmentRecord,
    Failure,
    NodeRecord,
    PodRecord,
    Result,
    SourceRecord,
)
from rpd.values.step import Step, StepKind

names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True).filter(
    lambda name: name not in ("RUNPOD_API_KEY", "PUBLIC_KEY", "RUNPOD_POD_ID")
)
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)
usd = st.floats(min_value=0.01, max_value=500)
durations = st.sampled_from(["90s", "15m", "2h", 60, 0.5])
gpus = st.builds(
    rpd.Gpu,
    ids=st.lists(st.sampled_from(sorted(KNOWN_GPU_TYPES)), min_size=1, max_size=3, unique=True),
    count=st.integers(1, 8),
    min_vram_gb=st.none() | st.integers(1, 141),
    max_price_usd=st.none() | usd,
    prefer=st.sampled_from(["listed", "cheapest"]),
)
storages = st.builds(rpd.Storage, volume_gb=st.none() | st.integers(1, 500)) | st.builds(
    rpd.Storage, network_volume=texts
)
budgets = st.builds(
    rpd.Budget, cost_cap_usd=usd, max_runtime=st.none() | durations, ssh_ready_timeout=durations
)
lifecycles = st.builds(
    rpd.Lifecycle,
    on_success=st.sampled_from(Release),
    on_failure=st.sampled_from([Release.DELETE, Release.STOP, Release.PRESERVE]),
)
clusters = st.builds(
    rpd.Cluster,
    nodes=st.integers(2, 8),
    type=st.sampled_from(["training", "application", "slurm", "ray"]),
    preflight=st.booleans(),
)
secrets = st.builds(rpd.Secret, name=names)
registries = st.builds(rpd.Registry, username=names, password=secrets)
jobs = st.builds(
    rpd.Job,
    gpu=gpus,
    cluster=st.none() | clusters,
    storage=storages,
    budget=budgets,
    lifecycle=lifecycles,
    env=st.dictionaries(names, texts, max_size=3),
    secrets=st.lists(secrets, max_size=2),
    registry=st.none() | registries | names,
    ports=st.just(["8888/http"]),
)
marks = st.builds(lambda name, args: getattr(rpd.mark, f"m{name}")(*args), names, st.lists(st.integers()))
parameter_sets = st.builds(lambda value: rpd.param(value, id="x", marks=rpd.mark.slow), st.integers())
completed = st.builds(rpd.Completed, command=texts, exit_code=st.integers(0, 255))
staged = st.builds(rpd.Staged, remote=texts, tree_sha256=texts, files=st.integers(0), bytes=st.integers(0))
reports = st.builds(
    rpd.NodeReport,
    node=st.builds(
        NodeRecord,
        id=texts,
        job=names,
        file=texts,
        line=st.integers(1),
        parameters=st.dictionaries(names, st.integers() | texts, max_size=2),
        marks=st.tuples(names),
    ),
    result=st.builds(
        Result,
        outcome=st.sampled_from(rpd.Outcome),
        cause=st.none() | st.sampled_from(errors.Cause),
        phases=st.dictionaries(names, usd, max_size=2),
    ),
    pod=st.none() | st.builds(PodRecord, id=texts, name=texts),
    cost=st.builds(CostRecord, estimated_usd=usd),
    source=st.builds(SourceRecord, git_sha=texts, fingerprint=st.dictionaries(names, texts, max_size=2)),
    environment=st.builds(EnvironmentRecord, gpu_name=texts),
    steps=st.tuples(
        st.builds(Step, index=st.integers(0), kind=st.sampled_from(StepKind), name=texts, command=texts)
    ),
    artifacts=st.tuples(
        st.builds(ArtifactRecord, remote=texts, local=texts, files=st.integers(0), bytes=st.integers(0))
    ),
    attempts=st.tuples(st.builds(AttemptRecord, number=st.integers(1), outcome=st.sampled_from(rpd.Outcome))),
    metrics=st.dictionaries(names, usd | st.integers() | texts, max_size=2),
    failure=st.none() | st.builds(Failure, place=texts, traceback=st.tuples(texts)),
)
summaries = st.builds(rpd.RunSummary, folder=texts, reports=st.tuples(reports), seconds=usd)
values = st.one_of(
    gpus,
    storages,
    budgets,
    lifecycles,
    secrets,
    registries,
    clusters,
    jobs,
    marks,
    parameter_sets,
    completed,
    staged,
    reports,
    summaries,
)

HELD_ELSEWHERE = {"Pulled", "Node", "Config", "RunOutcome"}
"""Values of the list below that have tests of their own here: they hold paths, functions, or need a project."""
LIVE = {"Pod", "Provision", "Request", "Metafunc", "Running", "RunningCluster", "Needs", "Needed"}
"""Handles: they act, and are no values."""


def test_no_value_is_forgotten() -> None:
    kinds = {name for name in rpd.__all__ if isinstance(getattr(rpd, name), type)}
    kinds -= {name for name in kinds if issubclass(getattr(rpd, name), BaseException)}
    made = [
        "Gpu",
        "Storage",
        "Budget",
        "Lifecycle",
        "Secret",
        "Registry",
        "Cluster",
        "Job",
        "Completed",
        "Staged",
        "NodeReport",
        "RunSummary",
        "Outcome",
    ]
    assert kinds == {*made, *HELD_ELSEWHERE, *LIVE}


@given(value=values)
def test_a_value_survives(value: Any) -> None:
    assert dataclasses.replace(value) == value
    assert replace(value) == value
    assert copy.copy(value) == value
    assert copy.deepcopy(value) == value
    assert pickle.loads(pickle.dumps(value)) == value
    assert type(value).__name__ in repr(value)
    assert set(dataclasses.asdict(value)) == {field.name for field in dataclasses.fields(value)}
    assert plain(dataclasses.asdict(value))


def plain(value: object) -> bool:
    """Return whether nothing but plain containers and leaves is in there."""
    if isinstance(value, Mapping):
        return all(plain(each) for each in value.values())
    if isinstance(value, tuple | list):
        return all(plain(each) for each in value)
    return not dataclasses.is_dataclass(value)


@given(job=jobs)
def test_a_job_can_be_a_key(job: rpd.Job) -> None:
    assert {job: 1}[copy.deepcopy(job)] == 1


@given(job=jobs, gpu=gpus)
def test_replacing_a_field_is_deriving(job: rpd.Job, gpu: rpd.Gpu) -> None:
    assert dataclasses.replace(job, gpu=gpu) == job.derive(gpu=gpu)
    assert dataclasses.replace(gpu, count=3) == rpd.Gpu(
        *gpu.ids, count=3, min_vram_gb=gpu.min_vram_gb, max_price_usd=gpu.max_price_usd, prefer=gpu.prefer
    )


def test_ids_are_given_once() -> None:
    with pytest.raises(errors.DefinitionError, match="by position or by name, not both"):
        rpd.Gpu("NVIDIA L4", ids=["NVIDIA L40S"])


def test_the_environment_of_a_job_cannot_be_changed() -> None:
    job = rpd.job(env={"A": "1"})
    with pytest.raises(TypeError, match="cannot be changed"):
        job.env["A"] = "2"  # type: ignore[index]
    assert dataclasses.asdict(job)["env"] == {"A": "1"}


KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.RpdError)]
GIVEN: dict[str, Any] = {
    "command": "python train.py", "exit_code": 3, "seconds": 2.5, "message": "wrong", "owner": "Job", "field": "gpu",
    "rule": "expected a GPU", "got": 3, "pod_id": "abc", "name": "rpd-1", "why": "it bills", "reason": "asked",
    "errors": (errors.CollectionError("wrong", file="deploy_a.py", line=3),),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_error_survives(kind: type[errors.RpdError]) -> None:
    takes = inspect.signature(kind.__init__).parameters.values()
    wanted = [
        parameter.name
        for parameter in [*takes][1:]
        if parameter.default is parameter.empty and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    ]
    error = kind(*[GIVEN.get(name, f"a {name}") for name in wanted] or ["wrong"])
    for again in (copy.copy(error), copy.deepcopy(error), pickle.loads(pickle.dumps(error))):
        assert type(again) is kind
        assert str(again) == str(error)
        assert repr(vars(again)) == repr(vars(error))  # errors among them are equal to themselves alone
