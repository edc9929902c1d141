"""``rpd query``: the choice of nodes, their grouping, and the errors for a wrong question."""

from __future__ import annotations

import importlib
import json
import operator
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpd.errors import RpdError, UsageError
from rpd.query import duck, parquet
from rpd.query.answer import grouped, listed, ordered, totals
from rpd.query.expression import Expression
from rpd.query.rows import COLUMNS, Rows, Scope, read_rows, resolve
from rpd.query.sql import answer as select
from rpd.record import manifest, run_info
from rpd.testing import RpdRun, RunResult
from rpd.values.report import CostRecord, NodeRecord, NodeReport, Outcome, PodRecord, Result


def report(
    seed: int, loss: float | None, *, outcome: Outcome = Outcome.PASSED, gpu: str = "NVIDIA L4"
) -> NodeReport:
    return NodeReport(
        node=NodeRecord(
            id=f"deploy_x.py::train[seed{seed}]",
            job="train",
            file="deploy_x.py",
            line=1,
            parameters={"seed": seed},
        ),
        result=Result(outcome=outcome, started="2026-11-20T10:00:00+00:00", phases={"job": 10.0 * seed}),
        pod=PodRecord(id=f"pod{seed}", name=f"rpd-{seed}", gpu=gpu, rate=0.5),
        cost=CostRecord(estimated_usd=0.25 * seed, cap_usd=5.0),
        metrics={} if loss is None else {"loss": loss},
    )


@pytest.fixture
def runs_path(tmp_path: Path) -> Path:
    """Two runs of three and two nodes."""
    reports = {
        "20261119T100000Z-aaaaaa": [report(1, 0.5), report(2, 0.25), report(3, None, outcome=Outcome.FAILED)],
        "20261120T100000Z-bbbbbb": [report(1, 0.125, gpu="NVIDIA RTX A4000"), report(2, 1.0)],
    }
    for name, nodes in reports.items():
        for number, each in enumerate(nodes):
            folder = tmp_path / "rpd-runs" / name / f"node{number}"
            folder.mkdir(parents=True)
            manifest.write(folder / manifest.FILE_NAME, each)
        started = f"2026-11-{name[6:8]}T10:00:00+00:00"
        run_info.write(folder.parent / run_info.FILE_NAME, run_info.RunInfo(id=name, started=started))
    (tmp_path / "rpd.toml").write_text("")
    return tmp_path / "rpd-runs"


def rows_of(runs_path: Path, **wanted: Any) -> list[dict[str, Any]]:
    return list(read_rows(Scope(runs_path=runs_path), **wanted))


def column_names(rows: list[dict[str, Any]]) -> tuple[str, ...]:
    return Rows(rows).columns


def seeds(rows: list[dict[str, Any]], text: str) -> list[tuple[str, int]]:
    expression = Expression(text, column_names(rows))
    return [(row["run"][-6:], row["param.seed"]) for row in rows if expression.matches(row)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('outcome == "failed"', [("aaaaaa", 3)]),
        ("loss < 0.5", [("bbbbbb", 1), ("aaaaaa", 2)]),
        ("metric.loss >= 0.5 and not seed > 1", [("aaaaaa", 1)]),
        ('"A4000" in gpu or seed == 3', [("bbbbbb", 1), ("aaaaaa", 3)]),
        ("loss == None", [("aaaaaa", 3)]),
        ("seed in [2, 3] and usd * 2 > 1", [("aaaaaa", 3)]),
        ("0.1 < loss < 0.3", [("bbbbbb", 1), ("aaaaaa", 2)]),
        ("loss < 'text'", []),
        ("seed / 0 > 1", []),
        ("-seed < -2", [("aaaaaa", 3)]),
        ("count != 0", []),
    ],
)
def test_expressions_choose_nodes(text: str, expected: list[tuple[str, int]], runs_path: Path) -> None:
    assert seeds(rows_of(runs_path), text) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("outcome == failed", "no node has a column 'failed'"),
        ("losss < 1", "did you mean loss?"),
        ("loss <", "expected comparisons"),
        ("open('x')", "is not part of the language"),
        ("loss if seed else 1", "is not part of the language"),
        ("[x for x in node]", "is not part of the language"),
        ("node.__class__ == 1", "no node has a column"),
        ("a.b.c == 1", "'a.b.c' is not a column"),
        ("loss is None", "write == or !="),
        ("f'{loss}'", "is not part of the language"),
        ("loss ** 2 > 1", "is not part of the language"),
        ("(" * 2000 + "loss" + ")" * 2000, "expected comparisons"),
        ("loss < 1" + " " * 20_000, "longer than"),
        ("import os", "column 1"),
        ("\0", "column 1"),
    ],
)
def test_wrong_expressions_are_one_error(text: str, said: str, runs_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        Expression(text, column_names(rows_of(runs_path)))
    assert said in str(caught.value)


COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq, "!=": operator.ne
}  # fmt: skip


