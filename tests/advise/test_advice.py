"""Advice from the records of nodes: planted idleness is found, and the recommended card is the right one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpd.advise.activity import Doing, doing, of_node, of_pieces
from rpd.advise.advice import Use, cheaper_cards, idle_share, idle_usd, uses
from rpd.advise.boots import CACHE, experiences, read_tries
from rpd.advise.plugin import two_lines
from rpd.advise.sentences import card_lines, idle_line, remedies
from rpd.record import manifest, run_info
from rpd.record.run_info import RunInfo
from rpd.record.telemetry import Moment
from rpd.runpod.catalogue.model import Catalogue, GpuRow
from rpd.values.report import CostRecord, NodeRecord, NodeReport, Outcome, PodRecord, Result
from rpd.values.step import Step, StepKind, StepMark

BEGIN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
H100 = "NVIDIA H100 80GB HBM3"


def at(seconds: float) -> str:
    return (BEGIN + timedelta(seconds=seconds)).isoformat()


def node(
    folder: Path, *, samples: Sequence[tuple[float, float, float]], command: str = "python train.py", marks: bool = True,
    usd: float = 3.6, gpu: str = H100, count: int = 1,
) -> NodeReport:  # fmt: skip
    """A node of 3600 s: 300 s of booting, 600 s of download, 2400 s at work, 300 s of pulling; it costs ``usd``.

    ``samples`` are seconds, percent and MiB; each holds until the next one.
    """
    parts = [(300, "download weights"), (900, "")] if marks else []
    events: list[tuple[float, str, Mapping[str, Any]]] = [
        (0, "node_started", {"node": "deploy_a.py::fit", "attempt": 1}),
        (0, "intent", {"pod_name": "rpd-1", "terms": {"gpu_id": gpu, "datacenter": None}}),
        (300, "ready", {"pod_name": "rpd-1"}),
        (300, "step_started", {"index": 0, "kind": "run"}),
        *((seconds, "step_mark", {"index": 0, "name": name}) for seconds, name in parts),
        (3300, "step_finished", {"index": 0}),
        (3300, "step_started", {"index": 1, "kind": "pull"}),
        (3600, "step_finished", {"index": 1}),
        (3600, "released", {"pod_name": "rpd-1", "final_state": "deleted"}),
        (3600, "node_finished", {"outcome": "passed"}),
    ]
    folder.mkdir(parents=True)
    journal = (
        json.dumps({"at": at(seconds), "event": name, **more}) + "\n" for seconds, name, more in events
    )
    (folder / "events.jsonl").write_text("".join(journal))
    measured = (
        json.dumps({"at": at(seconds), "gpus": [{"index": 0, "utilization": busy, "memory_used_mb": used,
                                                "memory_total_mb": 81920}]}) + "\n"
        for seconds, busy, used in samples
    )  # fmt: skip
    (folder / "metrics.jsonl").write_text("".join(measured))
    return NodeReport(
        node=NodeRecord(id="deploy_a.py::fit", job="fit", file="deploy_a.py", line=1),
        result=Result(outcome=Outcome.PASSED, started=at(0), finished=at(3600)),
        pod=PodRecord(
            id="p",
            name="rpd-1",
            gpu=gpu,
            count=count,
            cloud="secure",
            datacenter="EU-RO-1",
            image="a:1",
            rate=usd,
        ),
        pods=(PodRecord(id="p", name="rpd-1", gpu=gpu, datacenter="EU-RO-1", image="a:1"),),
        cost=CostRecord(rate_usd_per_hr=usd, billed_seconds=3600, estimated_usd=usd),
        steps=(Step(index=0, kind=StepKind.RUN, name="", command=command),),
        marks=(StepMark(step=0, name="download weights"),) if marks else (),
        folder=str(folder),
    )


def planted(folder: Path, **more: Any) -> Use:
    """The use of a node whose GPU does nothing while it downloads and pulls, and needs 30,000 MiB at most."""
    samples = [(300, 0, 500), (900, 95, 20_000), (2000, 97, 30_000), (3300, 0, 30_000)]
    report = node(folder, samples=samples, **more)
    [use] = uses([(report, of_node(report))])
    return use


def test_dollars_by_activity_and_idle_time(tmp_path: Path) -> None:
    use = planted(tmp_path / "n")
    assert {what: round(usd, 4) for what, usd in use.usd_by.items()} == {
        Doing.BOOTING: 0.3, Doing.DOWNLOADING: 0.6, Doing.WORKING: 2.4, Doing.PULLING: 0.3,
    }  # fmt: skip
    assert {what: round(usd, 4) for what, usd in idle_usd([use]).items()} == {
        Doing.DOWNLOADING: 0.6, Doing.PULLING: 0.3,
    }  # fmt: skip
    assert idle_share([use]) == pytest.approx(900 / 3300)
    assert use.peak_mb == 30_000
    assert idle_line([use]) == (
        "GPUs were idle for 27% of the measured time ($0.90): downloading $0.60, pulling results $0.30"
    )
    first, *others = remedies([use], cpu_usd_per_hr=0.06)
    assert "downloading: 10m00s of NVIDIA H100 80GB HBM3, $0.60" in first
    assert "would have cost $0.01" in first
    assert [line.partition(":")[0] for line in others] == ["pulling results"]


def catalogue(stock: Mapping[str, Mapping[str, str]] | None = None) -> Catalogue:
    rows = [
        GpuRow(id=H100, memory_gb=80, secure_usd_per_hr=3.29),
        GpuRow(id="A100", memory_gb=80, secure_usd_per_hr=1.59),
        GpuRow(id="A40", memory_gb=48, secure_usd_per_hr=0.44),
        GpuRow(id="A6000", memory_gb=48, secure_usd_per_hr=0.53, max_secure=1),
        GpuRow(id="5090", memory_gb=32, secure_usd_per_hr=0.40),  # 30,000 MiB and a margin do not fit
        GpuRow(id="L4", memory_gb=24, secure_usd_per_hr=0.30),
        GpuRow(id="community only", memory_gb=48, community_usd_per_hr=0.20),
        GpuRow(id="AMD Instinct", memory_gb=192, secure_usd_per_hr=0.35),
        GpuRow(id="nearly as dear", memory_gb=141, secure_usd_per_hr=3.20),
    ]
    return Catalogue(
        gpus=MappingProxyType({row.id: row for row in rows}), stock=stock or {}, stock_known=stock is not None
    )


def test_the_named_card_is_the_right_one(tmp_path: Path) -> None:
    """The cheapest that holds the peak with a margin, of the same make and cloud, and clearly cheaper; in stock."""
    use = planted(tmp_path / "n", usd=3.29)
    assert [card.gpu_id for card in cheaper_cards(use, catalogue())] == ["A40", "A6000", "A100"]
    stock = {"A6000": {"EU-RO-1": "high", "US-TX-3": "low"}, "A100": {"EU-RO-1": "low"}}
    use.cheaper = cheaper_cards(use, catalogue(stock))
    assert [(card.gpu_id, card.stock, card.places) for card in use.cheaper] == [
        ("A6000", "high", ("EU-RO-1", "US-TX-3")), ("A100", "low", ("EU-RO-1",)),
    ]  # fmt: skip
    line = next(iter(card_lines(use)))
    assert (
        "peak memory 31.5 GB of 85.9 GB; A6000 would have held it at 0.53 $/h (stock high: EU-RO-1, US-TX-3)"
        in line
    )
    assert "unless it is 6.2x slower" in line
    both = planted(tmp_path / "two", usd=6.58, count=2)
    assert [card.gpu_id for card in cheaper_cards(both, catalogue())] == ["A40", "A100"]
    assert cheaper_cards(both, catalogue())[0].usd_per_hr == 0.88


def test_a_gpu_that_nothing_ran_on(tmp_path: Path) -> None:
    report = node(tmp_path / "n", samples=[(300, 0, 3), (3000, 0, 3)])
    [use] = uses([(report, of_node(report))])
    use.cheaper = cheaper_cards(use, catalogue())
    assert list(card_lines(use)) == [
        f"deploy_a.py::fit: the job never used {H100}; a CPU pod (gpu=None) may be enough"
    ]


def test_two_lines_at_the_end_of_a_run_where_they_are_worth_it(tmp_path: Path) -> None:
    lines = two_lines([planted(tmp_path / "n", usd=3.29)], catalogue())
    assert [line.split()[0] for line in lines] == ["GPUs", "deploy_a.py::fit:"]
    busy = node(tmp_path / "busy", samples=[(300, 99, 79_000), (3000, 99, 79_000)], usd=3.29)
    assert two_lines(uses([(busy, of_node(busy))]), catalogue()) == []


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ("pip install -r requirements.txt", Doing.INSTALLING),
        ("uv sync --frozen", Doing.INSTALLING),
        ("wget https://x/y.tar && tar xf y.tar", Doing.DOWNLOADING),
        ("python -c 'snapshot_download(…)'", Doing.DOWNLOADING),
        ("git clone https://x/y", Doing.DOWNLOADING),
        ("make -j8 kernels", Doing.COMPILING),
        ("torch.compile warm-up", Doing.COMPILING),
        ("python train.py --epochs 3", Doing.WORKING),
    ],
)
def test_what_a_command_is_about(words: str, what: Doing) -> None:
    assert doing(words) is what


def test_a_command_without_parts_is_judged_by_its_words(tmp_path: Path) -> None:
    use = planted(tmp_path / "n", marks=False, command="huggingface-cli download x")
    assert round(use.usd_by[Doing.DOWNLOADING], 2) == 3.0
    assert Doing.WORKING not in use.usd_by


PIECES = st.lists(st.tuples(st.sampled_from(list(Doing)), st.floats(0, 1000), st.floats(0, 1000)), max_size=8)
SAMPLES = st.lists(
    st.tuples(st.floats(0, 1000), st.none() | st.floats(0, 100), st.none() | st.floats(0, 9e4)), max_size=12
)


@given(PIECES, SAMPLES)
def test_no_second_counts_twice(
    pieces: list[tuple[Doing, float, float]], samples: list[tuple[float, float | None, float | None]]
) -> None:
    """Of any pieces and samples: idle <= measured <= all, for each activity."""
    moments = sorted(
        (Moment(when, busy, used, 9e4) for when, busy, used in samples), key=lambda each: each.at
    )
    activity = of_pieces(pieces, moments)
    total = sum(max(0.0, end - begin) for _, begin, end in pieces)
    assert activity.seconds == pytest.approx(total)
    for spent in activity.spent.values():
        assert -1e-6 <= spent.idle <= spent.measured + 1e-6 <= spent.seconds + 2e-6


def test_boots_over_past_runs_and_their_cache(tmp_path: Path) -> None:
    """Ready, sold out and failed, by GPU, place and image; unchanged journals are not read again."""
    folder = tmp_path / "20260102T030405Z-abcdef"
    report = node(folder / "n", samples=[])
    manifest.write(folder / "n" / "manifest.toml", report)
    run_info.write(folder / "run.toml", RunInfo(id=folder.name, backend="RunPod", started=at(0)))
    terms = {"gpu_id": H100, "datacenter": "US-TX-3"}
    lines = [
        (0, "intent", {"pod_name": "rpd-0", "terms": terms}),
        (1, "refused", {"pod_name": "rpd-0"}),
        (2, "intent", {"pod_name": "rpd-1", "terms": {"gpu_id": H100, "datacenter": None}}),
        (92, "ready", {"pod_name": "rpd-1"}),
        (95, "released", {"pod_name": "rpd-1"}),
        (100, "intent", {"pod_name": "rpd-2", "terms": terms}),
        (1000, "released", {"pod_name": "rpd-2"}),
    ]
    text = "".join(
        json.dumps({"at": at(seconds), "event": name, **more}) + "\n" for seconds, name, more in lines
    )
    (folder / "events.jsonl").write_text(text)
    for _ in range(2):
        tries = read_tries(tmp_path, local=False)
        kinds = {each.name: each for each in experiences(tries, "gpu", "place")}
        there, far = kinds[H100, "EU-RO-1"], kinds[H100, "US-TX-3"]
        assert (there.ready, there.median, far.refused, far.failed) == (1, 90.0, 1, 1)
        assert [(each.name, each.ready) for each in experiences(tries, "image") if each.name[0]] == [
            (("a:1",), 1)
        ]
    assert (tmp_path / CACHE).is_file()
    (tmp_path / CACHE).write_text("no json")
    assert len(read_tries(tmp_path, local=False)) == 3
    assert read_tries(tmp_path, local=True) == []
