"""What a person sees of a run, at 80 columns."""

import io
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion

import rpd
from rpd.config import Config
from rpd.errors import Cause
from rpd.hooks import make_plugin_manager, register
from rpd.redaction import NO_SECRETS, Redactor
from rpd.terminal import Terminal
from rpd.terminal.end_summary import Style, failures, passes, short_summary
from rpd.terminal.styles import Ink
from rpd.values.dryrun import DryRunNode, Outlook
from rpd.values.node import Node
from rpd.values.plan import Plan
from rpd.values.pod import Cloud, Offer, PodInfo
from rpd.values.report import NodeRecord, NodeReport, Outcome, Result, RunSummary
from rpd.values.step import Step, StepKind
from rpd.values.telemetry import GpuSample, Sample

MakeConfig = Callable[..., Config]
MakeNode = Callable[..., Node]
MakePlan = Callable[..., Plan]
MakeReport = Callable[..., NodeReport]
PLAIN = {"COLUMNS": "80"}
TTY = {"COLUMNS": "80", "TERM": "xterm-256color"}
RUN = Step(index=0, kind=StepKind.RUN, name="train", command="python train.py --seed 42")
RAN = Step(index=0, kind=StepKind.RUN, name="train", command=RUN.command, exit_code=0, seconds=7.0)
OFFER = "NVIDIA H100 80GB HBM3 in EU-RO-1 (secure)"
FOLDER = Path("/project/rpd-runs/r1")