@given(
    left=st.floats(allow_nan=False, allow_infinity=False),
    right=st.floats(allow_nan=False, allow_infinity=False),
    sign=st.sampled_from(sorted(COMPARE)),
)
def test_comparisons_are_pythons(left: float, right: float, sign: str) -> None:
    row = {"metric.x": left}
    assert Expression(f"x {sign} {right!r}", ["metric.x"]).matches(row) is COMPARE[sign](left, right)


def test_a_name_means_the_nearest_column(runs_path: Path) -> None:
    columns = column_names(rows_of(runs_path))
    assert columns[: len(COLUMNS)] == tuple(COLUMNS)
    assert [resolve(name, columns, "") for name in ("usd", "seed", "loss", "job", "phase.job")] == [
        "usd", "param.seed", "metric.loss", "job", "phase.job"
    ]  # fmt: skip


def test_groups_have_counts_sums_and_means(runs_path: Path) -> None:
    rows = rows_of(runs_path)
    answer = grouped(
        rows, ["seed"], ["count", "failed", "mean(loss)", "std(loss)", "sum(usd)"], column_names(rows)
    )
    by_seed = {row[0]: row[1:] for row in answer.rows}
    assert by_seed[1] == (2, 0, 0.3125, statistics.stdev([0.5, 0.125]), 0.5)
    assert by_seed[3] == (1, 1, None, None, 0.75)
    assert [row[0] for row in ordered(answer, "mean(loss):desc", column_names(rows)).rows] == [2, 1, 3]


@pytest.mark.parametrize(
    ("by", "show", "said"),
    [
        (["sed"], ["count"], "--by: no node has a column 'sed'; did you mean seed?"),
        (["seed"], ["loss"], "with --by expected count"),
        (["seed"], ["avg(loss)"], "expected one of sum, mean, std, median, min, max, got 'avg'"),
        (["seed"], ["mean(los)"], "--show: no node has a column 'los'"),
    ],
)
def test_wrong_groups_are_one_error(by: list[str], show: list[str], said: str, runs_path: Path) -> None:
    rows = rows_of(runs_path)
    with pytest.raises(UsageError, match=said.replace("(", r"\(").replace(")", r"\)").replace("?", r"\?")):
        grouped(rows, by, show, column_names(rows))


def test_missing_values_come_last_in_either_order(runs_path: Path) -> None:
    rows = rows_of(runs_path)
    shown = listed(rows, ["loss"], column_names(rows))
    for sort in ("loss", "loss:desc"):
        assert ordered(shown, sort, column_names(rows)).rows[-1] == (None,)
    with pytest.raises(UsageError, match="expected NAME or NAME:desc"):
        ordered(shown, "loss:down", column_names(rows))
    with pytest.raises(UsageError, match="the result has no column usd; add it: --show usd"):
        ordered(shown, "usd", column_names(rows))


