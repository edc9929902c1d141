"""``rpd estimate``: worst and expected cost of nodes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rpd.emulator.launch import Launched

Project = Any
NO_KEY = {"RUNPOD_API_KEY": None, "HOME": "/nonexistent"}
DEPLOY = """
    import rpd
    from rpd import Budget, Gpu

    train = rpd.job(gpu=Gpu("NVIDIA L4"), budget=Budget(cost_cap_usd=5, max_runtime="45m", ssh_ready_timeout="15m"))

    @train
    @rpd.mark.parametrize("seed", [1, 2])
    def fit(pod, seed):
        pod.run("true")

    @train(gpu=Gpu("NVIDIA A40", max_price_usd=0.01))
    def never(pod):
        pass

    @rpd.job
    def summary():
        pass
"""


def document(project: Project, *args: str, **env: Any) -> Any:
    result = project.command("estimate", "--json", *args, env=env or None)
    assert result.exit_code == 0, result.err
    return json.loads(result.out)


def test_the_worst_case_is_the_cap_or_the_longest_time_at_the_highest_rate(
    project: Project, emulator: Launched
) -> None:
    """An hour of an L4 is less than the cap; a cap that is lower, and a flag, count instead; no pod costs nothing."""
    project.write({"deploy_a.py": DEPLOY})
    estimated = document(project)
    costs = {node["id"].partition("::")[2]: node["worst_case_usd"] for node in estimated["nodes"]}
    an_hour = pytest.approx(0.49, rel=0.02)  # and the disk
    assert costs == {"fit[seed1]": an_hour, "fit[seed2]": an_hour, "never": None, "summary": 0.0}
    assert (estimated["worst_case_usd"], estimated["expected_for_nodes"]) == (
        pytest.approx(0.98, rel=0.02),
        1,
    )
    capped = document(project, "--cost-cap-usd", "0.10", "deploy_a.py::fit")
    assert capped["worst_case_usd"] == 0.2
    dearer = document(project, "--gpu-id", "NVIDIA L40S", "--datacenter-id", "EU-RO-1", "-k", "seed1")
    [node] = dearer["nodes"]
    assert (node["gpu"], node["datacenter"]) == ("NVIDIA L40S", "EU-RO-1")
    assert node["worst_case_usd"] == pytest.approx(0.99, rel=0.02)


def test_what_passed_before_tells_what_to_expect(project: Project, emulator: Launched) -> None:
    """After a run its own node, and the others of its job, are expected to take as long at the price of today."""
    project.write({"deploy_a.py": DEPLOY})
    assert "expected unknown" in project.command("estimate", "-q").out
    run = project.run("-k", "seed1")
    assert run.exit_code == 0, run.out + run.err
    [report] = run.reports
    estimated = document(project, "-k", "fit")
    own, other = estimated["nodes"]
    assert own["expected_seconds"] == other["expected_seconds"] == report.cost.billed_seconds
    assert own["expected_usd"] == report.cost.billed_seconds * 0.49 / 3600
    assert estimated["expected_usd"] == own["expected_usd"] * 2
    assert 0 < estimated["expected_usd"] < estimated["worst_case_usd"]
    text = project.command("estimate").out
    assert "nothing on offer" in text
    assert "without 1 whose jobs have not passed" in text
    # Seconds of an emulator say nothing about RunPod.
    assert document(project, "-k", "fit", **NO_KEY)["expected_for_nodes"] == 0


def test_without_a_key_the_shipped_prices_serve(project: Project) -> None:
    """An estimate needs no account; that its prices are old is said."""
    project.write({"deploy_a.py": DEPLOY})
    result = project.command("estimate", "-k", "fit", env=NO_KEY)
    assert result.exit_code == 0
    assert "shipped with rpd" in result.err
    assert "2 nodes: expected unknown" in result.out
    assert "at worst $0.9" in result.out


def test_nothing_is_made_and_nothing_left(project: Project, emulator: Launched) -> None:
    """An estimate rents nothing and makes no run folder."""
    project.write({"deploy_a.py": DEPLOY})
    project.command("estimate")
    assert emulator.pods() == []
    assert {path.name for path in project.folder.iterdir()} <= {
        "deploy_a.py",
        "rpd.toml",
        "__pycache__",
        ".rpd_cache",
    }


def test_what_cannot_be_collected_is_told(project: Project) -> None:
    """A broken deploy file is exit 2, no node at all exit 5."""
    assert project.command("estimate", env=NO_KEY).exit_code == 5
    project.write({"deploy_a.py": "import nothing_of_that_name"})
    result = project.command("estimate", env=NO_KEY)
    assert result.exit_code == 2
    assert "nothing_of_that_name" in result.err


def test_a_job_that_cannot_be_had_is_told_beside_the_others(project: Project, emulator: Launched) -> None:
    """A contradiction in one job does not hide the cost of the others."""
    project.write({"deploy_a.py": DEPLOY})
    lost = """
        import rpd
        from rpd import Gpu, Storage

        @rpd.job(gpu=Gpu("NVIDIA L4"), storage=Storage(network_volume="nowhere"))
        def lost(pod):
            pass
    """
    project.write({"deploy_b.py": lost})
    estimated = document(project, "-k", "lost or seed1")
    troubles = {node["id"].partition("::")[2]: node["trouble"] for node in estimated["nodes"]}
    assert troubles["fit[seed1]"] is None
    assert "no network volume 'nowhere'" in troubles["lost"]
    assert estimated["worst_case_usd"] == pytest.approx(0.49, rel=0.02)


def test_what_is_sold_out_has_an_exit_code_of_its_own(project: Project, emulator: Launched) -> None:
    """Scripts can tell "sold out" from all other errors; the costs are still printed."""
    project.write(
        {
            "deploy_a.py": "import rpd\n@rpd.job(gpu=rpd.Gpu('NVIDIA L4'))\ndef fit(pod):\n    pod.run('true')\n"
        }
    )
    assert project.command("estimate", "--refresh").exit_code == 0
    emulator.inject({"kind": "stock-out", "match": {"gpu": "NVIDIA L4"}})
    sold_out = project.command("estimate", "--refresh")
    assert (sold_out.exit_code, "deploy_a.py::fit requests pods that are sold out now" in sold_out.err) == (
        7,
        True,
    )
    assert "at worst $10.00" in sold_out.out
    result = project.command("estimate", "--refresh", "--json")
    assert (result.exit_code, [node["sold_out"] for node in json.loads(result.out)["nodes"]]) == (7, [True])


def test_a_study_costs_what_all_its_trials_cost(project: Project, emulator: Launched) -> None:
    """As many as there may be, and those that confirm on another card."""
    project.write(
        {
            "deploy_s.py": """
                import rpd
                from rpd import Budget, Gpu

                @rpd.job(gpu=Gpu("NVIDIA L4"), budget=Budget(cost_cap_usd=0.10, max_runtime="45m"))
                @rpd.mark.search(x=rpd.uniform(0, 1), minimize="loss", trials=9, confirm=Gpu("NVIDIA A40"), top=2)
                def fit(pod, x):
                    pass
            """
        }
    )
    estimated = document(project)
    (node,) = estimated["nodes"]
    assert (node["times"], node["worst_case_usd"]) == (11, pytest.approx(1.10))
    assert estimated["worst_case_usd"] == pytest.approx(1.10)
