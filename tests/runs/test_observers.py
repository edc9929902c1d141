"""Observers that raise: each is reported once, by name, and changes nothing else."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest

from rpd.emulator.launch import Launched
from rpd.errors import Cause
from rpd.hooks import PluginManager, hook_names, hookimpl, make_plugin_manager, observer_names
from rpd.testing import RpdRun, RunResult
from rpd.values.report import Outcome
from tests.runs.conftest import events, run_dir_of, write_project
from tests.waiting import DEADLINE, wait_until

DECIDERS = {
    "rpd_addoption",
    "rpd_markers",
    "rpd_configure",
    "rpd_collect_file",
    "rpd_make_parametrize_id",
    "rpd_generate_nodes",
    "rpd_modify_nodes",
    "rpd_select_nodes",
    "rpd_provider",
    "rpd_modify_plan",
    "rpd_make_sources",
    "rpd_skip_node",
    "rpd_prune",
    "rpd_pod_kind",
    "rpd_command_environment",
    "rpd_run_node",
}
RAISING = "".join(
    f"def {name}():\n    raise {kind}('the chat is down')\n\n"
    for kind, names in (
        ("SystemExit", [name for name in sorted(observer_names()) if "report" in name]),
        ("OSError", [name for name in sorted(observer_names()) if "report" not in name]),
    )
    for name in names
)
WORKS = """
import rpd

@rpd.job(gpu=None, budget=rpd.Budget(cost_cap_usd=1))
def fit(staged_dir, pod):
    pod.run("mkdir out; echo whole > out/checkpoint; echo started")
    BODY
    pod.pull("/workspace/out/")

@rpd.job
def after(): ...
"""


def test_every_hook_either_decides_or_observes() -> None:
    """A new hook is an observer or is listed here as a decider: the handling of its exceptions must be a choice."""
    assert hook_names() - observer_names() == DECIDERS


def test_all_of_them_raise(rpd: RpdRun, tmp_path: Path, clean_emulator: Launched) -> None:
    """The run is unaffected: passed, pulled, recorded, released. Each hook is reported once."""
    text = WORKS.replace("BODY", 'pod.run("true")')
    folder = write_project(tmp_path / "p", {"deploy_a.py": text, "conftest.py": RAISING})
    result = rpd(folder)
    assert result.exit_code == 0, result.out + result.err
    assert [report.result.outcome for report in result.reports] == [Outcome.PASSED] * 2
    [artifact] = result.reports[0].artifacts
    assert artifact.verified
    assert clean_emulator.pods() == []
    matches = re.findall(r"conftest\.py: (rpd_\w+) raised (\w+): the chat is down", result.out)
    assert len(matches) == len(set(matches)), "reported more than once"
    heard = {"rpd_run_started", "rpd_node_started", "rpd_pod_event", "rpd_step_output", "rpd_pod_released"}
    assert heard <= {name for name, _ in matches}
    assert ("rpd_node_report", "SystemExit") in matches
    assert "Traceback" not in result.out + result.err


@pytest.mark.parametrize("hook", ["rpd_notice", "rpd_stopping", "rpd_step_output", "rpd_pod_event"])
def test_the_brakes_hold(hook: str, rpd: RpdRun, tmp_path: Path, clean_emulator: Launched) -> None:
    """Ctrl-C ends a run whose observer raises at every turn, and a second one releases the pod at once."""
    text = WORKS.replace("BODY", """pod.run("trap '' TERM; echo deaf; while true; do sleep 0.1; done")""")
    observer = f"def {hook}():\n    raise OSError('the chat is down')\n"
    folder = write_project(tmp_path / "p", {"deploy_a.py": text, "conftest.py": observer})
    process = rpd.start(folder)
    wait_until(lambda: _has_output(folder, "deaf"), what="the command")
    process.send_signal(signal.SIGINT)
    wait_until(lambda: "starting nothing new" in process.out, what="the first notice")
    process.send_signal(signal.SIGTERM)
    result = process.finish(timeout=DEADLINE)
    _assert_abandoned(result, clean_emulator)


def test_one_that_hangs_does_not_hold_a_signal_up(
    rpd: RpdRun, tmp_path: Path, clean_emulator: Launched
) -> None:
    """An observer that never returns keeps neither the first nor the second signal from being heard."""
    text = WORKS.replace("BODY", """pod.run("trap '' TERM; echo deaf; while true; do sleep 0.1; done")""")
    hangs = "import time\ndef rpd_stopping():\n    time.sleep(900)\n"
    folder = write_project(tmp_path / "p", {"deploy_a.py": text, "conftest.py": hangs})
    process = rpd.start(folder)
    wait_until(lambda: _has_output(folder, "deaf"), what="the command")
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    result = process.finish(timeout=DEADLINE)
    assert result.exit_code == 2
    assert clean_emulator.pods() == []


def _has_output(folder: Path, text: str) -> bool:
    run_dir = run_dir_of(folder)
    logs = list(run_dir.glob("*/output.log")) if run_dir else []
    return any(text in log.read_text(encoding="utf-8") for log in logs)


def _assert_abandoned(result: RunResult, emulator: Launched) -> None:
    assert result.exit_code == 2, result.out + result.err
    assert emulator.pods() == []
    assert "SIGTERM again: releasing every pod now" in result.out
    assert result.run_dir is not None
    assert events(result.run_dir, "released")
    assert result.reports[0].result.cause is Cause.INTERRUPTED
    assert "Traceback" not in result.out + result.err


def test_a_timeout_comes_although_a_notice_raised(rpd: RpdRun, tmp_path: Path) -> None:
    """The alarm of one job tells something, the observer raises, and the alarm of the next job still rings."""
    folder = write_project(
        tmp_path / "p",
        {
            "deploy_a.py": """
            import threading
            import time
            import rpd
            import rpd.execute.clock
            rpd.execute.clock.JobClock.__init__.__kwdefaults__["patience_seconds"] = 0.2
            rpd.heard = threading.Event()

            @rpd.job
            @rpd.mark.timeout("0.1s")
            def a_stuck():
                rpd.heard.wait(60)

            @rpd.job
            @rpd.mark.timeout("0.2s")
            def b_loops():
                while True:
                    time.sleep(0.01)
            """,
            "conftest.py": """
            import rpd

            def rpd_notice(text):
                if "does not return" in text:
                    rpd.heard.set()
                raise OSError("the chat is down")
            """,
        },
    )
    result = rpd(folder, timeout=DEADLINE)
    assert result.exit_code == 1, result.out + result.err
    assert "does not return" in result.out
    assert [report.result.cause for report in result.reports] == [Cause.TIMEOUT] * 2


# --- the guard itself -----------------------------------------------------------------------------------------------


class Heard:
    """An observer that keeps its calls."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def rpd_notice(self, text: str) -> None:
        self.texts.append(text)