@pytest.fixture(autouse=True)
def somewhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths on screens are relative to where the user stands."""
    monkeypatch.chdir("/")


def shown(text: str) -> str:
    """A screen without what differs from machine to machine."""
    return re.sub(r"Python \d+\.\d+\.\d+", "Python 3.x.y", text.replace(rpd.__version__, "x.y.z"))


def play(
    terminal: Terminal,
    nodes: list[Node],
    reports: list[NodeReport],
    plan: Plan,
    pod: PodInfo,
    config: Config,
    clock: Callable[[], float],
    **summary: Any,
) -> None:
    """Two nodes of which the second fails, in the order in which a run tells it."""
    manager = make_plugin_manager()
    register(manager, terminal, "terminal")
    hook = manager.hook
    hook.rpd_collected(nodes=nodes, deselected=2, errors=())
    hook.rpd_run_started(config=config, plan=plan, backend="RunPod", folder=FOLDER, done=())
    for node, report in zip(nodes, reports, strict=True):
        hook.rpd_node_started(node=node, folder=FOLDER)
        offered = {"node": node.id, "offer": OFFER, "usd_per_hr": 3.6}
        hook.rpd_pod_event(pod_name="rpd-1", event="intent", detail=offered)
        for _ in range(2):
            detail = {"node": node.id, "offer": OFFER, "reason": "no machine is free"}
            hook.rpd_pod_event(pod_name="rpd-1", event="refused", detail=detail)
        hook.rpd_pod_event(pod_name="rpd-1", event="created", detail={**offered, "pod_id": "abc123"})
        clock.now += 4  # type: ignore[attr-defined]
        hook.rpd_pod_event(pod_name="rpd-1", event="ready", detail={"node": node.id, "pod_id": "abc123"})
        hook.rpd_pod_ready(node=node, pod=pod)
        hook.rpd_step_started(node=node, step=RUN)
        hook.rpd_step_output(node=node, data=b"epoch 1\r\n10%|#    |\r 50%|###  |")
        hook.rpd_step_output(node=node, data=b"\r100%|#####|\ncaf\xc3")
        hook.rpd_step_output(node=node, data=b"\xa9 \x1b[31mred\x1b[0m")
        hook.rpd_step_finished(node=node, step=RAN)
        gone = {"node": node.id, "pod_id": "abc123", "final_state": "deleted"}
        hook.rpd_pod_event(pod_name="rpd-1", event="released", detail=gone)
        hook.rpd_node_report(node=node, report=report)
    hook.rpd_notice(text="GraphQL is retired here: going on with REST v2")
    hook.rpd_run_finished(
        config=config,
        summary=RunSummary(
            folder=str(FOLDER), reports=tuple(reports), seconds=192.0, deselected=2, **summary
        ),
    )


@pytest.fixture
def play_run(
    make_config: MakeConfig,
    make_node: MakeNode,
    make_plan: MakePlan,
    make_report: MakeReport,
    pod: PodInfo,
    clock: Callable[[], float],
) -> Callable[..., str]:
    def run(
        file: io.StringIO | None = None,
        environ: Mapping[str, str] = PLAIN,
        redactor: Redactor = NO_SECRETS,
        summary: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> str:
        config = make_config(**settings)
        out = io.StringIO() if file is None else file
        nodes = [make_node(42), make_node(43)]
        reports = [
            make_report(nodes[0], metrics={"f1": 0.91234567, "steps": 100}),
            make_report(
                nodes[1],
                Outcome.FAILED,
                cause=Cause.OOM,
                reason="command exited 137: python train.py --seed 43",
                seconds=192.0,
                usd=0.41,
            ),
        ]
        terminal = Terminal(config, out, redactor=redactor, clock=clock, environ=environ)
        play(terminal, nodes, reports, make_plan(*nodes), pod, config, clock, **(summary or {}))
        return shown(out.getvalue())

    return run


def test_refusals_are_counted_not_listed(
    make_config: MakeConfig, make_node: MakeNode, make_plan: MakePlan
) -> None:
    """However many offers are refused to a node, in however many rounds, it has one line until it ends."""
    config, node, out = make_config(), make_node(42), io.StringIO()
    terminal = Terminal(config, out, environ=PLAIN)
    terminal.rpd_run_started(config=config, plan=make_plan(node), backend="RunPod", folder=FOLDER, done=())
    terminal.rpd_node_started(node=node)
    for _ in range(3):
        for number in range(200):
            refused = {"node": node.id, "offer": f"offer {number}", "reason": "no machine is free"}
            terminal.rpd_pod_event(pod_name="rpd-1", event="refused", detail=refused)
        waiting = {"node": node.id, "refused": 200, "seconds_left": 7200}
        terminal.rpd_pod_event(pod_name="rpd-1", event="waiting", detail=waiting)
    terminal.close()
    told = [line for line in out.getvalue().splitlines() if node.id in line]
    assert told == [f"WAITING {node.id}  200 offers refused; it goes on asking for 2h00m"]


def test_a_plain_screen(play_run: Callable[..., str], snapshot: SnapshotAssertion) -> None:
    """Not a terminal: whole lines, nothing rewritten, no colours."""
    screen = play_run()
    assert "\x1b" not in screen
    assert "\r" not in screen
    assert screen == snapshot


def test_verbose_streams_output_with_prefixes(
    play_run: Callable[..., str], snapshot: SnapshotAssertion
) -> None:
    """-v tells each step and streams each line once, in the state it had at its end."""
    assert play_run(verbose=1) == snapshot


def test_s_streams_output(play_run: Callable[..., str]) -> None:
    """-s streams the lines and tells no more of the rest."""
    lines = play_run(capture=False).splitlines()
    streamed = [line for line in lines if line.startswith("finetune[deberta-seed42] |")]
    assert [line.partition("| ")[2] for line in streamed] == ["epoch 1", "100%|#####|", "café red"]
    assert not [line for line in lines if line.startswith("START")]


def test_quiet_is_short(play_run: Callable[..., str], snapshot: SnapshotAssertion) -> None:
    """-q leaves what did not pass and the last line."""
    assert play_run(quiet=1) == snapshot


def test_very_quiet_is_one_line(play_run: Callable[..., str]) -> None:
    """-qq leaves notices and the last line."""
    *notices, last = play_run(quiet=2).splitlines()
    assert notices == ["rpd: GraphQL is retired here: going on with REST v2"]
    assert last == "= 1 passed, 1 failed, 2 deselected in 3m12s, $0.42 (run folder project/rpd-runs/r1) ="


def test_pods_that_are_left_are_loud_whatever_is_asked(play_run: Callable[..., str]) -> None:
    """Even -qq tells which pods may bill, with the command that releases each, and why the run stopped."""
    summary = {"unreleased": ("pod1",), "leftover": ("pod2",), "stop_reason": "Ctrl-C", "not_run": 3}
    screen = play_run(quiet=2, summary=summary)
    assert "1 POD MAY STILL BILL" in screen
    assert "rpd stop pod1" in screen
    assert "rpd stop pod2" in screen
    assert "2 deselected, 3 not run in 3m12s, $0.42, stopped: Ctrl-C" in screen.splitlines()[-1]


def test_the_run_folder_is_printed_last(play_run: Callable[..., str]) -> None:
    """--print-run-dir gives scripts a line of its own."""
    assert play_run(print_run_dir=True).splitlines()[-1] == str(FOLDER)


def test_a_terminal_gets_colours_and_gives_its_cursor_back(
    play_run: Callable[..., str], tty: io.StringIO, snapshot: SnapshotAssertion
) -> None:
    """On a terminal the board is gone at the end, the cursor is there, and outcomes have pytest's colours."""
    screen = play_run(file=tty, environ=TTY)
    assert screen.rindex("\x1b[?25h") > screen.rindex("\x1b[?25l")
    assert screen.partition("\x1b[?25h")[2] == snapshot
    assert "\x1b[32mPASSED \x1b[0m" in screen
    assert "\x1b[31mFAILED \x1b[0m" in screen


