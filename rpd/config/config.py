"""Config: every setting of one invocation, in sections, each declared once as a field.

The order of the fields is that of ``--help`` and ``--show-config``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

from rpd.config import texts
from rpd.config.setting import Section, Setting, in_file
from rpd.values.frozen import EMPTY, declared, frozen

if TYPE_CHECKING:
    from rpd.values.endpoint import Endpoint

SELECTING = ("collect", "run", "fixtures", "estimate", "plan", "doctor")
LOADING = (*SELECTING, "markers")
"""Commands that load the plugins of the user."""
_PAST = ("runs", "show", "diff", "events", "report", "verify", "query")
LOOKING_BACK = ("resume", *_PAST, "logs")
PODS = ("ssh", "ps", "stop", "gc", "audit")
"""Commands for past runs, and for pods outside a run."""
TELLING = (
    "collect",
    "fixtures",
    "markers",
    "ps",
    "gc",
    "volume",
    "audit",
    "gpus",
    "estimate",
    "plan",
    "advise",
    "doctor",
    "capture-env",
    *_PAST,
)
"""Commands that can print JSON."""

selecting = Section("selection", *SELECTING)
running = Section("running", "run")
searching = Section("search", "run")
spending = Section("money", "run")
pricing = Section("money", "run", "estimate", "plan", "doctor")
showing = Section("output", *SELECTING)
loading = Section("configuration", *LOADING)
listening = Section("options", "emulator")
starting = Section("options", "init")


@frozen
class CollectSettings:
    """The files to collect, and their parameters."""

    # Formatted by hand as a table: a setting is a line or two.

    deploypaths: tuple[str, ...] = in_file((), "folders to collect from if you give no path")
    deploy_files: tuple[str, ...] = in_file(("deploy_*.py",), "patterns of file names to collect")
    conftest: str = starting.option(
        "conftest.py",
        "name of rpd's conftest files, if conftest.py belongs to pytest",
        "--conftest",
        metavar="NAME",
        parse=texts.python_file,
        key=True,
    )
    ignore: tuple[str, ...] = selecting.several(
        "do not collect this path", "--ignore", metavar="PATH", key=True
    )
    ignore_glob: tuple[str, ...] = selecting.several(
        "do not collect paths that match GLOB", "--ignore-glob", metavar="GLOB", key=True
    )
    markers: tuple[str, ...] = in_file((), "marks you may use in addition to the built-in ones")
    strict_markers: bool = in_file(True, "reject marks that are not registered")
    strict_parametrization_ids: bool = in_file(True, "reject duplicate ids")
    empty_parameter_set_mark: str = in_file(
        "fail_at_collect", "the meaning of an empty parameter set: fail_at_collect, skip or xfail"
    )
    extra_gpu_ids: tuple[str, ...] = in_file((), "GPU ids to accept in addition to those rpd knows")
    continue_on_collection_errors: bool = selecting.switch(
        "run the collected nodes although some files have errors", "--continue-on-collection-errors"
    )
    var: tuple[tuple[str, str], ...] = running.several(
        "set a variable of the deploy files",
        "--var",
        metavar="NAME=VALUE",
        parse=texts.pair,
        commands=SELECTING,
    )
    sweep: tuple[tuple[str, tuple[str, ...]], ...] = running.several(
        "run once for each value of a variable",
        "--sweep",
        metavar="NAME=A,B|NAME=1..5",
        parse=texts.sweep,
        commands=SELECTING,
    )
    vars_file: str | None = running.option(
        None, "set variables from a .toml or .json file", "--vars-file", metavar="FILE", commands=SELECTING
    )
    variables: Mapping[str, Any] = in_file(EMPTY, "variables of the deploy files")
    job_defaults: Mapping[str, Any] = in_file(EMPTY, "defaults for the fields of a job", key="job")

    # fmt: on


@frozen
class SelectSettings:
    """Which of the collected nodes run, and in which order."""

    # A table, laid out by hand: a setting is a line or two.
    # fmt: off

    keyword: str = selecting.option(
        "", "only nodes whose names match, e.g. 'seed42 and not slow'", "-k", metavar="EXPR"
    )
    markexpr: str = selecting.option(
        "", "only nodes with these marks, e.g. 'nightly and not slow'", "-m", metavar="EXPR"
    )
    deselect: tuple[str, ...] = selecting.several("leave out nodes whose id begins with ID", "--deselect", metavar="ID")
    last_failed: tuple[str, ...] = selecting.option(
        (), "only nodes that did not pass when they last ran (CAUSES, e.g. infra,lost: only for one of these)",
        "--lf", "--last-failed", metavar="CAUSES", parse=texts.causes, const="all"
    )
    failed_first: bool = selecting.switch(
        "run first the nodes that did not pass when they last ran", "--ff", "--failed-first"
    )
    new_first: bool = selecting.switch(
        "run first the nodes that never ran, then the others, recently changed files first", "--nf", "--new-first"
    )
    last_failed_no_failures: str = selecting.option(
        "none", "what --lf runs if nothing failed", "--lfnf", "--last-failed-no-failures",
        choices=("all", "none")
    )
    stepwise: bool = selecting.switch(
        "stop at the first node that does not pass, and start there next time", "--sw", "--stepwise"
    )
    stepwise_skip: bool = selecting.switch(
        "like --sw, but skip the first node that does not pass", "--sw-skip", "--stepwise-skip"
    )
    stepwise_reset: bool = selecting.switch(
        "like --sw, but start at the first node", "--sw-reset", "--stepwise-reset"
    )
    changed: bool = running.switch(
        "skip nodes that passed before, if code, files, parameters and image have not changed since",
        "--changed"
    )
    no_needs: bool = selecting.switch(
        "do not run the nodes that selected nodes need: use the results of their last pass", "--no-needs"
    )
    explain: bool = running.switch("with --changed: say why each node runs or not", "--explain")

    # fmt: on

    @property
    def is_stepwise(self) -> bool:
        """Whether the run stops at a node that does not pass, and the next run starts there."""
        return self.stepwise or self.stepwise_skip or self.stepwise_reset

    @property
    def asks_memory(self) -> bool:
        """Whether the choice or the order of nodes depends on earlier runs."""
        return bool(self.last_failed) or self.failed_first or self.new_first or self.is_stepwise


@frozen
class RunSettings:
    """How a run works: where, how wide, and when it stops."""

    # A table, laid out by hand: a setting is a line or two.
    # fmt: off

    dry_run: bool = running.switch("print what would happen: no network, no key, no pod", "--dry-run")
    dry_run_live: bool = running.switch(
        "a dry run with current prices, stock, balance and image tags; needs a key, creates nothing",
        "--dry-run=live"
    )
    setup_plan: bool = running.switch(
        "a dry run that shows when each fixture is set up and torn down", "--setup-plan"
    )
    setup_show: bool = running.switch("show when each fixture is set up and torn down", "--setup-show")
    setup_only: bool = running.switch(
        "like --setup-show, but run no job: rent pods, stage, and release them", "--setup-only"
    )
    local: bool = running.switch("run on an emulator of RunPod on this machine, for free", "--local")
    gpus: bool = running.switch(
        "emulator only: pods get this machine's NVIDIA GPUs, one pod at a time each", "--gpus",
        commands=("run", "emulator")
    )
    python: str | None = running.option(
        None, "emulator only: the Python environment that pods see: an interpreter, a venv, a conda environment",
        "--python", metavar="PATH", commands=("run", "emulator")
    )
    pod_memory_mb: int | None = running.option(
        None, "emulator only: the memory of a pod, e.g. 8GB; a process above it is killed", "--pod-memory",
        metavar="SIZE", parse=texts.megabytes, commands=("run", "emulator")
    )
    pod_processes: int | None = running.option(
        None, "emulator only: how many processes a pod may have", "--pod-processes", metavar="N",
        parse=texts.positive_int, commands=("run", "emulator")
    )
    pod_disk_mb: int | None = running.option(
        None, "emulator only: the container disk of a pod, e.g. 20GB (it is kept in memory)", "--pod-disk",
        metavar="SIZE", parse=texts.megabytes, commands=("run", "emulator")
    )
    width: int = running.option(
        1, "how many nodes run at a time", "-n", metavar="N", parse=texts.positive_int, env="RPD_N", key="n"
    )
    exitfirst: bool = running.switch("stop at the first node that does not pass", "-x", "--exitfirst")
    maxfail: int | None = running.option(
        None, "stop after N nodes that did not pass", "--maxfail", metavar="N", parse=texts.positive_int
    )
    maxfail_action: str = running.option(
        "drain", "what to do with running nodes then", "--maxfail-action", choices=("drain", "kill")
    )
    runs_dir: str = running.option(
        "rpd-runs", "folder for run folders, relative to the root folder", "--runs-dir", metavar="DIR",
        env="RPD_RUNS_DIR", key=True, commands=("run", "plan", "advise", *LOOKING_BACK, *PODS, "import")
    )

    # fmt: on

    @property
    def runs_jobs(self) -> bool:
        """Whether jobs run on pods: no dry run, and not their fixtures alone."""
        return not self.dry_run and not self.setup_only

    @property
    def is_offline(self) -> bool:
        """Whether no API is called: neither RunPod nor an emulator."""
        return self.dry_run and not self.dry_run_live


@frozen
class SearchSettings:
    """How studies go: the jobs with a mark ``search``."""

    # A table, laid out by hand: a setting is a line or two.
    # fmt: off

    trials: int | None = searching.option(
        None, "the number of trials of each study", "--trials", metavar="N", parse=texts.positive_int
    )
    search_seed: int | None = searching.option(
        None, "the seed of each study's sampler", "--search-seed", metavar="N", parse=texts.count
    )
    continue_study: str | None = searching.option(
        None, "start from the results of an earlier run's studies", "--continue-study", metavar="RUN"
    )
    trial: str | None = searching.option(
        None, "rerun one trial of an earlier study, with its values", "--trial", metavar="RUN:TRIAL"
    )

    # fmt: on


@frozen
class MoneySettings:
    """The limits of a run's cost, and when rpd asks. Money is USD, durations are seconds."""

    # A table, laid out by hand: a setting is a line or two.
    # fmt: off

    yes: bool = spending.switch(
        "do not ask before spending money or deleting something", "--yes", "-y",
        commands=("run", "resume", "gc", "stop", "volume", "estimate")
    )
    cost_cap_usd: float | None = pricing.option(
        None, "the most a node may cost", "--cost-cap-usd", metavar="USD", parse=texts.money
    )
    budget: float | None = spending.option(
        None, "the most the whole run may cost", "--budget", metavar="USD", parse=texts.money, env="RPD_BUDGET",
        key=True
    )
    max_runtime_seconds: float | None = pricing.option(
        None, "the longest a node may take, in minutes (or 1h30m)", "--max-runtime-minutes", metavar="MIN",
        parse=texts.minutes
    )
    max_gpu_price: float | None = pricing.option(
        None, "the most a pod may cost per hour", "--max-gpu-price", metavar="USD", parse=texts.money
    )
    wait_for_stock: float | None = spending.option(
        None, "keep trying for this long (30m; 30 is seconds) while every offer is sold out", "--wait-for-stock",
        metavar="DURATION", parse=texts.duration, key=True
    )
    confirm_above_usd: float = in_file(
        10.0, "ask before a run that may cost more than this", parse=texts.money, env="RPD_CONFIRM_ABOVE_USD"
    )
    policy: Mapping[str, Any] = in_file(EMPTY, "limits that no flag can lift, checked before money is spent")
    balance_interval: float = in_file(
        60.0, "how often to check the balance of the account during a run (0: never)", parse=texts.seconds
    )
    refresh: bool = spending.switch(
        "ask RunPod for current prices and stock (default: up to an hour old)", "--refresh",
        commands=("gpus", "estimate", "plan", "doctor", "run")
    )

    # fmt: on


