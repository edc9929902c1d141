"""The options that only one command has: a class for each, named by its entry in ``commands``.

They stand apart from the commands, so that the parser, help and completion load none of them.
"""

from __future__ import annotations

from rpd.config import texts
from rpd.config.config import listening, running, selecting, showing
from rpd.config.setting import Section
from rpd.values.frozen import frozen

pricing = Section("money", "plan")

# Tables, laid out by hand: a setting is a line or two.
# fmt: off


@frozen
class ReportOptions:
    """The options that only ``rpd report`` has."""

    export: str | None = showing.option(
        None, "copy the artifacts of a run into a new folder, with a subfolder for each node", "--export",
        metavar="DIR", commands=("report",)
    )
    mean_over: tuple[str, ...] = showing.option(
        (), "print means over these parameters (default: seed)", "--over", metavar="A,B", parse=texts.names,
        commands=("report",)
    )
    where: str = selecting.option(
        "", "with --html: only nodes that match, such as 'lr < 0.01' (from all runs unless you name some)", "--where",
        metavar="EXPRESSION", commands=("report",)
    )
    as_csv: bool = showing.switch("print CSV", "--csv", commands=("report",))


@frozen
class RunsOptions:
    """The options that only ``rpd runs`` has."""

    most_runs: int = showing.option(
        20, "how many runs to list (0: all)", "-n", metavar="N", parse=texts.count, commands=("runs",)
    )
    all_nodes: bool = showing.switch("list the nodes of the runs", "--nodes", commands=("runs",))
    filters: tuple[tuple[str, str], ...] = selecting.several(
        "only runs with a node that has this value", "--filter", metavar="NAME=VALUE",
        parse=texts.pair, commands=("runs",)
    )
    since: float | None = selecting.option(
        None, "only runs newer than this, e.g. 7d", "--since", metavar="DURATION",
        parse=texts.age, commands=("runs",)
    )


@frozen
class DiffOptions:
    """The options that only ``rpd diff`` has."""

    all_facts: bool = showing.switch(
        "show all differences, including time and cost", "--all", commands=("diff",)
    )


@frozen
class EventsOptions:
    """The options that only ``rpd events`` has."""

    all_runs: bool = showing.switch("the events of all runs", "--all", commands=("events",))
    filters: tuple[tuple[str, str], ...] = selecting.several(
        "only events that have this value", "--filter", metavar="NAME=VALUE",
        parse=texts.pair, commands=("events",)
    )
    since: float | None = selecting.option(
        None, "only events newer than this, e.g. 7d", "--since", metavar="DURATION",
        parse=texts.age, commands=("events",)
    )


@frozen
class QueryOptions:
    """The options that only ``rpd query`` has."""

    as_csv: bool = showing.switch("print CSV", "--csv", commands=("query",))
    group_by: tuple[str, ...] = showing.option(
        (), "one row for each combination of these columns", "--by", metavar="A,B", parse=texts.names,
        commands=("query",)
    )
    show_columns: tuple[str, ...] = showing.option(
        (), "these columns; with --by also count, passed (and other outcomes), mean(x), std(x), median(x), min(x), "
        "max(x), sum(x)", "--show", metavar="A,B", parse=texts.names, commands=("query",)
    )
    sort_by: str = showing.option(
        "", "order by this column (NAME:desc: largest first)", "--sort", metavar="NAME", commands=("query",)
    )
    most_rows: int = showing.option(
        0, "print at most N rows (0: all)", "-n", "--limit", metavar="N", parse=texts.count, commands=("query",)
    )
    since: float | None = selecting.option(
        None, "only runs newer than this, e.g. 7d", "--since", metavar="DURATION",
        parse=texts.age, commands=("query",)
    )
    sql: str = showing.option(
        "", "query in SQL: SELECT … FROM nodes, params, metrics, vars, phases, events", "--sql", metavar="SELECT",
        commands=("query",)
    )
    engine: str = showing.option(
        "sqlite", "the SQL engine: sqlite, or duckdb if it is installed", "--engine",
        choices=("sqlite", "duckdb"), commands=("query",)
    )
    parquet: str | None = showing.option(
        None, "write the result to this Parquet file (needs pyarrow)", "--parquet", metavar="FILE", commands=("query",)
    )
    list_columns: bool = showing.switch("list all columns", "--columns", commands=("query",))
    of_run: str = selecting.option(
        "", "the run: its id, or the beginning of it (default: every run)", "--run",
        metavar="RUN", commands=("query",)
    )


