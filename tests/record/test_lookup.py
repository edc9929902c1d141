"""The names that a person may type for a run and for a node."""

from __future__ import annotations

from pathlib import Path

import pytest

from rpd.errors import UsageError
from rpd.record.lookup import choose, entries, node_named, run_named
from rpd.record.run_info import RunInfo

IDS = [
    "exp/deploy_a.py::fit[lr1]",
    "exp/deploy_a.py::fit[lr10]",
    "exp/deploy_b.py::fit",
    "deploy_c.py::score",
]


@pytest.mark.parametrize(
    ("wanted", "result"),
    [
        ("exp/deploy_a.py::fit[lr1]", 0),
        ("fit[lr1]", 0),
        ("fit[lr10", 1),
        ("exp/deploy_a.py::fit[lr10", 1),
        ("fit", 2),
        ("score", 3),
        ("sc", 3),
        ("deploy_c", 3),
        ("lr10", 1),
        ("_b", 2),
    ],
)
def test_a_node_goes_by_the_closest_reading(wanted: str, result: int) -> None:
    """An id, then a name, then how either begins, then a part of an id."""
    assert choose(IDS, wanted, "node") == IDS[result]


@pytest.mark.parametrize(
    ("wanted", "candidates"), [("fit[", IDS[:2]), ("exp/", IDS[:3]), ("deploy", IDS[3:])]
)
def test_ambiguity_lists_the_candidates(wanted: str, candidates: list[str]) -> None:
    """An ambiguous name is an error that lists just its candidates; a single reading is enough."""
    if len(candidates) == 1:
        assert choose(IDS, wanted, "node") == candidates[0]
        return
    with pytest.raises(UsageError) as caught:
        choose(IDS, wanted, "node")
    assert str(caught.value).splitlines()[1:] == [f"  {each}" for each in candidates]


@pytest.mark.parametrize("wanted", ["größe[日本]", "deploy_d.py::größe[日本", "日", "größe"])
def test_letters_select_what_ids_have_as_escapes(wanted: str) -> None:
    """As on the command line of a run: the values of a case are escaped in its id, the name of a job is not."""
    node_id = "deploy_d.py::größe[\\u65e5\\u672c]"
    assert choose([*IDS, node_id], wanted, "node") == node_id


def test_a_long_list_is_cut() -> None:
    """Of thousands of candidates ten are named, and how many more there are."""
    with pytest.raises(UsageError, match="… and 90 more"):
        choose([f"n{number}" for number in range(100)], "x", "node")


def test_the_newest_run_is_meant_where_none_is_named() -> None:
    """Runs come newest first; one of them by the beginning of its id."""
    runs = [RunInfo(id="2026B"), RunInfo(id="2026A")]
    assert (run_named(runs).id, run_named(runs, "2026A").id) == ("2026B", "2026A")
    with pytest.raises(UsageError, match="matches several runs"):
        run_named(runs, "2026")
    with pytest.raises(UsageError, match="no runs here yet"):
        run_named([])


def test_nodes_that_have_not_ended_are_there_too(tmp_path: Path) -> None:
    """A node with a journal and no manifest is a node without a report; other folders are none."""
    (tmp_path / "node").mkdir()
    (tmp_path / ".ssh").mkdir()
    line = '{"at":"2026-01-01T00:00:00+00:00","event":"node_started","node":"deploy_a.py::fit"}\n'
    (tmp_path / "node/events.jsonl").write_text(line, encoding="utf-8")
    listed = entries(tmp_path)
    assert [(entry.id, entry.folder.name, entry.report) for entry in listed] == [
        ("deploy_a.py::fit", "node", None)
    ]
    assert node_named(listed, "fit") is listed[0]
