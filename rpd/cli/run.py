"""``rpd run``."""

from __future__ import annotations

from contextlib import ExitStack, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rpd.cli.collect import print_errors, summary_line, tell_nothing
from rpd.cli.commands import configure
from rpd.cli.output import note, say
from rpd.config import Config
from rpd.config.config import SelectSettings
from rpd.errors import ExitCode, UsageError
from rpd.hooks import PluginManager
from rpd.pipeline.caller import Caller
from rpd.pipeline.run import run
from rpd.pipeline.signals import ending_by_sigterm, handled
from rpd.redaction import Redactor
from rpd.stop import Stop
from rpd.terminal import make_view
from rpd.terminal.streams import own_streams
from rpd.values.frozen import replace

if TYPE_CHECKING:
    from rpd.pipeline.resume import Resumed


def main(config: Config, manager: PluginManager) -> int:
    """Run, with the terminal listening."""
    return carry_out(config, manager, None)


def resume(config: Config, manager: PluginManager) -> int:
    """Carry on an earlier run, as its own command line had it."""
    del manager
    if len(config.args) > 1:
        raise UsageError("rpd resume takes one run")
    from rpd.pipeline.resume import choose

    resumed = choose(config.runs_path, config.args[0] if config.args else "")
    with resumed.lock:
        return _resume(config.invocation_dir, resumed, yes=config.money.yes)


def _resume(invocation_dir: Path, resumed: Resumed, *, yes: bool) -> int:
    argv = list(resumed.info.argv)
    argv = argv[1:] if argv[:1] == ["run"] else argv
    run_config, run_manager = configure("run", argv, Path(resumed.info.invocation_dir or invocation_dir))
    # The planned nodes are recorded: nothing is selected by later outcomes.
    unchosen = replace(
        run_config,
        # A --yes of the run itself was for what it could cost at that time.
        money=replace(run_config.money, yes=yes),
        select=SelectSettings(
            keyword=run_config.select.keyword,
            markexpr=run_config.select.markexpr,
            deselect=run_config.select.deselect,
        ),
    )
    return carry_out(unchosen, run_manager, resumed)


def _confirm(worst_case_usd: float, limit_usd: float) -> bool:
    """Ask whether a run that may cost much may start. Raise UsageError without a terminal to ask on."""
    from rpd.cli.confirm import can_ask  # few runs cost that much

    if not can_ask():
        raise UsageError(
            f"this run may cost up to ${worst_case_usd:.2f}, more than confirm_above_usd (${limit_usd:.2f}): pass "
            "--yes, or lower the caps (--cost-cap-usd, --max-runtime-minutes)"
        )
    answer = input(f"This run may cost up to ${worst_case_usd:.2f}. Start it? [y/N] ")
    return answer.strip().lower() in ("y", "yes")


def _confirm_resumed(worst_case_usd: float, _limit_usd: float) -> bool:
    """Ask whether a run that may cost more than when it was started may go on. Raise UsageError without a terminal."""
    from rpd.cli.confirm import can_ask  # few runs change meanwhile

    text = (
        f"the rest of this run may cost up to ${worst_case_usd:.2f}, more than the whole run when you started it: "
        "the deploy files or the prices have changed"
    )
    if not can_ask():
        raise UsageError(f"{text}. Undo the change, or pass --yes if you mean it")
    return input(f"{text[0].upper()}{text[1:]}. Resume it? [y/N] ").strip().lower() in ("y", "yes")


def carry_out(config: Config, manager: PluginManager, resumed: Resumed | None) -> int:
    """Run or resume, with the terminal listening, and return the exit code."""
    redactor = Redactor()
    with ExitStack() as stack:
        out, _ = stack.enter_context(own_streams())
        if not manager.is_blocked("terminal"):
            view = make_view(config, out, redactor)
            stack.callback(view.close)
            manager.register(view, "terminal")
        if config.output.html is not None:
            from rpd.web.html_report import add_page  # few runs write one

            add_page(config.output, config.invocation_dir, manager, redactor)
        if config.output.notify and not config.run.dry_run:
            from rpd.notify.plugin import add_notices  # few runs send any

            add_notices(config.output.notify, config.money.budget, manager, redactor)
        if config.run.runs_jobs:
            from rpd.advise.plugin import add_advice  # a dry run has nothing to advise

            add_advice(manager)
        if not config.run.dry_run:
            from rpd.hand_over.plugin import add_hand_over  # nothing is left of a dry run

            add_hand_over(manager, redactor)
        if config.run.setup_plan or config.run.setup_show or config.run.setup_only:
            from rpd.terminal.setup_plan import SetupPlan  # few runs show it

            shown = SetupPlan(lambda line: say(redactor.text(line)), only=config.run.setup_only)
            manager.register(shown, "setup plan")
        stack.enter_context(ending_by_sigterm())
        stop = Stop()
        caller = Caller(
            owns_process=True,
            confirm=_confirm if resumed is None else _confirm_resumed,
            stop=stop,
            while_executing=nullcontext if config.run.dry_run else partial(handled, stop),
        )
        ended = run(config, manager, redactor, resumed, caller)
    print_errors(ended.gathered.errors)
    if ended.summary is None and ended.exit_code == ExitCode.NOTHING_COLLECTED:
        tell_nothing(config, ended.gathered, so=f"nothing was run: {summary_line(ended.gathered)}; ")
    elif ended.summary is None:
        limit, errors = config.error_limit, len(ended.gathered.errors)
        stopped = "; the collection stopped there (-x, --maxfail)" if limit and errors >= limit else ""
        note(f"rpd: nothing was run: {summary_line(ended.gathered)}{stopped}")
    return ended.exit_code