def test_totals_add_up(runs_path: Path) -> None:
    sums = totals(rows_of(runs_path))
    assert (sums.nodes, sums.runs, sums.outcomes) == (5, 2, {"passed": 4, "failed": 1})
    assert sums.usd == pytest.approx(0.25 * (1 + 2 + 3 + 1 + 2))


def test_sql_selects_and_joins(runs_path: Path) -> None:
    selected = select(
        rows_of(runs_path),
        "select p.value as seed, min(m.value) as best from metrics m join params p using (run, node) "
        "where m.name = 'loss' and p.name = 'seed' group by p.value order by seed",
    )
    assert selected.dicts() == [{"seed": 1, "best": 0.125}, {"seed": 2, "best": 0.25}]


@pytest.mark.parametrize(
    "query",
    ["attach 'x' as y", "delete from nodes", "pragma user_version = 3", "select * from nodess", "sel", "", "select load_extension('x')",
     "select 1; select 2", "create table x (y)", "select writefile('x', 'y')"],
)  # fmt: skip
def test_sql_cannot_do_anything_else(query: str, runs_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(runs_path)
    before = sorted(runs_path.iterdir())
    with pytest.raises(UsageError, match="--sql"):
        select(rows_of(runs_path), query)
    assert sorted(runs_path.iterdir()) == before


def test_a_damaged_manifest_is_told_and_left_out(runs_path: Path) -> None:
    broken = min(runs_path.rglob(manifest.FILE_NAME))
    broken.write_text("schema_version = 1\n[node]\nid = 3\n")
    damage: list[RpdError] = []
    assert len(rows_of(runs_path, damaged=damage.append)) == 4
    assert str(broken) in str(damage[0])


# --- events, other engines, files -------------------------------------------------------------------------------------


@pytest.fixture
def with_events(runs_path: Path) -> Path:
    """The same runs, with a journal: two refusals of one node."""
    events = [{"event": "node_started", "node": "deploy_x.py::train[seed1]", "attempt": 1}]
    events += [{"event": "refused", "pod_name": "rpd-1", "offer": "L4"}] * 2
    lines = [
        json.dumps({"at": "2026-11-20T10:00:00+00:00", **each}, separators=(",", ":")) for each in events
    ]
    path = runs_path / "20261120T100000Z-bbbbbb" / "node0" / "events.jsonl"
    path.write_text("\n".join([*lines, '{"at":"torn","event":"refused"']))
    return runs_path


def test_events_are_counted(with_events: Path) -> None:
    rows = rows_of(with_events, events=True)
    assert seeds(rows, "event.refused >= 2") == [("bbbbbb", 1)]
    assert seeds(rows, "event.refused == 0 and loss > 0.4") == [("bbbbbb", 2), ("aaaaaa", 1)]
    assert seeds(rows, "event.adopted > 0") == []
    assert listed(rows, ["event.refused"], column_names(rows)).rows[0] == (2,)
    with pytest.raises(UsageError, match=r"did you mean event\.refused"):
        Expression("event.refuse > 1", column_names(rows))


def test_other_names_of_columns(runs_path: Path) -> None:
    columns = column_names(rows_of(runs_path))
    assert [resolve(name, columns, "") for name in ("place", "dollars", "time")] == [
        "datacenter",
        "usd",
        "seconds",
    ]
    assert resolve("time", [*columns, "param.time"], "") == "param.time"


SELECTS = [
    ("select gpu, count(*) as n, sum(usd) as usd from nodes group by gpu order by gpu",
     [("NVIDIA L4", 4, 2.0), ("NVIDIA RTX A4000", 1, 0.25)]),
    ("select name, count(*), min(value) from metrics group by name", [("loss", 4, 0.125)]),
    ("select text from params where run like '%bbbbbb' order by value", [("1",), ("2",)]),
    ("select event, count(*) as n from events group by event order by n", [("node_started", 1), ("refused", 2)]),
    ("select node from nodes where spot or seconds < 0", []),
]  # fmt: skip


@pytest.mark.parametrize("engine", ["sql", "duck"])
def test_engines_agree(engine: str, with_events: Path) -> None:
    if engine == "duck":
        pytest.importorskip("duckdb")
    select = importlib.import_module(f"rpd.query.{engine}").answer
    events = [
        {"run": "r", "node": "n", "at": "t", "event": name} for name in ("node_started", "refused", "refused")
    ]
    for query, expected in SELECTS:
        assert list(select(rows_of(with_events), query, events).rows) == expected


@pytest.mark.parametrize(
    "query",
    ["copy nodes to 'x.csv'", "select * from read_csv('/etc/passwd')", "set memory_limit='1GB'", "select 1; select 2", "",
     "sel", "install httpfs", "attach 'x.db'", "select * from read_text('rpd.toml')"],
)  # fmt: skip
def test_duckdb_cannot_do_anything_else(query: str, runs_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("duckdb")
    monkeypatch.chdir(runs_path.parent)
    rows = rows_of(runs_path)
    before = sorted(runs_path.parent.rglob("*"))
    with pytest.raises(UsageError, match="--sql"):
        duck.answer(rows, query)
    assert sorted(runs_path.parent.rglob("*")) == before


def test_an_answer_becomes_a_parquet_file(runs_path: Path, tmp_path: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    rows: list[dict[str, Any]] = [
        *rows_of(runs_path),
        {"param.seed": "text", "spot": True, "metric.loss": [1]},
    ]
    shown = listed(rows, ["seed", "loss", "usd", "spot"], column_names(rows))
    parquet.write(tmp_path / "x.parquet", shown)
    columns = pq.read_table(tmp_path / "x.parquet").to_pydict()
    assert columns["param.seed"] == ["1", "2", "1", "2", "3", "text"]
    assert columns["metric.loss"][-2:] == [None, "[1]"]
    assert columns["usd"] == [0.25, 0.5, 0.25, 0.5, 0.75, None]


def test_only_what_is_asked_for_is_held(runs_path: Path) -> None:
    rows = Rows(rows_of(runs_path), {"loss"})
    assert set(rows.rows[0]) == {"run", "outcome", "seconds", "usd", "metric.loss"}
    assert "param.seed" in rows.columns


# --- the command ------------------------------------------------------------------------------------------------------


def query(folder: Path, *args: str) -> RunResult:
    return RpdRun()(folder, *args, command="query", env={"XDG_CACHE_HOME": str(folder / "cache")})


def test_the_command_lists_groups_and_totals(runs_path: Path) -> None:
    folder = runs_path.parent
    shown = query(folder, "loss < 0.5", "--sort", "loss")
    assert shown.exit_code == 0, shown.err
    assert [line.split()[-1] for line in shown.out.splitlines()[1:3]] == ["0.125", "0.25"]
    assert "2 nodes in 2 runs: 2 passed, 30s, $0.75" in shown.out
    document = json.loads(query(folder, "--by", "gpu", "--json").out)
    assert document["schema_version"] == 1
    assert [row["count"] for row in document["rows"]] == [1, 4]
    assert document["totals"]["nodes"] == 5
    assert query(folder, "--show", "seed,loss", "--csv").out.splitlines()[0] == "param.seed,metric.loss"


def test_runs_are_chosen_by_name_and_age(runs_path: Path) -> None:
    folder = runs_path.parent
    assert "3 nodes in 1 run:" in query(folder, "--run", "20261119").out
    assert query(folder, "--run", "2025").exit_code == 4
    assert "5 nodes in 2 runs" in query(folder, "--since", "36500d").out
    assert query(folder, "--since", "1s").exit_code == 5


def test_nothing_found_has_a_code_of_its_own(runs_path: Path) -> None:
    result = query(runs_path.parent, "seed > 99")
    assert (result.exit_code, result.out.strip()) == (5, "0 nodes in 0 runs")


def test_two_expressions_are_told_to_be_quoted(runs_path: Path) -> None:
    result = query(runs_path.parent, "seed", ">", "1")
    assert result.exit_code == 4
    assert "put it in quotes" in result.err