@frozen
class PodSettings:
    """Which pods are rented, and how long they live. Durations are seconds."""

    # A table, laid out by hand: a setting is a line or two.
    # fmt: off

    lifecycle: str = in_file(
        "sdk", "how to rent pods: sdk (GraphQL), rest (REST v2) or auto (whichever answers)", parse=texts.lifecycle,
        env="RPD_LIFECYCLE"
    )
    gpu_id: str | None = pricing.option(
        None, "the GPU for every node, with --datacenter-id", "--gpu-id", metavar="ID"
    )
    datacenter_id: str | None = pricing.option(
        None, "the data centre for every node, with --gpu-id", "--datacenter-id", metavar="ID"
    )
    cloud: str | None = pricing.option(
        None, "which of RunPod's clouds to rent from", "--cloud", parse=texts.cloud,
        choices=("secure", "community", "any"), commands=("run", "estimate", "plan", "doctor", "gpus")
    )
    fallback_cloud: str | None = pricing.option(
        None, "the cloud to try if the first has nothing to offer", "--fallback-cloud-type",
        parse=texts.cloud, choices=("secure", "community")
    )
    ssh_ready_seconds: float | None = pricing.option(
        None, "how long a pod may take to become ready for commands, in seconds (or 10m)",
        "--ssh-ready-timeout-sec", metavar="SEC", parse=texts.duration
    )
    force_fresh: bool = spending.switch(
        "do not reuse stopped pods of earlier runs: delete them", "--force-fresh"
    )
    pin_images: bool = spending.switch(
        "pin each image to the digest that its tag has when the run starts", "--pin-images"
    )
    keep_failed: float | None = spending.option(
        None, "keep the pod of a node that did not pass for this long (30m; 30 is seconds); then it deletes itself",
        "--keep-failed", metavar="DURATION", parse=texts.duration, key=True
    )
    keep_unverified: float = in_file(
        7200.0, "how long to keep a pod whose results could not be pulled completely (0: not at all)",
        parse=texts.seconds
    )
    watchdog_linger: float = in_file(
        900.0, "how long a pod without a running command and without rpd waits before it deletes itself",
        parse=texts.duration
    )
    watchdog_grace: float = in_file(
        300.0, "how long a pod waits past its cap while rpd is connected before it deletes itself",
        parse=texts.duration
    )
    telemetry_interval: float = in_file(5.0, "how often a pod reports how busy it is (0: never)", parse=texts.seconds)
    stage_limit_mb: int = running.option(
        2000, "the most that staged_dir may send of a project, in MB", "--stage-limit-mb", metavar="MB",
        parse=texts.positive_int, key=True
    )
    ssh: Mapping[str, Any] = in_file(
        MappingProxyType({"give_up_after": 300.0}),
        "SSH: give_up_after is how long to retry a lost connection before its node fails"
    )

    # fmt: on