@frozen
class AuditOptions:
    """The options that only ``rpd audit`` has."""

    since: float = showing.option(
        7 * 86400.0, "how far back to look (default: 7d)", "--since", metavar="DURATION", parse=texts.age,
        commands=("audit",)
    )
    by: tuple[str, ...] = showing.option(
        ("job",), "group by job, day, owner, author, run, node or gpu", "--by", metavar="A,B", parse=texts.names,
        commands=("audit",)
    )
    exit_code: bool = showing.switch(
        "exit with 1 if the bill has pods of no known run, or charges more than the runs estimated", "--exit-code",
        commands=("audit",)
    )


@frozen
class UiOptions:
    """The options that only ``rpd ui`` has."""

    open_browser: bool = showing.switch("open the page in your browser", "--open", commands=("ui",))
    port: int = listening.option(
        0, "the port to listen on (default: any free one)", "--port", metavar="PORT", parse=texts.port,
        commands=("ui",)
    )


@frozen
class LogsOptions:
    """The options that only ``rpd logs`` has."""

    of_run: str = selecting.option(
        "", "the run: its id, or the beginning of it (default: the newest, or the newest with the node)", "--run",
        metavar="RUN", commands=("logs",)
    )
    follow: bool = showing.switch("keep printing as the log grows", "-f", "--follow", commands=("logs",))
    last_lines: int | None = showing.option(
        None, "print only the last N lines", "-n", "--lines", metavar="N", parse=texts.whole, commands=("logs",)
    )


@frozen
class SshOptions:
    """The options that only ``rpd ssh`` has."""

    of_run: str = selecting.option(
        "", "the run: its id, or the beginning of it (default: the newest with the node)", "--run",
        metavar="RUN", commands=("ssh",)
    )
    rank: int | None = selecting.option(
        None, "of a cluster: the member with this rank (default: the first)", "--rank",
        metavar="N", parse=texts.whole, commands=("ssh",)
    )
    forwards: tuple[tuple[int, int], ...] = running.several(
        "forward a local port to a port of the pod (default: the same)", "--forward",
        metavar="PORT[:REMOTE]", parse=texts.forward, commands=("ssh",)
    )
    print_command: bool = showing.switch(
        "print the command line for plain ssh instead", "--print", commands=("ssh",)
    )


@frozen
class StopOptions:
    """The options that only ``rpd stop`` has."""

    only_show: bool = running.switch(
        "print which pods would be deleted or stopped, and do nothing", "--dry-run", commands=("stop",)
    )
    keep_disk: bool = running.switch(
        "stop pods instead of deleting them, and keep (and pay for) their volumes", "--keep-disk", commands=("stop",)
    )
    stopped: bool = running.switch(
        "delete all stopped pods that runs of this project made", "--stopped", commands=("stop",)
    )
    older_than: float | None = running.option(
        None, "with --stopped: only pods stopped at least this long ago", "--older-than",
        metavar="DURATION", parse=texts.age, commands=("stop",)
    )


@frozen
class PsOptions:
    """The options that only ``rpd ps`` has."""

    stale: bool = showing.switch(
        "only pods made by rpd that no run uses: stopped, kept or left behind", "--stale", commands=("ps",)
    )
    exit_code: bool = showing.switch("exit with 1 if a pod is listed", "--exit-code", commands=("ps",))
    older_than: float | None = running.option(
        None, "only pods that have been in this state for at least this long", "--older-than",
        metavar="DURATION", parse=texts.age, commands=("ps",)
    )