@pytest.mark.parametrize(
    ("environ", "color", "is_tty", "expected"),
    [
        ({}, "auto", False, False),
        ({}, "yes", False, True),
        ({"FORCE_COLOR": "1"}, "auto", False, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, "auto", False, False),
        ({"NO_COLOR": "1", "TERM": "xterm"}, "auto", True, False),
        ({"NO_COLOR": "1"}, "yes", False, True),
        ({"FORCE_COLOR": "1"}, "no", False, False),
        ({"TERM": "dumb"}, "auto", True, False),
        ({"CI": "true", "TERM": "xterm"}, "auto", True, True),
    ],
)
def test_who_decides_about_colour(
    play_run: Callable[..., str],
    tty: io.StringIO,
    environ: dict[str, str],
    color: str,
    is_tty: bool,
    expected: bool,
) -> None:
    """The flag, then NO_COLOR, then FORCE_COLOR, then the terminal; CI has colours but no board."""
    screen = play_run(file=tty if is_tty else None, environ=PLAIN | environ, color=color)
    assert ("\x1b[3" in screen) is expected
    if "CI" in environ or environ.get("TERM") == "dumb":
        assert "\x1b[?25l" not in screen


def test_no_secret_reaches_the_screen(
    make_config: MakeConfig,
    make_node: MakeNode,
    make_plan: MakePlan,
    make_report: MakeReport,
    pod: PodInfo,
    clock: Callable[[], float],
) -> None:
    """A canary in id, parameters, reason, log and notice is masked before anything is cut to fit."""
    canary = "canary-0123456789abcdefghij"
    config = make_config(verbose=1)
    node = make_node(backbone=f"xxxxxxxxxxxxxxx{canary}")
    report = make_report(node, Outcome.FAILED, reason=f"no {canary}", metrics={f"m{canary}": f"xxxx{canary}"})
    out = io.StringIO()
    terminal = Terminal(config, out, redactor=Redactor([canary]), clock=clock, environ=PLAIN)
    play(terminal, [node], [report], make_plan(node), pod, config, clock, stop_reason=canary)
    terminal.rpd_notice(canary)
    assert "canary" not in out.getvalue()
    assert "xxxx***" in out.getvalue()


def test_a_report_that_a_teardown_changed_is_told_again(
    make_config: MakeConfig, make_node: MakeNode, make_report: MakeReport
) -> None:
    """The same outcome twice is one line; another outcome is news."""
    out = io.StringIO()
    terminal = Terminal(make_config(), out, environ=PLAIN)
    node = make_node()
    for outcome in (Outcome.PASSED, Outcome.PASSED, Outcome.ERROR):
        terminal.rpd_node_report(node, make_report(node, outcome))
    words = [line.split()[0] for line in out.getvalue().splitlines() if "::" in line]
    assert words == ["PASSED", "ERROR"]


def test_a_shared_pod_costs_its_next_node_too(
    make_config: MakeConfig,
    make_node: MakeNode,
    make_plan: MakePlan,
    make_report: MakeReport,
    pod: PodInfo,
    clock: Any,
    tty: Any,
) -> None:
    """A node that joins a pod shows where it is, and its part of what that costs since the node began itself."""
    terminal = Terminal(make_config(), tty, clock=clock, environ=TTY | {"COLUMNS": "120"})
    first, second = make_node(1), make_node(2)
    terminal.rpd_run_started(make_config(), make_plan(first, second), "RunPod", FOLDER, ())
    terminal.rpd_node_started(first)
    terminal.rpd_pod_ready(first, pod)
    clock.now = 100.0
    terminal.rpd_node_report(first, make_report(first))
    terminal.rpd_node_started(second)
    terminal.rpd_pod_joined(second, pod, 0.5)
    clock.now = 200.0
    row, counts, spent = without_colours(terminal._draw()).splitlines()
    terminal.close()
    assert "H100 80GB HBM3 EU-RO-1" in row
    assert "1m40s   $0.05" in row
    assert counts == "1 of 2 done, 1 running · 3m20s"
    # 0.01 that the first one's report says, 0.05 of the second
    assert spent == "$0.06 so far, $1.80/h now, about $0.06 in all, worst case $10.00"


