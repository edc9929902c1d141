"""The screen of a run, at 80 columns."""

import io
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion

from rpd.config import Config
from rpd.errors import Cause
from rpd.hooks import make_plugin_manager, register
from rpd.redaction import NO_SECRETS, Redactor
from rpd.terminal.live_view import LiveView
from rpd.terminal.view import View
from rpd.values.node import Node
from rpd.values.plan import Plan
from rpd.values.pod import PodInfo
from rpd.values.report import NodeReport, Outcome, RunSummary
from rpd.values.step import Step, StepKind
from rpd.values.telemetry import GpuSample, Sample
from tests.terminal.screens import FOLDER, PLAIN, TTY, shown, without_colours

MakeConfig = Callable[..., Config]
MakeNode = Callable[..., Node]
MakePlan = Callable[..., Plan]
MakeReport = Callable[..., NodeReport]
RUN = Step(index=0, kind=StepKind.RUN, name="train", command="python train.py --seed 42")
RAN = Step(index=0, kind=StepKind.RUN, name="train", command=RUN.command, exit_code=0, seconds=7.0)
OFFER = "NVIDIA H100 80GB HBM3 in EU-RO-1 (secure)"


@pytest.fixture(autouse=True)
def somewhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths on screens are relative to where the user stands."""
    monkeypatch.chdir("/")


def play(
    terminal: View,
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
        terminal = LiveView(config, out, redactor=redactor, clock=clock, environ=environ)
        play(terminal, nodes, reports, make_plan(*nodes), pod, config, clock, **(summary or {}))
        return shown(out.getvalue())

    return run


def test_refusals_are_counted_not_listed(
    make_config: MakeConfig, make_node: MakeNode, make_plan: MakePlan
) -> None:
    """However many offers are refused to a node, in however many rounds, it has one line until it ends."""
    config, node, out = make_config(), make_node(42), io.StringIO()
    terminal = LiveView(config, out, environ=PLAIN)
    terminal.rpd_run_started(config=config, plan=make_plan(node), backend="RunPod", folder=FOLDER, done=())
    terminal.rpd_node_started(node=node)
    for _ in range(3):
        for number in range(200):
            refused = {"node": node.id, "offer": f"offer {number}", "reason": "no machine is free"}
            terminal.rpd_pod_event(pod_name="rpd-1", event="refused", detail=refused)
        waiting = {"node": node.id, "refused": 200, "seconds_left": 7200}
        terminal.rpd_pod_event(pod_name="rpd-1", event="waiting", detail=waiting)
    terminal.close()
    rows = [line for line in out.getvalue().splitlines() if node.id in line]
    assert rows == [f"WAITING {node.id}  200 offers refused; trying again for 2h00m"]


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
    """-q leaves only failures and the last line."""
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
    """--print-run-dir gives scripts a separate line."""
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
    terminal = LiveView(config, out, redactor=Redactor([canary]), clock=clock, environ=PLAIN)
    play(terminal, [node], [report], make_plan(node), pod, config, clock, stop_reason=canary)
    terminal.rpd_notice(canary)
    assert "canary" not in out.getvalue()
    assert "xxxx***" in out.getvalue()


def test_a_report_that_a_teardown_changed_is_told_again(
    make_config: MakeConfig, make_node: MakeNode, make_report: MakeReport
) -> None:
    """The same outcome twice is one line; another outcome is news."""
    out = io.StringIO()
    terminal = LiveView(make_config(), out, environ=PLAIN)
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
    """A node that joins a pod shows its place, and its part of the pod's cost since the node began."""
    terminal = LiveView(make_config(), tty, clock=clock, environ=TTY | {"COLUMNS": "120"})
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


