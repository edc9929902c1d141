"""Config: every setting of one invocation, frozen, each with the place its value came from.

A setting is declared once, as a field of ``Config``: its default, type, help, flags and key in ``[tool.rpd]``. The
precedence is flag > environment > file > default.
"""

from __future__ import annotations

import argparse
import difflib
import os
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rpd.errors import Cause, UsageError
from rpd.values.duration import parse_duration
from rpd.values.ranking import Ranking

RUN = ("run",)
SELECTING = ("collect", "run", "fixtures", "estimate", "doctor")
LOADING = (*SELECTING, "markers")
"""Commands that load the plugins of the user."""
LOOKING_BACK = ("resume", "runs", "show", "diff", "events", "report", "verify", "logs")
PODS = ("ssh", "ps", "stop", "gc")
"""Commands for past runs, and for pods outside of a run."""
CAUSES = tuple(cause.value for cause in Cause)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """How one field of Config is set: ``flags`` on the command line of ``commands``, ``key`` in the file, ``env``."""

    help: str
    flags: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    key: str | None = None
    env: str | None = None
    metavar: str | None = None
    parse: Callable[[str], Any] | None = None
    """From the text of a flag or variable to the value; raises ValueError with a rule to show."""
    action: str = "store"
    const: Any = None
    """The text a flag stands for that is given without a value; None: it needs one."""
    choices: tuple[str, ...] = ()
    group: str = "options"


def _setting(default: Any, help: str, *flags: str, **how: Any) -> Any:  # noqa: A002 - argparse's own word
    setting = Setting(help=help, flags=flags, **how)
    if isinstance(default, dict):
        return field(default_factory=lambda: MappingProxyType(dict(default)), metadata={"setting": setting})
    return field(default=default, metadata={"setting": setting})