def without_colours(text: str) -> str:
    return re.sub(r"\x1b\[[\d;]*m", "", text)


@pytest.fixture
def make_board(
    make_config: MakeConfig,
    make_node: MakeNode,
    make_plan: MakePlan,
    make_report: MakeReport,
    pod: PodInfo,
    clock: Any,
    tty: io.StringIO,
) -> Callable[..., list[str]]:
    """A sweep of one job: 64 nodes at once out of 100, each on a GPU, six of them over and three of these failed."""

    def make(columns: int = 80, lines: int = 24, backbone: str = "deberta") -> list[str]:
        definition = make_node().definition
        environ = TTY | {"COLUMNS": str(columns), "LINES": str(lines)}
        terminal = Terminal(make_config(), tty, clock=clock, environ=environ)
        nodes = [replace(make_node(seed, backbone), definition=definition) for seed in range(100, 200)]
        terminal.rpd_run_started(make_config(), make_plan(*nodes, width=64), "RunPod", FOLDER, ())
        turn = threading.Semaphore(1)

        def slot(node: Node) -> None:
            with turn:
                terminal.rpd_node_started(node)
                detail = {"node": node.id, "offer": OFFER, "usd_per_hr": 3.6}
                terminal.rpd_pod_event("rpd-1", "intent", detail)
                terminal.rpd_pod_ready(node, pod)
                terminal.rpd_step_started(node, RUN)
            terminal.rpd_step_output(node, f"\repoch {node.params['seed']} {'#' * 200}".encode())
            busy = GpuSample(index=0, utilization=97.4)
            terminal.rpd_telemetry(node, Sample(at="2026-01-02T03:04:05Z", gpus=(busy,)))

        threads = [threading.Thread(target=slot, args=(node,)) for node in nodes[:70]]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        clock.now = 75.0
        for number, node in enumerate(nodes[:6]):
            outcome = Outcome.FAILED if number % 2 else Outcome.PASSED
            terminal.rpd_node_report(
                node, make_report(node, outcome, cause=Cause.OOM, reason="exit code 137")
            )
        clock.now = 105.0
        board = without_colours(terminal._draw())
        terminal.close()
        return board.splitlines()

    return make