@frozen
class OutputSettings:
    """The output: screen and files."""

    # A table, laid out by hand: a setting is a line or two.
    # fmt: off

    verbose: int = showing.counter("print more; twice for even more", "-v", "--verbose", commands=LOADING)
    quiet: int = showing.counter("print less", "-q", "--quiet")
    capture: bool = running.option(True, "show the output of all nodes as it arrives", "-s", action="store_false")
    as_json: bool = showing.switch("print JSON", "--json", commands=TELLING)
    graph: str = showing.option(
        "", "print which nodes need which, as a tree or a Mermaid diagram", "--graph", choices=("tree", "mermaid"),
        const="tree", commands=("collect",)
    )
    full_trace: bool = showing.switch("show rpd's own frames in tracebacks", "--full-trace")
    traceback: str = running.option(
        "auto", "how to show failures: auto and short (your frames), long (with source), line, native (as "
        "Python), no", "--tb", choices=("auto", "long", "short", "line", "native", "no")
    )
    show_locals: bool = running.switch("show local variables in tracebacks", "-l", "--showlocals")
    show_capture: str = running.option(
        "all", "whether to show the end of its log with each failure", "--show-capture",
        choices=("no", "log", "all")
    )
    no_header: bool = running.switch("leave out the header", "--no-header")
    no_summary: bool = running.switch("leave out the short summary", "--no-summary")
    print_run_dir: bool = running.switch("print the run folder on its own line, first and last", "--print-run-dir")
    junit_xml: str | None = running.option(
        None, "write a report in JUnit's format", "--junitxml", "--junit-xml", metavar="PATH"
    )
    html: str | None = showing.option(
        None, "write a report as one HTML file", "--html", metavar="PATH", commands=("run", "report")
    )
    sort: str = showing.option(
        "", "order tables of results by a metric, a parameter, seconds or usd (NAME:desc: largest first)",
        "--sort", metavar="NAME", parse=texts.ranking, key=True, commands=("run", "report", "show")
    )
    report_chars: str = running.option(
        "fE",
        "list these outcomes at the end: f failed, E error, s skipped, x xfailed, X xpassed, u pruned, p passed, "
        "P passed with their output, w notices, a all but passed, A all, N none",
        "-r", metavar="CHARS", parse=texts.report_chars
    )
    durations: int | None = running.option(
        None, "list the N slowest phases of nodes at the end (0: all)", "--durations", metavar="N",
        parse=texts.count
    )
    durations_min: float = running.option(
        0.005, "leave out of --durations the phases that took less than SEC", "--durations-min", metavar="SEC",
        parse=texts.seconds
    )
    costs: int | None = running.option(
        None, "list the N most expensive nodes at the end (0: all)", "--costs", metavar="N", parse=texts.count
    )
    notify: tuple[str, ...] = running.several(
        "notify desktop, an https:// webhook or an Apprise URL of failures, a budget nearly spent, pods left behind "
        "and the end", "--notify", metavar="TARGET", env="RPD_NOTIFY", key=True, is_address=True
    )
    color: str = showing.option("auto", "when to use colour", "--color", choices=("auto", "yes", "no"))

    # fmt: on