class Wrapping:
    """A wrapper that raises before, after, or on both sides of the wrapped function; or yields once too often."""

    def __init__(self, *where: str) -> None:
        self.where = where

    @hookimpl(wrapper=True)
    def rpd_notice(self):
        if "before" in self.where:
            raise OSError("before")
        result = yield
        if "twice" in self.where:
            yield
        if "after" in self.where:
            raise OSError("after")
        return result


def _told(manager: PluginManager, *texts: str) -> list[str]:
    heard = Heard()
    manager.register(heard, "heard")
    for text in texts:
        manager.hook.rpd_notice(text=text)
    return heard.texts


@pytest.mark.parametrize(
    ("where", "said"),
    [("before", "OSError: before"), ("after", "OSError: after"), ("twice", "more than once")],
)
def test_wrappers_are_guarded_too(where: str, said: str) -> None:
    """The wrapped function is called whatever becomes of the wrapper."""
    manager = make_plugin_manager()
    manager.register(Wrapping(where), "wrapping")
    texts = _told(manager, "one", "two")
    reports = [text for text in texts if text.startswith("plugin wrapping: rpd_notice raised ")]
    assert [text for text in texts if text not in reports] == ["one", "two"]
    assert len(reports) == 1
    assert said in reports[0]


def test_a_library_is_not_to_blame(tmp_path: Path) -> None:
    """The reported place is the plugin's own line, not that of the function it called."""

    class Calls:
        def rpd_notice(self) -> None:
            Path(tmp_path / "none").read_text(encoding="utf-8")

    manager = make_plugin_manager()
    manager.register(Calls(), "calls")
    [_, report] = sorted(_told(manager, "one"), key=len)
    assert f"({__file__}:" in report


def test_ctrl_c_and_the_end_of_a_jobs_time_pass() -> None:
    """They are raised wherever a thread happens to be, and are not the observer's."""

    class Interrupts:
        def rpd_notice(self) -> None:
            raise KeyboardInterrupt

    manager = make_plugin_manager()
    manager.register(Interrupts(), "interrupts")
    with pytest.raises(KeyboardInterrupt):
        manager.hook.rpd_notice(text="")


def test_a_defect_of_rpd_is_raised_when_everything_is_over() -> None:
    """One of rpd's own observers must not end a run, nor fail in silence."""

    class Own:
        def rpd_node_started(self) -> None:
            raise ZeroDivisionError

    Own.rpd_node_started.__module__ = "rpd.terminal.live_view"
    manager = make_plugin_manager()
    manager.register(Own(), "own")
    manager.hook.rpd_node_started(node=None, folder=None)
    with pytest.raises(ZeroDivisionError):
        manager.raise_defect()
