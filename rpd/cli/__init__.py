"""The command line: argv -> Config -> one call; the only place where an error becomes an exit code."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import rpd
from rpd.cli.commands import command, configure, overview
from rpd.cli.output import note, say
from rpd.errors import ExitCode, RpdError, UsageError

if TYPE_CHECKING:
    from rpd.config import Config
    from rpd.hooks import PluginManager

Act: TypeAlias = "Callable[[Config, PluginManager], int]"


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``rpd`` with ``argv`` (default: the process's own) and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if sys.stdin is None or sys.stdout is None or sys.stderr is None:
        _open_streams()
    # Names of files and texts of a pod need not be text in the terminal's encoding: shown escaped, as on stderr.
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        return _main(arguments, owns_process=argv is None)
    except RpdError as error:
        return _tell(error)
    except KeyboardInterrupt:
        note("rpd: interrupted")
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # The reader of our output is gone (`rpd collect | head`); the rest of it has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.OK
    except SystemExit as error:
        if _is_help(error):
            raise
        return _tell_defect(error)
    except Exception as error:  # noqa: BLE001 - a defect, of rpd or of a plugin: show it, with the code that says so
        return _tell_defect(error)


def _open_streams() -> None:
    """Open the standard streams that the process was started without (``>&-``, a service): they lead nowhere.

    A file that is opened next would get the number of a closed one, and what a child process prints.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - for good


def _main(argv: list[str], *, owns_process: bool) -> int:
    if argv[:1] == ["help"]:
        argv = [*argv[1:2], "--help"]
    if not argv or argv[0] in ("-h", "--help"):
        say(overview())
        return ExitCode.OK
    if argv[0] in ("-V", "--version"):
        say(f"rpd {rpd.__version__}")
        return ExitCode.OK
    if argv[0] == "__complete":  # how the scripts of `rpd completion` ask
        from rpd.cli.candidates import answer

        return answer(argv[1:])
    if argv[0].startswith("-") and any(text.partition("=")[0] == "--dry-run" for text in argv):
        argv = ["run", *argv]
    chosen = command(argv[0])
    config, manager = configure(chosen.name, argv[1:], _here())
    if config.loading.show_config:
        from rpd.pipeline.parser import describe

        say("\n".join(describe(config)))
        return ExitCode.OK
    if config.loading.trace_config:
        from rpd.cli.trace import Trace

        manager.register(Trace(config, manager), "trace")
    act: Act = getattr(import_module(chosen.module), chosen.function)
    if owns_process:
        # Loaded modules stay. Otherwise the first collection comes at the end of loading, walks over all of
        # it (a tenth of a small dry run) and finds nothing.
        gc.freeze()
    code = act(config, manager)
    manager.raise_defect()
    return code


def _here() -> Path:
    """Return the current folder. Raise UsageError if it is gone."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise UsageError("the current folder does not exist any more: change into one that does") from None


def _tell(error: RpdError) -> int:
    note(f"rpd: error: {error}")
    return error.exit_code


def _is_help(error: SystemExit) -> bool:
    """Return whether argparse ended the program after it printed a help; whatever else does so is not rpd's.

    A hook that calls ``sys.exit(0)`` must not make a run look green that ran nothing.
    """
    parser = sys.modules.get("argparse")
    ours = (str(Path(rpd.__file__).parent), str(parser and parser.__file__))
    return all(file.startswith(ours) for file in _files(error))


def _files(error: BaseException) -> list[str]:
    """Return the files of the frames in a traceback, the deepest last."""
    trace, files = error.__traceback__, []
    while trace is not None:
        files.append(trace.tb_frame.f_code.co_filename)
        trace = trace.tb_next
    return files


def _tell_defect(error: BaseException) -> int:
    import traceback

    from rpd.execute.user_tracebacks import user_frames

    shown = user_frames(error, _here())
    if shown.place and not _is_raised_here(error):
        message = "".join(traceback.format_exception_only(error)).rstrip()
        note(f"rpd: error: a hook of a conftest or plugin raised an error\n{message}")
        note("\n".join(shown.lines))
        return ExitCode.INTERNAL_ERROR
    note("".join(traceback.format_exception(error)).rstrip())
    note("rpd: internal error: this is a defect of rpd, not of your deploy file")
    return ExitCode.INTERNAL_ERROR


def _is_raised_here(error: BaseException) -> bool:
    """Return whether rpd's own code raised ``error``, rather than a library or plugin it called.

    If a value (``rpd/values``) refuses its use, the code that used it is to blame.
    """
    package = Path(rpd.__file__).parent
    files = _files(error)
    while files and files[-1].startswith(str(package / "values")):
        files.pop()
    return bool(files) and files[-1].startswith(str(package))
