"""The policy: its refusals, in words that name its place; and that nothing is rented then."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rpd.cli import main
from rpd.emulator.launch import Launched
from rpd.errors import UsageError
from rpd.pipeline import policy
from rpd.pipeline.policy import read_policy, refusals

SATURDAY_NOON = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)


def node(name: str, *marks: str) -> Any:
    return SimpleNamespace(id=f"deploy_a.py::{name}", mark=lambda mark: mark if mark in marks else None)


def refused(values: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch, **more: Any) -> list[str]:
    """Return why a run of two nodes is refused: ``fit`` for at most $2 on an L4, ``big`` for $7 on an H100."""
    nodes = (node("fit", "approved"), node("big"))
    worst = {"deploy_a.py::fit": 2.0, "deploy_a.py::big": 7.0}
    offers = {
        "deploy_a.py::fit": [SimpleNamespace(gpu_id="NVIDIA L4", cloud="secure")],
        "deploy_a.py::big": [SimpleNamespace(gpu_id="NVIDIA H100 80GB HBM3", cloud="community")],
    }
    monkeypatch.setattr(policy, "uses_pod", lambda _node: True)
    plan: Any = SimpleNamespace(kinds=nodes, worst_case_usd=9.0)
    prices: Any = SimpleNamespace(ceiling=lambda each: worst[each.id], offers=lambda each: offers[each.id])
    given = {"budget": None, "spent": 0.0, "now": SATURDAY_NOON, **more}
    return list(refusals(read_policy(values, "pyproject.toml [tool.rpd.policy]"), plan, prices, **given))


@pytest.mark.parametrize(
    ("values", "more", "expected"),
    [
        ({"max_usd_per_node": 7}, {}, ()),
        ({"max_usd_per_node": 5}, {}, ("max_usd_per_node = 5, but deploy_a.py::big may cost more", "$7.00")),
        ({"max_usd_per_run": 9}, {}, ()),
        ({"max_usd_per_run": 8.5}, {}, ("max_usd_per_run = 8.5", "$9.00")),
        ({"max_usd_per_run": 8.5}, {"budget": 8.0}, ()),
        ({"max_usd_per_day": 10}, {"spent": 0.5}, ()),
        ({"max_usd_per_day": 10}, {"spent": 1.5}, ("today's runs cost $1.50", "add $9.00")),
        ({"gpus": ["*L4", "*h100*"]}, {}, ()),
        ({"gpus": ["*L4"]}, {}, ("deploy_a.py::big may get NVIDIA H100 80GB HBM3",)),
        ({"clouds": ["secure", "community"]}, {}, ()),
        ({"clouds": "secure"}, {}, ("deploy_a.py::big may run in community",)),
        ({"require_marks": ["approved"]}, {}, ("require_marks = approved, which deploy_a.py::big",)),
        ({"forbid_marks": ["approved"]}, {}, ("forbid_marks = approved, which deploy_a.py::fit",)),
        ({"hours": ["Mon-Fri 08:00-20:00"]}, {}, ("hours = Mon-Fri 08:00-20:00 (UTC)", "Sat 12:00")),
        ({"hours": ["Mon-Fri 08:00-20:00", "Sat 09:00-13:00"]}, {}, ()),
        ({"hours": ["08:00-12:30"], "timezone": "Europe/Berlin"}, {}, ("it is Sat 13:00 there",)),
        ({"hours": ["Fri 20:00-13:00"]}, {}, ()),
        ({"hours": ["Sat 20:00-13:00"]}, {}, ("hours",)),
        ({"hours": ["Mon-Fri 08:00-20:00"]}, {"now": None}, ()),
    ],
)  # fmt: skip
def test_what_a_policy_refuses(
    values: dict[str, Any], more: dict[str, Any], expected: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    reasons = refused(values, monkeypatch, **more)
    assert len(reasons) == bool(expected)
    for part in expected:
        assert part in reasons[0]
        assert reasons[0].startswith("pyproject.toml [tool.rpd.policy]: ")


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"max_usd_per_nod": 1}, "unknown key 'max_usd_per_nod'; did you mean max_usd_per_node?"),
        ({"max_usd_per_run": "5"}, "here.max_usd_per_run: expected dollars, got '5'"),
        ({"max_usd_per_run": -1}, "expected dollars"),
        ({"gpus": [1]}, "here.gpus: expected a list of strings"),
        ({"clouds": ["any"]}, "expected secure, community or both"),
        ({"hours": ["8-20"]}, "expected hours such as"),
        ({"hours": ["Mon-Fry 08:00-20:00"]}, "expected hours such as"),
        ({"hours": ["08:00-29:00"]}, "expected hours such as"),
        ({"timezone": "Berlin"}, "expected a time zone"),
    ],
)
def test_what_is_no_limit_is_an_error(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_policy(values, "here")
    assert sentence in str(caught.value)


def test_a_refused_run_rents_nothing_and_no_flag_helps(
    tmp_path: Path,
    clean_emulator: Launched,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The project's policy and the organisation's both count; a dry run only says so."""
    monkeypatch.chdir(tmp_path)
    job = "import rpd\n\n@rpd.job(gpu=rpd.Gpu('NVIDIA L4'))\ndef fit(pod): pod.run('true')\n"
    Path("deploy_a.py").write_text(job, encoding="utf-8")
    Path("rpd.toml").write_text('[policy]\ngpus = ["*A40*"]\n', encoding="utf-8")
    Path("team.toml").write_text("max_usd_per_node = 1\n", encoding="utf-8")
    monkeypatch.setenv("RPD_POLICY", "team.toml")
    for words, code, sentences in (
        (["run", "--yes"], 4, ["rpd.toml [policy]: gpus = *A40*", "team.toml: max_usd_per_node = 1"]),
        (["run", "--yes", "-o", "policy={}"], 4, ["no flag can lift it"]),
        (["run", "--dry-run", "-q"], 0, ["a policy would refuse this run: rpd.toml [policy]: gpus"]),
        (["plan"], 1, ["a policy would refuse this run: team.toml: max_usd_per_node"]),
    ):
        assert main(words) == code
        printed = capsys.readouterr()
        for sentence in sentences:
            assert sentence in printed.out + printed.err
    assert clean_emulator.pods() == []
    assert not Path("rpd-runs").exists()