@pytest.mark.parametrize(("columns", "lines"), [(80, 24), (120, 40), (40, 10), (200, 100)])
def test_a_board_of_64_nodes_is_calm(
    make_board: Callable[..., list[str]], columns: int, lines: int, snapshot: SnapshotAssertion
) -> None:
    """From 64 threads: few rows, each within the width, how many more there are, failures, time, money."""
    board = make_board(columns, lines)
    assert max(map(len, board)) < columns
    assert len(board) <= lines // 2 + 2
    counts, spent = board[-2:]
    assert counts.startswith("6 of 100 done, 3 failed, 64 r")
    assert spent.startswith("$6.78 so far, $230.40/h now")
    rows = [line for line in board[:-2] if line.startswith("GPU  97%")]
    assert len(rows) >= min(lines // 4, 41)
    assert {re.sub(r"\d", "9", line) for line in rows} == snapshot
    assert board[len(rows) : -2] == snapshot


def test_how_a_run_is_cut_short_stays_in_sight(
    make_config: MakeConfig,
    make_node: MakeNode,
    make_plan: MakePlan,
    make_report: MakeReport,
    tty: io.StringIO,
) -> None:
    """The footer says what goes on; nodes that are interrupted are told in a line each, and not pinned as failures."""
    terminal = Terminal(make_config(), tty, environ=TTY)
    nodes = [make_node(seed) for seed in range(3)]
    terminal.rpd_run_started(make_config(), make_plan(*nodes), "RunPod", FOLDER, ())
    for how, beginning in (
        ("drain", "starting nothing new: 0 of 3 done"),
        ("end", "ending what runs: 1 of 3 done"),
        ("abandon", "releasing all pods now: 2 of 3 done"),
    ):
        terminal.rpd_node_started(nodes[-1])
        terminal.rpd_stopping(how)
        _, *pinned, counts, _ = without_colours(terminal._draw()).splitlines()
        assert counts.startswith(beginning)
        assert pinned == []
        node = nodes.pop()
        reason = "interrupted by SIGINT"
        terminal.rpd_node_report(
            node, make_report(node, Outcome.ERROR, cause=Cause.INTERRUPTED, reason=reason)
        )
    terminal.close()
    assert "interrupted by SIGINT" not in tty.getvalue()


def test_rows_of_long_names_differ(make_board: Callable[..., list[str]]) -> None:
    """Of names too long for a row both ends are shown: sweeps differ at the end."""
    rows = [line for line in make_board(backbone="a-very-long-backbone-with-many-words") if "GPU" in line]
    assert len({row[:36] for row in rows}) == len(rows)
    assert all(row.startswith("GPU  97% a-very-long-…") for row in rows)


def test_no_line_above_the_board_wraps(
    make_config: MakeConfig,
    make_node: MakeNode,
    make_plan: MakePlan,
    make_report: MakeReport,
    pod: PodInfo,
    clock: Any,
    tty: Any,
) -> None:
    """For a person, ids and reasons are fitted to the screen; for a program they are whole."""
    node = make_node(backbone="a-very-long-backbone-with-many-words")
    report = make_report(node, Outcome.FAILED, cause=Cause.CODE, reason="command exited 1: " + "x" * 100)
    for file in (tty, io.StringIO()):
        terminal = Terminal(make_config(), file, clock=clock, environ=TTY | {"NO_COLOR": "1"})
        play(terminal, [node], [report], make_plan(node), pod, make_config(), clock)
        text = re.sub(r"\x1b\[[?\d;]*[A-Za-z]", "", file.getvalue()).replace("\r", "\n")
        told, reason = next(
            pair
            for pair in pairwise(text.splitlines())
            if pair[0].startswith("FAILED ") and "H100" in pair[0]
        )
        if file is tty:
            assert len(told) < 80
            assert len(reason) < 80
        else:
            assert told.startswith(f"FAILED  {node.id}  ")
            assert "x" * 100 in reason


class Telling(io.StringIO):
    """A file that is no terminal, and lets a test wait for what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = threading.Condition()

    def write(self, text: str) -> int:
        with self.written:
            self.written.notify_all()
            return super().write(text)

    def wait_for(self, pattern: str) -> bool:
        with self.written:
            return self.written.wait_for(lambda: re.search(pattern, self.getvalue()) is not None, timeout=60)


def test_a_log_tells_now_and_then_how_far_it_is(
    make_config: MakeConfig, make_node: MakeNode, make_plan: MakePlan
) -> None:
    """Where there is no board, a line comes every few minutes though nothing happens; none with -q."""
    loud, quiet = Telling(), Telling()
    nodes = [make_node(1), make_node(2)]
    for file, level in ((loud, 0), (quiet, 1)):
        terminal = Terminal(make_config(quiet=level), file, environ=PLAIN, pulse_seconds=0.01)
        terminal.rpd_run_started(make_config(), make_plan(*nodes), "RunPod", FOLDER, ())
        terminal.rpd_node_started(nodes[0])
        if file is loud:
            assert file.wait_for(r"(?s)(rpd: 0 of 2 done, 1 running, 1 waiting · \S+; \$0.00 so far, .*){2}")
        terminal.close()
    assert quiet.getvalue() == ""


def test_a_screen_that_went_away_costs_nothing(
    make_config: MakeConfig, make_node: MakeNode, make_report: MakeReport
) -> None:
    """Output to a closed pipe is dropped: no thread of a slot may die of it."""
    out = io.StringIO()
    terminal = Terminal(make_config(), out, environ=PLAIN)
    out.close()
    node = make_node()
    terminal.rpd_node_report(node, make_report(node))
    terminal.rpd_notice("still here")


def test_an_ascii_screen_is_served(make_config: MakeConfig, make_node: MakeNode) -> None:
    """Characters the encoding lacks are replaced instead of raising."""
    raw = io.BytesIO()
    terminal = Terminal(make_config(capture=False), io.TextIOWrapper(raw, encoding="ascii"), environ=PLAIN)
    terminal.rpd_step_output(make_node(), "caf\u00e9 \u2026\n".encode())
    assert raw.getvalue() == b"finetune[deberta-seed42] | caf? ...\n"


# --- dry run ---------------------------------------------------------------------------------------------------

OFFERS = tuple(
    Offer(gpu_id=gpu, count=1, cloud=Cloud.SECURE, datacenter=None, usd_per_hr=price, stock=stock)
    for gpu, price, stock in (
        ("NVIDIA H100 80GB HBM3", 2.39, "unknown"),
        ("NVIDIA A100-SXM4-80GB", None, "high"),
    )
)
STEPS = (
    Step(index=0, kind=StepKind.PUT, name="", command=". -> /workspace/src"),
    Step(index=1, kind=StepKind.RUN, name="train", command="python train.py \\\n  --seed 42"),
    Step(index=2, kind=StepKind.PULL, name="", command="results/ -> artifacts/results"),
)


def dry_run(terminal: Terminal, config: Config, nodes: list[Node], plan: Plan) -> None:
    """One planned with a pod, one without, one of unknown price, one that fails here."""
    terminal.rpd_run_started(config, plan, "dry run", None, ())
    planned = [
        DryRunNode(
            node_id=nodes[0].id,
            request=("image x", "20 GB disk"),
            offers=OFFERS,
            steps=STEPS,
            release="delete, once the pull is verified",
            worst_case_usd=5.0,
        ),
        DryRunNode(node_id=nodes[1].id, worst_case_usd=0.0),
        DryRunNode(node_id=nodes[2].id, request=("image y",), worst_case_usd=None),
    ]
    reports = []
    for node, plan_of_node in zip(nodes, planned, strict=True):
        terminal.rpd_node_started(node)
        terminal.rpd_dry_run_node(plan_of_node)
        outcome = Outcome.FAILED if node is nodes[2] else Outcome.PASSED
        reason = "KeyError: 'lr'" if node is nodes[2] else ""
        report = NodeReport(
            node=NodeRecord(id=node.id, job="finetune", file=node.file, line=10),
            result=Result(outcome=outcome, reason=reason, cause=Cause.CODE if reason else None),
        )
        reports.append(report)
        terminal.rpd_node_report(node, report)
    summary = RunSummary(folder="", reports=tuple(reports), seconds=0.25)
    terminal.rpd_run_finished(config, summary)


@pytest.mark.parametrize("quiet", [0, 1, 2])
def test_a_dry_run_shows_what_would_happen(
    make_config: MakeConfig, make_node: MakeNode, make_plan: MakePlan, quiet: int, snapshot: SnapshotAssertion
) -> None:
    """Pod request, offers in order with prices, steps, release, worst case; with -q a line; the total at the end."""
    out = io.StringIO()
    config = make_config(dry_run=True, quiet=quiet)
    nodes = [make_node(seed) for seed in (42, 43, 44)]
    dry_run(Terminal(config, out, environ=PLAIN), config, nodes, make_plan(*nodes))
    assert shown(out.getvalue()) == snapshot


@pytest.mark.parametrize("quiet", [0, 1])
def test_a_live_dry_run_shows_what_could_be_had_now(
    make_config: MakeConfig, make_node: MakeNode, make_plan: MakePlan, quiet: int, snapshot: SnapshotAssertion
) -> None:
    """Places of one GPU share a line, with the first few that have it; each node's outlook; how many have one."""
    places = ("EU-RO-1", "EU-SE-1", "US-KS-2", "US-TX-3", "CA-MTL-1", "OC-AU-1", None)
    many = [
        Offer(
            gpu_id="NVIDIA L4", count=2, cloud=Cloud.SECURE, datacenter=place, usd_per_hr=0.98, stock="high"
        )
        for place in places
    ]
    sold_out = [replace(offer, stock="none") for offer in many[:2]]
    community = Offer(gpu_id="NVIDIA L4", count=2, cloud=Cloud.COMMUNITY, datacenter=None, usd_per_hr=None)
    kinds = [
        (
            (*many, community),
            Outlook(can_be_rented=True, facts=("in stock: somewhere", "image: it is there")),
        ),
        (tuple(sold_out), Outlook(can_be_rented=False, facts=("sold out",))),
        ((community,), Outlook(can_be_rented=None, facts=("stock not known",))),
    ]
    out = io.StringIO()
    config = make_config(dry_run=True, dry_run_live=True, quiet=quiet)
    nodes = [make_node(seed) for seed in (42, 43, 44)]
    terminal = Terminal(config, out, environ=PLAIN)
    terminal.rpd_run_started(config, make_plan(*nodes), "dry run: somebody is only asked", None, ())
    for node, (offers, outlook) in zip(nodes, kinds, strict=True):
        terminal.rpd_dry_run_node(
            DryRunNode(
                node_id=node.id, request=("image x",), offers=offers, worst_case_usd=1.0, outlook=outlook
            )
        )
    terminal.rpd_run_finished(config, RunSummary(folder="", reports=(), seconds=0.25))
    assert shown(out.getvalue()) == snapshot


def test_a_place_is_not_told_twice(make_node: MakeNode, make_report: MakeReport) -> None:
    """The deepest frame is the place, told last; the frames that led there are told before it."""
    report = make_report(make_node(), Outcome.FAILED, reason="boom")
    assert report.failure is not None
    alone = replace(report, failure=replace(report.failure, traceback=report.failure.traceback[2:]))
    place = ["deploy_x.py:14", '>   pod.run(f"python train.py --seed {seed}", cwd=staged_dir)']
    for shown_report, before in ((report, ["deploy_x.py:21", "    run_all(pod)"]), (alone, [])):
        lines = list(failures([shown_report], width=80, verbose=False, ink=Ink(color=False)))
        assert lines[lines.index("boom") + 1 :][: len(before) + 3] == ["", *before, *place]
        assert lines.count("deploy_x.py:14") == 1


@pytest.mark.parametrize("style", [Style(full=True), Style("native"), Style("long")])
def test_a_whole_traceback_is_kept(make_node: MakeNode, make_report: MakeReport, style: Style) -> None:
    """Tracebacks that tell the place themselves are shown as they are, and it is not told again."""
    report = make_report(make_node(), Outcome.FAILED, reason="boom")
    assert report.failure is not None
    whole = ("Traceback (most recent call last):", '  File "deploy_x.py", line 14, in f', "ValueError: boom")
    full = replace(report, failure=replace(report.failure, traceback=whole))
    lines = list(failures([full], width=80, verbose=False, ink=Ink(color=False), style=style))
    assert lines[5 : 5 + len(whole)] == list(whole)
    assert "deploy_x.py:14" not in lines


def test_other_ways_to_show_failures(make_node: MakeNode, make_report: MakeReport) -> None:
    """A line for each, nothing at all, or no log: as ``--tb`` and ``--show-capture`` say."""
    reports = [make_report(make_node(seed), Outcome.FAILED, reason="boom\nand more") for seed in (1, 2)]
    ink = Ink(color=False)
    one_line = list(failures(reports, width=80, verbose=False, ink=ink, style=Style("line")))
    assert one_line[2:] == ["deploy_x.py:14: boom"] * 2
    assert list(failures(reports, width=80, verbose=False, ink=ink, style=Style("no"))) == []
    for log, count in ((True, 2), (False, 0)):
        lines = list(failures(reports, width=80, verbose=False, ink=ink, style=Style(log=log)))
        assert lines.count("epoch 3") == count


def test_parts_can_be_left_out(play_run: Callable[..., str]) -> None:
    """``--no-header`` and ``--no-summary`` leave these out, and nothing else."""
    every = play_run()
    assert "rpd run" in every
    assert "short summary" in every
    some = play_run(no_header=True, no_summary=True)
    assert "= rpd run =" not in some
    assert "short summary" not in some
    assert "FAILURES" in some
    assert some.rstrip().splitlines()[-1] == every.rstrip().splitlines()[-1]


def test_a_log_is_named_where_there_is_one(
    make_node: MakeNode, make_report: MakeReport, tmp_path: Path
) -> None:
    """A node whose commands wrote nothing, or that had none, has no log to look at."""
    report = replace(make_report(make_node(), Outcome.FAILED, reason="boom"), folder=str(tmp_path))

    def told() -> list[str]:
        lines = failures([report], width=80, verbose=False, ink=Ink(color=False))
        return [line for line in lines if line.startswith("log: ")]

    assert told() == []
    (tmp_path / "output.log").write_text("epoch 3\n")
    assert [Path(line.removeprefix("log: ")).resolve() for line in told()] == [tmp_path / "output.log"]


def test_the_output_of_what_passed(make_node: MakeNode, make_report: MakeReport, tmp_path: Path) -> None:
    """``-rP`` shows the end of the logs of nodes that passed, as a person would have seen them, and no others."""
    reports = []
    for seed, outcome in ((1, Outcome.PASSED), (2, Outcome.FAILED), (3, Outcome.PASSED)):
        folder = tmp_path / str(seed)
        folder.mkdir()
        reports.append(replace(make_report(make_node(seed), outcome), folder=str(folder)))
    for seed in (1, 2):
        lines = b"".join(b"line %d\n" % number for number in range(30))
        (tmp_path / f"{seed}/output.log").write_bytes(lines + b"10%\r100%\x1b[0m")
    lines = list(passes(reports, width=60, ink=Ink(color=False)))
    assert lines[1].strip("=") == " PASSES "
    assert sum("finetune[" in line for line in lines) == 1
    assert lines[4:-1] == [*(f"line {number}" for number in range(11, 30)), "100%"]
    assert list(passes(reports[1:], width=60, ink=Ink(color=False))) == []


def test_many_failures_are_cut_unless_asked_for(make_node: MakeNode, make_report: MakeReport) -> None:
    """Ten at full length, and how many more there are; all with -v."""
    reports = [make_report(make_node(seed), Outcome.ERROR) for seed in range(13)]
    ink = Ink(color=False)
    short = list(failures(reports, width=80, verbose=False, ink=ink))
    assert sum("ERROR in" in line for line in short) == 10
    assert "… and 3 more" in short[-1]
    full = list(failures(reports, width=80, verbose=True, ink=ink))
    assert sum("ERROR in" in line for line in full) == 13


def test_many_interrupted_nodes_are_counted(make_node: MakeNode, make_report: MakeReport) -> None:
    """Ctrl-C in a large sweep ends with one line for all it cut short, and every failure; -v lists them all."""
    reports = [make_report(make_node(seed), Outcome.ERROR, cause=Cause.INTERRUPTED) for seed in range(12)]
    reports.append(make_report(make_node(99), Outcome.FAILED, cause=Cause.CODE, reason="boom"))
    ink = Ink(color=False)
    short = list(short_summary(reports, width=80, verbose=False, crop=False, ink=ink))
    assert short[2:] == [
        "12 nodes were interrupted: -v lists them, `rpd run --lf` runs them again",
        "FAILED deploy_x.py::finetune[deberta-seed99] - code: boom",
    ]
    full = list(short_summary(reports, width=80, verbose=True, crop=False, ink=ink))
    assert len(full[2:]) == 13


def test_interrupted_nodes_are_only_listed(make_node: MakeNode, make_report: MakeReport) -> None:
    """Ctrl-C does not fill the screen with failures there is nothing to mend in; the cause is not said twice."""
    reason = "interrupted: python train.py"
    report = make_report(make_node(), Outcome.ERROR, cause=Cause.INTERRUPTED, reason=reason)
    ink = Ink(color=False)
    assert list(failures([report], width=80, verbose=False, ink=ink)) == []
    assert list(failures([report], width=80, verbose=True, ink=ink)) != []
    *_, line = short_summary([report], width=80, verbose=False, crop=False, ink=ink)
    assert line == "ERROR deploy_x.py::finetune[deberta-seed42] - interrupted: python train.py"


def test_a_transfer_shows_how_far_it_is(
    make_config: MakeConfig, make_node: MakeNode, make_plan: MakePlan, clock: Any, tty: io.StringIO
) -> None:
    """The node's row has the bytes and their rate, afresh for each transfer; the lines of the run have none of it."""
    terminal, node = Terminal(make_config(), tty, clock=clock, environ=TTY), make_node(1)
    terminal.rpd_run_started(make_config(), make_plan(node), "RunPod", FOLDER, ())
    terminal.rpd_node_started(node)

    def row(done: int, total: int) -> str:
        clock.now += 1
        terminal.rpd_transfer_progress(node, done, total)
        return re.sub(r"\x1b\[[\d;]*m", "", terminal._draw()).splitlines()[0]

    assert "staging 10/230 MB" in row(10_000_000, 230_000_000)
    assert "staging 120/230 MB, 110 MB/s" in row(120_000_000, 230_000_000)
    assert "staging 1/2 MB" in row(1_000_000, 2_000_000)
    assert "staging 2/2 MB, 1 MB/s" in row(2_000_000, 2_000_000)
    terminal.close()


@pytest.mark.parametrize("columns", [60, 80, 120, 200])
def test_no_line_is_cut_and_wrapped(
    tty: io.StringIO,
    make_config: MakeConfig,
    make_node: MakeNode,
    make_report: MakeReport,
    make_plan: MakePlan,
    pod: PodInfo,
    clock: Callable[[], float],
    columns: int,
) -> None:
    """On a terminal of any usual width a line is whole, or it is cut and fits; an id keeps what tells it from others."""
    nodes = [make_node(seed, "microsoft/deberta-v3-large-finetuned-on-mnli") for seed in (41, 42)]
    reason = "command exited 1: " + "python train.py " * 20
    reports = [
        make_report(nodes[0], Outcome.FAILED, cause=Cause.CODE, reason=reason, metrics={"loss": 0.123456}),
        make_report(nodes[1], metrics={"loss": 123456789.0}),
    ]
    config = make_config()
    terminal = Terminal(config, tty, clock=clock, environ={"COLUMNS": str(columns), "TERM": "xterm"})
    play(terminal, nodes, reports, make_plan(*nodes), pod, config, clock)
    lines = [re.sub(r"\x1b\[[?\d;]*[A-Za-z]|\r", "", line) for line in tty.getvalue().splitlines()]
    assert [line for line in lines if "…" in line]
    assert not [line for line in lines if "…" in line and len(line) >= columns]
    assert [line for line in lines if line.startswith("FAILED") and "seed41]" in line]
    assert [line for line in lines if "1.235e+08" in line]