def _positive_int(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise ValueError("expected a whole number >= 1")
    return int(text)


def _sweep(text: str) -> tuple[str, tuple[str, ...]]:
    """Read ``lr=0.1,0.01`` or ``seed=1..5`` (both ends included), or a mixture of the two."""
    name, listed = _pair(text)
    values: list[str] = []
    for part in listed.split(","):
        first, dots, last = part.partition("..")
        if dots and first.lstrip("-").isdigit() and last.lstrip("-").isdigit():
            if int(first) > int(last):
                raise ValueError("expected a range that does not run backwards")
            values.extend(map(str, range(int(first), int(last) + 1)))
        else:
            values.append(part.strip())
    if not all(values):
        raise ValueError("expected NAME=VALUE,VALUE or NAME=FIRST..LAST")
    return name, tuple(values)


def _port(text: str) -> int:
    if not text.isdigit() or not 0 <= int(text) <= 65535:
        raise ValueError("expected a port number")
    return int(text)


def _forward(text: str) -> tuple[int, int]:
    local, colon, remote = text.partition(":")
    if not local.isdigit() or (colon and not remote.isdigit()):
        raise ValueError("expected PORT or PORT:REMOTE")
    return _port(local), _port(remote or local)


def _ranking(text: str) -> str:
    Ranking.parse(text)
    return text


def _money(text: str) -> float:
    try:
        value = float(text.removeprefix("$"))
    except ValueError:
        raise ValueError("expected an amount in dollars") from None
    if not 0 < value < float("inf"):
        raise ValueError("expected an amount in dollars > 0")
    return value


def _minutes(text: str) -> float:
    return parse_duration(text if text[-1:].isalpha() else f"{text}m")


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise ValueError("expected NAME=VALUE")
    return name.strip(), value


def _causes(text: str) -> tuple[str, ...]:
    if text == "all":
        return CAUSES
    names = tuple(name.strip() for name in text.split(","))
    if not set(names) <= set(CAUSES):
        raise ValueError(f"expected all, or causes out of {', '.join(CAUSES)}")
    return names


def _count(text: str) -> int:
    if not text.isdigit():
        raise ValueError("expected a whole number >= 0 (0: all)")
    return int(text)


_REPORT_CHARS = "fEsxXpPwaAN"


def _report_chars(text: str) -> str:
    if not text or set(text) - set(_REPORT_CHARS):
        raise ValueError(f"expected letters out of {_REPORT_CHARS}")
    return text


def _lifecycle(text: str) -> str:
    if text not in ("sdk", "rest"):
        raise ValueError("expected sdk or rest")
    return text


def _seconds(text: str) -> float:
    return 0.0 if text.strip() == "0" else parse_duration(text)


_SELECT: dict[str, Any] = {"commands": SELECTING, "group": "selection"}
_RUN: dict[str, Any] = {"commands": RUN, "group": "running"}
_MONEY: dict[str, Any] = {"commands": RUN, "group": "money"}
_PRICE: dict[str, Any] = {"commands": ("run", "estimate", "doctor"), "group": "money"}
_SHOW: dict[str, Any] = {"commands": SELECTING, "group": "output"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The settings of one invocation. Paths are absolute unless said otherwise; durations are seconds, money is USD."""

    # Where we are; not settings.
    command: str
    rootdir: Path
    invocation_dir: Path
    config_file: Path | None = None
    args: tuple[str, ...] = ()
    """Paths and node ids given on the command line, as typed."""
    sources: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Field name to where its value came from: ``flag -n``, ``environment RPD_N``, ``rpd.toml``; no defaults."""
    plugin_options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """Values of the options plugins added, by their destination name."""

    # Collecting.
    deploypaths: tuple[str, ...] = _setting(
        (), "folders to collect from where no path is given", key="deploypaths"
    )
    deploy_files: tuple[str, ...] = _setting(
        ("deploy_*.py",), "patterns of the file names to collect", key="deploy_files"
    )
    ignore: tuple[str, ...] = _setting(
        (), "do not collect this path", "--ignore", key="ignore", metavar="PATH", action="append", **_SELECT
    )
    ignore_glob: tuple[str, ...] = _setting(
        (),
        "do not collect paths that match",
        "--ignore-glob",
        key="ignore_glob",
        metavar="GLOB",
        action="append",
        **_SELECT,
    )
    markers: tuple[str, ...] = _setting((), "marks that may be used besides the built-in ones", key="markers")
    strict_markers: bool = _setting(True, "reject marks that are not registered", key="strict_markers")
    strict_parametrization_ids: bool = _setting(
        True, "reject duplicate ids", key="strict_parametrization_ids"
    )
    empty_parameter_set_mark: str = _setting(
        "fail_at_collect",
        "what an empty parameter set is: fail_at_collect, skip or xfail",
        key="empty_parameter_set_mark",
    )
    lifecycle: str = _setting(
        "sdk",
        "how pods are rented: sdk (GraphQL), or rest (REST v2)",
        key="lifecycle",
        env="RPD_LIFECYCLE",
        parse=_lifecycle,
    )
    extra_gpu_ids: tuple[str, ...] = _setting(
        (), "GPU ids to accept besides those rpd knows", key="extra_gpu_ids"
    )
    continue_on_collection_errors: bool = _setting(
        False,
        "run what was collected although some files have errors",
        "--continue-on-collection-errors",
        action="store_true",
        **_SELECT,
    )

    # Selecting.
    keyword: str = _setting(
        "", "only nodes whose names match, e.g. 'seed42 and not slow'", "-k", metavar="EXPR", **_SELECT
    )
    markexpr: str = _setting(
        "", "only nodes with these marks, e.g. 'gpu and not slow'", "-m", metavar="EXPR", **_SELECT
    )
    deselect: tuple[str, ...] = _setting(
        (), "drop nodes whose id begins so", "--deselect", metavar="ID", action="append", **_SELECT
    )

    last_failed: tuple[str, ...] = _setting(
        (),
        "only nodes that did not pass when they last ran (with CAUSES: for one of these, e.g. infra,lost)",
        "--lf",
        "--last-failed",
        metavar="CAUSES",
        parse=_causes,
        const="all",
        **_SELECT,
    )
    failed_first: bool = _setting(
        False,
        "first the nodes that did not pass when they last ran",
        "--ff",
        "--failed-first",
        action="store_true",
        **_SELECT,
    )
    new_first: bool = _setting(
        False,
        "first the nodes that never ran, then the others, the files changed last first",
        "--nf",
        "--new-first",
        action="store_true",
        **_SELECT,
    )
    last_failed_no_failures: str = _setting(
        "none",
        "what --lf runs when nothing failed",
        "--lfnf",
        "--last-failed-no-failures",
        choices=("all", "none"),
        **_SELECT,
    )
    stepwise: bool = _setting(
        False,
        "stop at the first node that does not pass, and begin there the next time",
        "--sw",
        "--stepwise",
        action="store_true",
        **_SELECT,
    )
    stepwise_skip: bool = _setting(
        False,
        "as --sw, but pass over the first node that does not pass",
        "--sw-skip",
        "--stepwise-skip",
        action="store_true",
        **_SELECT,
    )
    stepwise_reset: bool = _setting(
        False,
        "as --sw, but begin at the first node",
        "--sw-reset",
        "--stepwise-reset",
        action="store_true",
        **_SELECT,
    )

    # Running.
    dry_run: bool = _setting(
        False, "print what would happen: no network, no key, no pod", "--dry-run", action="store_true", **_RUN
    )
    setup_plan: bool = _setting(
        False,
        "a dry run that shows when each fixture is set up and torn down",
        "--setup-plan",
        action="store_true",
        **_RUN,
    )
    local: bool = _setting(
        False, "run on a RunPod emulator on this machine, for free", "--local", action="store_true", **_RUN
    )
    width: int = _setting(
        1, "how many nodes run at once", "-n", key="n", env="RPD_N", metavar="N", parse=_positive_int, **_RUN
    )
    exitfirst: bool = _setting(
        False, "stop at the first node that does not pass", "-x", "--exitfirst", action="store_true", **_RUN
    )
    maxfail: int | None = _setting(
        None, "stop after N nodes that did not pass", "--maxfail", metavar="N", parse=_positive_int, **_RUN
    )
    maxfail_action: str = _setting(
        "drain", "what to do with running nodes then", "--maxfail-action", choices=("drain", "kill"), **_RUN
    )
    var: tuple[tuple[str, str], ...] = _setting(
        (),
        "set a variable of the deploy files",
        "--var",
        metavar="NAME=VALUE",
        parse=_pair,
        action="append",
        commands=SELECTING,
        group="running",
    )
    sweep: tuple[tuple[str, tuple[str, ...]], ...] = _setting(
        (),
        "run once for each of these values of a variable",
        "--sweep",
        metavar="NAME=A,B|NAME=1..5",
        parse=_sweep,
        action="append",
        commands=SELECTING,
        group="running",
    )
    vars_file: str | None = _setting(
        None,
        "set variables from a .toml or .json file",
        "--vars-file",
        metavar="FILE",
        commands=SELECTING,
        group="running",
    )
    variables: Mapping[str, Any] = _setting({}, "variables of the deploy files", key="variables")
    changed: bool = _setting(
        False,
        "pass over nodes that passed before, if neither code, files, parameters nor image changed since",
        "--changed",
        action="store_true",
        **_RUN,
    )
    explain: bool = _setting(
        False,
        "with --changed: say for each node why it runs or not",
        "--explain",
        action="store_true",
        **_RUN,
    )
    runs_dir: str = _setting(
        "rpd-runs",
        "folder of the run folders, relative to the root folder",
        "--runs-dir",
        key="runs_dir",
        env="RPD_RUNS_DIR",
        metavar="DIR",
        commands=("run", *LOOKING_BACK, *PODS),
        group="running",
    )
    yes: bool = _setting(
        False,
        "do not ask before money is spent",
        "--yes",
        "-y",
        action="store_true",
        commands=("run", "gc", "stop"),
        group="money",
    )

    # Money.
    cost_cap_usd: float | None = _setting(
        None, "most a node may cost", "--cost-cap-usd", metavar="USD", parse=_money, **_PRICE
    )
    budget: float | None = _setting(
        None,
        "most the whole run may cost",
        "--budget",
        key="budget",
        env="RPD_BUDGET",
        metavar="USD",
        parse=_money,
        **_MONEY,
    )
    max_runtime_seconds: float | None = _setting(
        None, "most a node may take", "--max-runtime-minutes", metavar="MIN", parse=_minutes, **_PRICE
    )
    gpu_id: str | None = _setting(
        None, "the GPU for every node, with --datacenter-id", "--gpu-id", metavar="ID", **_PRICE
    )
    datacenter_id: str | None = _setting(
        None, "the data centre for every node, with --gpu-id", "--datacenter-id", metavar="ID", **_PRICE
    )
    max_gpu_price: float | None = _setting(
        None, "most a pod may cost per hour", "--max-gpu-price", metavar="USD", parse=_money, **_PRICE
    )
    cloud: str | None = _setting(
        None, "which cloud", "--cloud", choices=("secure", "community", "any"), **_PRICE
    )
    fallback_cloud: str | None = _setting(
        None,
        "the cloud to try when the first has nothing",
        "--fallback-cloud-type",
        choices=("secure", "community"),
        **_PRICE,
    )
    ssh_ready_seconds: float | None = _setting(
        None,
        "how long a pod may take until it runs commands",
        "--ssh-ready-timeout-sec",
        metavar="SEC",
        parse=parse_duration,
        **_PRICE,
    )
    wait_for_stock: float | None = _setting(
        None,
        "keep asking for a pod while everything is sold out",
        "--wait-for-stock",
        key="wait_for_stock",
        metavar="DURATION",
        parse=parse_duration,
        **_MONEY,
    )
    force_fresh: bool = _setting(
        False,
        "use no pod that an earlier run stopped to be used again",
        "--force-fresh",
        action="store_true",
        **_MONEY,
    )
    keep_failed: float | None = _setting(
        None,
        "keep the pod of a node that did not pass for so long; then it deletes itself",
        "--keep-failed",
        key="keep_failed",
        metavar="DURATION",
        parse=parse_duration,
        **_MONEY,
    )
    keep_unverified: float = _setting(
        7200.0,
        "how long to keep a pod whose results could not be fetched whole (0: not at all)",
        key="keep_unverified",
        parse=_seconds,
    )
    watchdog_linger: float = _setting(
        900.0,
        "how long a pod outlives its last command and rpd itself before it deletes itself",
        key="watchdog_linger",
        parse=parse_duration,
    )
    watchdog_grace: float = _setting(
        300.0,
        "how long after its cap a pod deletes itself that rpd has not released",
        key="watchdog_grace",
        parse=parse_duration,
    )
    telemetry_interval: float = _setting(
        5.0,
        "how often a pod tells how busy it is (0: never)",
        key="telemetry_interval",
        parse=_seconds,
    )
    confirm_above_usd: float = _setting(
        10.0,
        "ask before a run that may cost more",
        key="confirm_above_usd",
        env="RPD_CONFIRM_ABOVE_USD",
        parse=_money,
    )
    balance_interval: float = _setting(
        60.0,
        "how often to look at the credit of the account while a run goes on (0: never)",
        key="balance_interval",
        parse=_seconds,
    )
    stage_limit_mb: int = _setting(
        2000,
        "most that staged_dir may send of a project, in MB",
        "--stage-limit-mb",
        key="stage_limit_mb",
        metavar="MB",
        parse=_positive_int,
        **_RUN,
    )
    job_defaults: Mapping[str, Any] = _setting({}, "defaults for the fields of a job", key="job")
    ssh: Mapping[str, Any] = _setting(
        {"give_up_after": 300.0},
        "SSH connections: give_up_after is how long a lost one is tried again before its node fails",
        key="ssh",
    )

    # Output.
    verbose: int = _setting(
        0,
        "say more; twice for more still",
        "-v",
        "--verbose",
        action="count",
        commands=LOADING,
        group="output",
    )
    quiet: int = _setting(0, "say less", "-q", "--quiet", action="count", **_SHOW)
    capture: bool = _setting(
        True, "show the output of all nodes as it comes", "-s", action="store_false", **_RUN
    )
    as_json: bool = _setting(
        False,
        "print JSON",
        "--json",
        action="store_true",
        commands=(
            *("collect", "ps", "gpus", "estimate", "doctor"),
            *("runs", "show", "diff", "events", "report", "verify"),
        ),
        group="output",
    )
    full_trace: bool = _setting(
        False, "show rpd's own frames in tracebacks", "--full-trace", action="store_true", **_SHOW
    )
    traceback: str = _setting(
        "auto",
        "how failures are shown: auto and short (the user's frames), long (with source), line, native (as Python), no",
        "--tb",
        choices=("auto", "long", "short", "line", "native", "no"),
        **_RUN,
    )
    show_locals: bool = _setting(
        False, "show local variables in tracebacks", "-l", "--showlocals", action="store_true", **_RUN
    )
    show_capture: str = _setting(
        "all",
        "whether failures are shown with the end of their logs",
        "--show-capture",
        choices=("no", "log", "all"),
        **_RUN,
    )
    no_header: bool = _setting(False, "leave the header out", "--no-header", action="store_true", **_RUN)
    no_summary: bool = _setting(
        False, "leave the short summary out", "--no-summary", action="store_true", **_RUN
    )
    print_run_dir: bool = _setting(
        False,
        "print the run folder on a line of its own at the end",
        "--print-run-dir",
        action="store_true",
        **_RUN,
    )
    junit_xml: str | None = _setting(
        None, "write a report in JUnit's format", "--junitxml", "--junit-xml", metavar="PATH", **_RUN
    )
    html: str | None = _setting(
        None,
        "write a report as one HTML file",
        "--html",
        metavar="PATH",
        commands=("run", "report"),
        group="output",
    )
    sort: str = _setting(
        "",
        "order tables of results by a metric, a parameter, seconds or usd (NAME:desc: the greatest first)",
        "--sort",
        key="sort",
        metavar="NAME",
        parse=_ranking,
        commands=("run", "report", "show"),
        group="output",
    )
    report_chars: str = _setting(
        "fE",
        "list these outcomes at the end: f failed, E error, s skipped, x xfailed, X xpassed, p passed, "
        "P passed with their output, w notices, a all but passed, A all, N none",
        "-r",
        metavar="CHARS",
        parse=_report_chars,
        **_RUN,
    )
    durations: int | None = _setting(
        None,
        "list the N slowest phases of nodes at the end (0: all)",
        "--durations",
        metavar="N",
        parse=_count,
        **_RUN,
    )
    durations_min: float = _setting(
        0.005,
        "leave phases out of --durations that took less",
        "--durations-min",
        metavar="SEC",
        parse=_seconds,
        **_RUN,
    )
    costs: int | None = _setting(
        None,
        "list the N dearest nodes at the end (0: all)",
        "--costs",
        metavar="N",
        parse=_count,
        **_RUN,
    )
    color: str = _setting("auto", "whether to use colour", "--color", choices=("auto", "yes", "no"), **_SHOW)

    # Of single commands.
    refresh: bool = _setting(
        False,
        "ask RunPod for prices and stock now, not up to an hour ago",
        "--refresh",
        action="store_true",
        commands=("gpus", "estimate", "doctor", "run"),
        group="money",
    )
    per_node: bool = _setting(
        False,
        "show which fixtures each node uses",
        "--per-node",
        action="store_true",
        commands=("fixtures",),
        group="output",
    )
    most_runs: int = _setting(
        20,
        "how many runs to list (0: all)",
        "-n",
        metavar="N",
        parse=_count,
        commands=("runs",),
        group="output",
    )
    as_csv: bool = _setting(
        False, "print CSV", "--csv", action="store_true", commands=("report",), group="output"
    )
    of_run: str = _setting(
        "",
        "the run, by its id or how that begins (default: the newest that has the node)",
        "--run",
        metavar="RUN",
        commands=("logs", "ssh"),
        group="selection",
    )
    follow: bool = _setting(
        False,
        "go on printing as the log grows",
        "-f",
        "--follow",
        action="store_true",
        commands=("logs",),
        group="output",
    )
    forwards: tuple[tuple[int, int], ...] = _setting(
        (),
        "forward a port of this machine to one of the pod (default: the same)",
        "--forward",
        metavar="PORT[:REMOTE]",
        parse=_forward,
        action="append",
        commands=("ssh",),
        group="running",
    )
    print_command: bool = _setting(
        False,
        "print the command line for plain ssh instead",
        "--print",
        action="store_true",
        commands=("ssh",),
        group="output",
    )
    keep_disk: bool = _setting(
        False,
        "stop pods and keep (and pay for) their volumes, do not delete them",
        "--keep-disk",
        action="store_true",
        commands=("stop",),
        group="running",
    )
    output_file: str | None = _setting(
        None,
        "write to this file, not to standard output",
        "--output",
        metavar="FILE",
        commands=("capture-env",),
        group="output",
    )
    port: int = _setting(
        0,
        "the port to listen on (default: any free one)",
        "--port",
        metavar="PORT",
        parse=_port,
        commands=("emulator",),
    )

    # Common to every command; read before the rest.
    plugins: tuple[str, ...] = _setting(
        (),
        "load this plugin (no:NAME: do not)",
        "-p",
        env="RPD_PLUGINS",
        key="plugins",
        metavar="NAME",
        action="append",
        commands=LOADING,
        group="configuration",
    )
    overrides: tuple[tuple[str, str], ...] = _setting(
        (),
        "set a key of [tool.rpd]",
        "-o",
        "--override",
        metavar="KEY=VALUE",
        parse=_pair,
        action="append",
        commands=LOADING,
        group="configuration",
    )
    addopts: tuple[str, ...] = _setting((), "arguments put before those of the command line", key="addopts")
    show_config: bool = _setting(
        False,
        "print every setting, its value and where it came from",
        "--show-config",
        action="store_true",
        commands=LOADING,
        group="configuration",
    )
    trace_config: bool = _setting(
        False,
        "print the root folder, the configuration file, and the plugins and conftests that were loaded",
        "--trace-config",
        action="store_true",
        commands=LOADING,
        group="configuration",
    )

    @property
    def runs_path(self) -> Path:
        """The folder of the run folders."""
        return self.rootdir / self.runs_dir

    @property
    def is_stepwise(self) -> bool:
        """Whether the run stops where something does not pass, and the next one begins there."""
        return self.stepwise or self.stepwise_skip or self.stepwise_reset

    @property
    def asks_memory(self) -> bool:
        """Whether which nodes run, or in which order, depends on what earlier runs left."""
        return bool(self.last_failed) or self.failed_first or self.new_first or self.is_stepwise

    @property
    def failure_limit(self) -> int | None:
        """After how many non-passes nothing new starts."""
        limits = [1] if self.exitfirst else [self.maxfail] if self.maxfail else []
        if self.is_stepwise:
            limits.append(2 if self.stepwise_skip else 1)
        return min(limits, default=None)


def settings() -> dict[str, tuple[Field[Any], Setting]]:
    """Return every field of Config that is a setting, by name, in order."""
    return {f.name: (f, f.metadata["setting"]) for f in fields(Config) if "setting" in f.metadata}


class OptionGroup:
    """What ``rpd_addoption`` adds to: options of one plugin."""

    def __init__(self, parser: argparse.ArgumentParser, plugin: str) -> None:
        self._group = parser.add_argument_group(f"plugin {plugin}")
        self._plugin = plugin
        self.defaults: dict[str, Any] = {}
        """Destination name to the value of an option that is not given."""

    def add(self, *flags: str, **keywords: Any) -> None:
        """Add an option, with argparse's own keywords; its value is ``config.plugin_options[dest]``.

        Raises UsageError where it is not an option, or one of that name exists.
        """
        if not all(flag.startswith("-") for flag in flags) or not flags:
            raise UsageError(
                f"plugin {self._plugin}: an option begins with -, got {', '.join(flags) or 'no name'}"
            )
        switch = {"store_true": False, "store_false": True}.get(str(keywords.get("action")))
        default = keywords.pop("default", switch)
        try:
            # What is not given stays away, so that a default does not overrule what ``addopts`` gave.
            action = self._group.add_argument(*flags, default=argparse.SUPPRESS, **keywords)
        except (argparse.ArgumentError, TypeError, ValueError) as error:
            raise UsageError(f"plugin {self._plugin}: cannot add the option {flags[0]}: {error}") from error
        self.defaults[action.dest] = default


# --- files ----------------------------------------------------------------------------------------------------------


def find_root(start: Path) -> tuple[Path, Path | None]:
    """Return the root folder and its configuration file: the nearest ``rpd.toml`` or ``[tool.rpd]`` upwards."""
    for folder in (start, *start.parents):
        own = folder / "rpd.toml"
        if own.is_file():
            return folder, own
        project = folder / "pyproject.toml"
        if project.is_file() and "rpd" in _tools(_read_toml(project)):
            return folder, project
    return start, None


def read_file(path: Path | None) -> dict[str, Any]:
    """Return the settings in a configuration file by key. Raises UsageError for unknown keys and wrong types."""
    if path is None:
        return {}
    table = _read_toml(path)
    if path.name == "pyproject.toml":
        table = _tools(table).get("rpd", {})
    where = path.name if path.name == "rpd.toml" else f"{path.name} [tool.rpd]"
    if not isinstance(table, dict):
        raise UsageError(f"{where}: expected a table, got {table!r}")
    return {key: check_value(key, value, where) for key, value in table.items()}


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not valid TOML: {error}") from error
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error


def _tools(table: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the tables of tools in a ``pyproject.toml``; one where ``tool`` is no table has none."""
    tools = table.get("tool")
    return tools if isinstance(tools, dict) else {}


def keys() -> dict[str, str]:
    """Return key in the configuration file -> name of the field."""
    return {setting.key: name for name, (_, setting) in settings().items() if setting.key}


def check_value(key: str, value: Any, where: str) -> Any:
    """Return ``value`` as the type the field of ``key`` has. Raises UsageError."""
    known = keys()
    if key not in known:
        close = difflib.get_close_matches(key, known, n=1)
        meant = f" Did you mean {close[0]!r}?" if close else f" The keys are {', '.join(sorted(known))}."
        raise UsageError(f"{where}: unknown key {key!r}.{meant}")
    declared, setting = settings()[known[key]]
    kind = str(declared.type)
    if setting.parse is not None and isinstance(value, str | int | float) and not isinstance(value, bool):
        return parse_text(setting, str(value), f"{where}: {key}")
    if kind.startswith("tuple[str"):
        if isinstance(value, str):
            value = _split(value, where) if key == "addopts" else [value]
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return tuple(value)
        raise UsageError(f"{where}: {key}: expected a list of strings, got {value!r}")
    wanted: tuple[type, ...] = {
        "bool": (bool,),
        "int": (int,),
        "float": (float, int),
        "Mapping": (dict,),
    }.get(kind.partition("[")[0], (str,))
    if not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted):
        names = {"bool": "true or false", "int": "a whole number", "float": "a number", "Mapping": "a table"}
        raise UsageError(
            f"{where}: {key}: expected {names.get(kind.partition('[')[0], 'a string')}, got {value!r}"
        )
    if not isinstance(value, dict):
        return value
    return MappingProxyType(_ssh_table(value, f"{where}: ssh") if key == "ssh" else value)


def _ssh_table(given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the settings of SSH connections with their defaults, in seconds. Raises UsageError."""
    defaults: Any = settings()["ssh"][0].default_factory
    known: Mapping[str, Any] = defaults()
    for name in given:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            meant = f"Did you mean {close[0]!r}?" if close else f"The keys are {', '.join(sorted(known))}."
            raise UsageError(f"{where}: unknown key {name!r}. {meant}")
    parsed = {}
    for name, value in given.items():
        try:
            parsed[name] = parse_duration(value)
        except (ValueError, TypeError) as error:
            raise UsageError(f"{where}.{name}: {error}, got {value!r}") from error
    return {**known, **parsed}


def _split(text: str, where: str) -> list[str]:
    """Return the arguments in one text, as a shell would see them. Raises UsageError."""
    import shlex  # few write ``addopts`` as one text

    try:
        return shlex.split(text)
    except ValueError as error:
        raise UsageError(f"{where}: addopts: {error}, got {text!r}") from None


def override_value(key: str, text: str) -> Any:
    """Return the value of ``-o key=text``: TOML where it parses, else the text itself. Raises UsageError."""
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    return check_value(key, value, "-o")


# --- putting it together --------------------------------------------------------------------------------------------


def make_config(
    *,
    command: str,
    rootdir: Path,
    invocation_dir: Path,
    config_file: Path | None,
    file_values: Mapping[str, Any],
    flags: Mapping[str, Any],
    args: Sequence[str],
    environ: Mapping[str, str] | None = None,
    plugin_options: Iterable[tuple[str, Any]] = (),
) -> Config:
    """Merge file, environment and flags (``flags``: field name -> value, only those given) into a Config."""
    environment = os.environ if environ is None else environ
    by_key = {**file_values, **{key: override_value(key, text) for key, text in flags.get("overrides", ())}}
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for name, (declared, setting) in settings().items():
        if setting.key in by_key:
            values[name] = by_key[setting.key]
            overridden = any(key == setting.key for key, _ in flags.get("overrides", ()))
            sources[name] = "flag -o" if overridden or config_file is None else config_file.name
        if setting.env and environment.get(setting.env):
            text = environment[setting.env]
            values[name] = (
                tuple(text.split(","))
                if "tuple" in str(declared.type)
                else parse_text(setting, text, setting.env)
            )
            sources[name] = f"environment {setting.env}"
        if name in flags:
            given = flags[name]
            values[name] = (*values.get(name, ()), *given) if setting.action == "append" else given
            sources[name] = f"flag {setting.flags[0]}"
    return Config(
        command=command,
        rootdir=rootdir,
        invocation_dir=invocation_dir,
        config_file=config_file,
        args=tuple(args),
        sources=MappingProxyType(sources),
        plugin_options=MappingProxyType(dict(plugin_options)),
        **values,
    )


def parse_text(setting: Setting, text: str, where: str) -> Any:
    """Return the value of ``text`` for that setting. Raises UsageError that names ``where``."""
    if setting.parse is None:
        return text
    try:
        return setting.parse(text)
    except ValueError as error:
        raise UsageError(f"{where}: {error}, got {text!r}") from error