def test_what_a_script_says_that_it_does_stands_before_its_last_line(
    make_config: MakeConfig, make_node: MakeNode, make_plan: MakePlan, clock: Any, tty: io.StringIO
) -> None:
    """The name of a part stays until the next one, or the next step; the line that tells it is not shown itself."""
    terminal = LiveView(make_config(verbose=1), tty, clock=clock, environ=TTY | {"COLUMNS": "100"})
    node = make_node(1)
    terminal.rpd_run_started(make_config(), make_plan(node), "RunPod", FOLDER, ())
    terminal.rpd_node_started(node)
    terminal.rpd_step_started(node, RUN)
    terminal.rpd_step_output(node, b"::rpd-step warm \x1b[2Jup\n")
    terminal.rpd_step_mark(node, "warm \x1b[2Jup")
    assert "warm up:" in without_colours(terminal._draw()).replace("[2J", "")
    assert "::rpd-step" not in terminal._draw()
    terminal.rpd_step_output(node, b"epoch 3\n")
    assert "up: epoch 3" in without_colours(terminal._draw())
    terminal.rpd_step_started(node, RUN)
    assert "warm" not in terminal._draw()
    terminal.close()
    assert "STEP" in tty.getvalue()


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
        terminal = LiveView(make_config(), tty, clock=clock, environ=environ)
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
    """The footer shows the rest; interrupted nodes get a line each, and are not pinned as failures."""
    terminal = LiveView(make_config(), tty, environ=TTY)
    nodes = [make_node(seed) for seed in range(3)]
    terminal.rpd_run_started(make_config(), make_plan(*nodes), "RunPod", FOLDER, ())
    for how, beginning in (
        ("drain", "starting nothing new: 0 of 3 done"),
        ("end", "ending running commands: 1 of 3 done"),
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
        terminal = LiveView(make_config(), file, clock=clock, environ=TTY | {"NO_COLOR": "1"})
        play(terminal, [node], [report], make_plan(node), pod, make_config(), clock)
        text = re.sub(r"\x1b\[[?\d;]*[A-Za-z]", "", file.getvalue()).replace("\r", "\n")
        two_lines, reason = next(
            pair
            for pair in pairwise(text.splitlines())
            if pair[0].startswith("FAILED ") and "H100" in pair[0]
        )
        if file is tty:
            assert len(two_lines) < 80
            assert len(reason) < 80
        else:
            assert two_lines.startswith(f"FAILED  {node.id}  ")
            assert "x" * 100 in reason


class Telling(io.StringIO):
    """A file that is no terminal, and lets a test wait for a text written to it."""

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
        terminal = LiveView(make_config(quiet=level), file, environ=PLAIN, pulse_seconds=0.01)
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
    terminal = LiveView(make_config(), out, environ=PLAIN)
    out.close()
    node = make_node()
    terminal.rpd_node_report(node, make_report(node))
    terminal.rpd_notice("still here")


def test_an_ascii_screen_is_served(make_config: MakeConfig, make_node: MakeNode) -> None:
    """Characters the encoding lacks are replaced instead of raising."""
    raw = io.BytesIO()
    terminal = LiveView(make_config(capture=False), io.TextIOWrapper(raw, encoding="ascii"), environ=PLAIN)
    terminal.rpd_step_output(make_node(), "caf\u00e9 \u2026\n".encode())
    assert raw.getvalue() == b"finetune[deberta-seed42] | caf? ...\n"


# --- dry run ---------------------------------------------------------------------------------------------------


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


def test_a_transfer_shows_how_far_it_is(
    make_config: MakeConfig, make_node: MakeNode, make_plan: MakePlan, clock: Any, tty: io.StringIO
) -> None:
    """The node's row has the bytes and their rate, reset for each transfer; the lines of the run have none of it."""
    terminal, node = LiveView(make_config(), tty, clock=clock, environ=TTY), make_node(1)
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
    """On a terminal of any usual width a line is whole, or it is cut and fits.

    An id keeps its distinguishing part.
    """
    nodes = [make_node(seed, "microsoft/deberta-v3-large-finetuned-on-mnli") for seed in (41, 42)]
    reason = "command exited 1: " + "python train.py " * 20
    reports = [
        make_report(nodes[0], Outcome.FAILED, cause=Cause.CODE, reason=reason, metrics={"loss": 0.123456}),
        make_report(nodes[1], metrics={"loss": 123456789.0}),
    ]
    config = make_config()
    terminal = LiveView(config, tty, clock=clock, environ={"COLUMNS": str(columns), "TERM": "xterm"})
    play(terminal, nodes, reports, make_plan(*nodes), pod, config, clock)
    lines = [re.sub(r"\x1b\[[?\d;]*[A-Za-z]|\r", "", line) for line in tty.getvalue().splitlines()]
    assert [line for line in lines if "…" in line]
    assert not [line for line in lines if "…" in line and len(line) >= columns]
    assert [line for line in lines if line.startswith("FAILED") and "seed41]" in line]
    assert [line for line in lines if "1.235e+08" in line]