@frozen
class GpusOptions:
    """The options that only ``rpd gpus`` has."""

    show_spot: bool = showing.switch("show the prices of spot pods", "--spot", commands=("gpus",))
    sort_gpus: str = showing.option(
        "memory", "order by memory, price or name", "--sort", choices=("memory", "price", "name"),
        commands=("gpus",)
    )


@frozen
class DoctorOptions:
    """The options that only ``rpd doctor`` has."""

    skip: tuple[tuple[str, ...], ...] = showing.several(
        "skip this check (separate several with commas)", "--skip", metavar="CHECK", parse=texts.names,
        commands=("doctor",)
    )


@frozen
class FixturesOptions:
    """The options that only ``rpd fixtures`` has."""

    per_node: bool = showing.switch("show which fixtures each node uses", "--per-node", commands=("fixtures",))


@frozen
class EmulatorOptions:
    """The options that only ``rpd emulator`` has."""

    port: int = listening.option(
        0, "the port to listen on (default: any free one)", "--port", metavar="PORT", parse=texts.port,
        commands=("emulator",)
    )


@frozen
class CaptureEnvOptions:
    """The options that only ``rpd capture-env`` has."""

    output_file: str | None = showing.option(
        None, "write to this file", "-o", "--output", metavar="FILE", commands=("capture-env",)
    )


@frozen
class ImportOptions:
    """The options that only ``rpd import`` has."""

    output_file: str | None = showing.option(
        None, "write to this file", "-o", "--output", metavar="FILE", commands=("import",)
    )
    force: bool = running.switch("overwrite existing deploy files", "--force", commands=("import",))
    their_runs: str | None = showing.option(
        None, "add the past runs of runpod-deploy below this folder to those of rpd", "--runs", metavar="DIR",
        commands=("import",)
    )


@frozen
class EstimateOptions:
    """The options that only ``rpd estimate`` has."""

    measure: float | None = selecting.option(
        None, "run each job for this long (60s) on the two cheapest GPU types that fit, and forecast its cost",
        "--measure", metavar="DURATION", parse=texts.duration, commands=("estimate",)
    )
    steps: int | None = selecting.option(
        None, "with --measure: how many steps a job takes (default: as in its last passed run)", "--steps", metavar="N",
        parse=texts.positive_int, commands=("estimate",)
    )


@frozen
class PlanOptions:
    """The options that only ``rpd plan`` has."""

    against: str = selecting.option(
        "", "compare with this commit or branch, such as origin/main (default: with the last pass of each node)",
        "--against", metavar="COMMIT", commands=("plan",)
    )
    fail_above: float | None = pricing.option(
        None, "exit with 1 if the nodes that would run may cost more than this at worst", "--fail-above",
        metavar="USD", parse=texts.money
    )
    markdown: str | None = showing.option(
        None, "write the plan as Markdown, for a comment on a pull request", "--markdown", metavar="PATH",
        commands=("plan",)
    )
    snapshot: bool = showing.switch(
        "print, as JSON, the inputs of each node's result, and compare nothing", "--snapshot", commands=("plan",)
    )


@frozen
class VolumeOptions:
    """The options that only ``rpd volume`` has."""

    size_gb: int | None = running.option(
        None, "for create: the size in GB", "--size", metavar="GB", parse=texts.positive_int, commands=("volume",)
    )
    place: str | None = running.option(
        None, "for create: the data centre", "--datacenter-id", metavar="ID", commands=("volume",)
    )
    tier: str | None = running.option(
        None, "for create: the speed tier (default: the usual one of the data centre)", "--tier",
        choices=("standard", "high-performance"), commands=("volume",)
    )


@frozen
class AdviseOptions:
    """The options that only ``rpd advise`` has."""

    fail_idle: float | None = showing.option(
        None, "exit with 1 if GPUs were idle for more than this share of the time, e.g. 30%%", "--fail-idle",
        metavar="PERCENT", parse=texts.percent, commands=("advise",)
    )
    boots: bool = showing.switch(
        "show, by GPU, place and image, how long pods of all past runs took to boot and how often they failed to",
        "--boots", commands=("advise",)
    )