@frozen
class NoOptions:
    """The options of a command that adds none; other commands declare such a class in their module."""


@frozen
class LoadingSettings:
    """Plugins and overrides: read before the rest."""

    # A table, laid out by hand: a setting is a line or two.
    # fmt: off

    plugins: tuple[str, ...] = loading.several(
        "load this plugin (no:NAME: do not load it)", "-p", metavar="NAME", env="RPD_PLUGINS", key=True
    )
    overrides: tuple[tuple[str, str], ...] = loading.several(
        "set a key of [tool.rpd]", "-o", "--override", metavar="KEY=VALUE", parse=texts.pair
    )
    addopts: tuple[str, ...] = in_file((), "arguments to put before those of the command line")
    show_config: bool = loading.switch("print every setting, its value and where it came from", "--show-config")
    trace_config: bool = loading.switch(
        "print the root folder, the configuration file, and the loaded plugins and conftests",
        "--trace-config"
    )

    # fmt: on


SECTIONS: Mapping[str, type] = {
    "collect": CollectSettings,
    "select": SelectSettings,
    "run": RunSettings,
    "search": SearchSettings,
    "money": MoneySettings,
    "pods": PodSettings,
    "output": OutputSettings,
}
"""Field of Config -> the class of a section for all commands, in the order of ``--help`` and ``--show-config``."""


@cache
def sections(own: type = NoOptions) -> Mapping[str, type]:
    """Return the sections of a command whose own options are declared by the class ``own``."""
    return {**SECTIONS, "own": own, "loading": LoadingSettings}


@frozen
class Config:
    """The settings of one invocation, in sections. Paths are absolute unless said otherwise."""

    command: str
    rootdir: Path
    invocation_dir: Path
    config_file: Path | None = None
    args: tuple[str, ...] = ()
    """Paths and node ids given on the command line, as typed."""
    argv: tuple[str, ...] = ()
    """The command line: the command, its flags and arguments; what makes the same invocation again."""
    sources: Mapping[str, str] = EMPTY
    """Field name -> source of its value: ``flag -n``, ``environment RPD_N``, ``rpd.toml``; defaults are not in it."""
    api: Endpoint | None = None
    """The server that stands for RunPod in this invocation; None: the one of the environment, with the user's key."""
    plugin_options: Mapping[str, Any] = EMPTY
    """Values of the options that plugins added, by their destination name."""

    collect: CollectSettings = CollectSettings()
    select: SelectSettings = SelectSettings()
    run: RunSettings = RunSettings()
    search: SearchSettings = SearchSettings()
    money: MoneySettings = MoneySettings()
    pods: PodSettings = PodSettings()
    output: OutputSettings = OutputSettings()
    own: Any = NoOptions()
    """The options that only this command has; its module declares their class."""
    loading: LoadingSettings = LoadingSettings()

    @property
    def own_kind(self) -> type:
        """The class that declares the options only this command has."""
        return type(self.own)

    @property
    def runs_path(self) -> Path:
        """The folder of the run folders. No shell expands ``~`` in a file, and a folder of that name is a trap."""
        return self.rootdir / os.path.expanduser(self.run.runs_dir)  # noqa: PTH111 - leaves unknown users alone

    @property
    def error_limit(self) -> int | None:
        """After how many errors the collection stops and nothing runs."""
        return 1 if self.run.exitfirst else self.run.maxfail

    @property
    def failure_limit(self) -> int | None:
        """After how many nodes that did not pass nothing new starts."""
        limits = [] if self.error_limit is None else [self.error_limit]
        if self.select.is_stepwise:
            limits.append(2 if self.select.stepwise_skip else 1)
        return min(limits, default=None)

    @property
    def asks_above_usd(self) -> float | None:
        """Above which worst case (USD) a run asks before it starts; None: it does not ask."""
        never = self.money.yes or self.run.local or self.run.dry_run
        return None if never else self.money.confirm_above_usd


@cache
def settings(own: type = NoOptions) -> Mapping[str, Setting]:
    """Return every setting by name, in order, with those that ``own`` declares for a command."""
    known: dict[str, Setting] = {}
    for section in sections(own).values():
        known |= cast("Mapping[str, Setting]", declared(section))
    return known


@cache
def section_of(name: str, own: type = NoOptions) -> str:
    """Return the field of Config that holds the setting ``name``."""
    return next(field for field, section in sections(own).items() if name in declared(section))


def value_of(config: Config, name: str) -> Any:
    """Return the value of the setting ``name``."""
    return getattr(getattr(config, section_of(name, config.own_kind)), name)


def config_of(
    *, command: str, rootdir: Path, invocation_dir: Path, own: type = NoOptions, **values: Any
) -> Config:
    """Return a Config with these settings, by their own names; everything else has its default.

    ``own`` declares the options that only the command has. Raise TypeError for a name that is neither a setting nor a
    field of Config.
    """
    made: dict[str, dict[str, Any]] = {"own": {}}
    for name in [name for name in values if name in settings(own)]:
        made.setdefault(section_of(name, own), {})[name] = values.pop(name)
    built = {field: sections(own)[field](**fields) for field, fields in made.items()}
    return Config(command=command, rootdir=rootdir, invocation_dir=invocation_dir, **values, **built)
