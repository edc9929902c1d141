"""The shape of the package: its imports, their time, and its public names."""

from __future__ import annotations

import ast
import inspect
import json
import os
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Collection, Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import pytest

import rpd
from rpd import hooks
from rpd.cli.commands import COMMANDS

ROOT = Path(rpd.__file__).parents[1]
MODULES = sorted((ROOT / "rpd").rglob("*.py"))
HEAVY = (
    "runpod", "fabric", "paramiko", "invoke", "rich", "aiohttp", "asyncssh", "graphql", "httpx", "requests", "boto3",
    "cryptography", "asyncio", "stamina", "pathspec", "platformdirs", "tomli_w", "locale",
)  # fmt: skip
PUBLIC = {
    "HIDDEN_PARAM", "Budget", "Cluster", "CommandFailed", "CommandTimeout", "Completed", "Config", "Gpu", "Job", "Lifecycle", "Metafunc",
    "MissingArtifact", "Needed", "Needs", "Node", "NodeReport", "OutOfMemory", "Outcome", "Pod", "Provision", "Pulled", "Registry",
    "Request", "RpdError",
    "RunSummary", "Secret", "Staged", "Storage", "errors", "fail", "fixture", "hookimpl", "importorskip", "job", "mark",
    "param", "params_from", "skip", "variable",
    "RunOutcome", "Running", "RunningCluster", "forecast", "nodes", "pods", "prices", "reports", "run", "runs", "start", "verify",
    "choice", "halving", "integers", "log_uniform", "median_rule", "uniform",
}  # fmt: skip
"""What deploy files and programs may use. A new word is a promise: it belongs into the docs, too."""


@cache
def tree(path: Path) -> ast.Module:
    """Return a module as parsed, once for all tests."""
    return ast.parse(path.read_text(encoding="utf-8"))


def python(code: str, cwd: Path = ROOT) -> Any:
    """Return the JSON that ``code`` prints in a fresh Python process."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


LOADED = f"import sys, json; print(json.dumps(sorted(set(sys.modules) & set({HEAVY!r}))))"


def test_importing_rpd_loads_next_to_nothing() -> None:
    """``import rpd`` loads no dependency at all, and using its names in a deploy file only rpd's values."""
    assert python(f"import rpd\n{LOADED}") == []
    modules = python(
        "import rpd, sys, json; rpd.job, rpd.Gpu; print(json.dumps([m for m in sys.modules if m.startswith('rpd')]))"
    )
    assert not [
        name
        for name in modules
        if name.startswith(
            ("rpd.execute", "rpd.remote", "rpd.lease", "rpd.runpod", "rpd.pipeline", "rpd.cli")
        )
    ]


@pytest.mark.parametrize("flags", [[], ["-q"], ["--json"], ["-v"], ["-k", "fit"]], ids=" ".join)
def test_collecting_loads_nothing_heavy(flags: list[str], tmp_path: Path) -> None:
    """``rpd collect`` loads no SDK, no SSH, no screen and no HTTP, whatever it prints."""
    text = "import rpd\n@rpd.job(gpu=rpd.Gpu('NVIDIA L4'))\ndef fit(pod, staged_dir, gpu): ...\n"
    (tmp_path / "deploy_x.py").write_text(text, encoding="utf-8")
    code = f"from rpd.cli import main\nassert main(['collect', *{flags!r}]) == 0\n{LOADED}"
    assert set(python(code, tmp_path)) <= ({"pathspec"} if "-v" in flags else set())


COSTLY = (
    "argparse", "threading", "dataclasses", "difflib", "tomllib", "hashlib", "json", "traceback", "shutil", "string", "decimal", "importlib.metadata",
    "rpd.values.report", "rpd.values.gpus", "rpd.values.step", "rpd.pipeline.run", "rpd.redaction",
)  # fmt: skip
"""What is worth loading only where it is used; together these were half of a cold ``rpd collect``."""
IMPORTED = """import sys; print('["' + '", "'.join(sorted(sys.modules)) + '"]')"""


@pytest.mark.parametrize("flags", [[], ["-q"]], ids=" ".join)
def test_a_plain_collection_loads_little(flags: list[str], tmp_path: Path) -> None:
    """Listing one small file loads a fixed small part of rpd, and nothing that only errors, reports or files need."""
    text = "import rpd\n@rpd.job\n@rpd.mark.parametrize('seed', [1, 2])\ndef fit(pod, seed): ...\n"
    (tmp_path / "deploy_x.py").write_text(text, encoding="utf-8")
    loaded = python(
        f"from rpd.cli import main\nassert main(['collect', *{flags!r}]) == 0\n{IMPORTED}", tmp_path
    )
    bare = python(f"import pluggy, pathlib, contextlib\n{IMPORTED}", tmp_path)
    assert not set(COSTLY) & (set(loaded) - set(bare))
    own = [name for name in loaded if name.split(".")[0] == "rpd"]
    assert len(own) <= 54, own


ONLY_LIVE = (
    *HEAVY, "dataclasses", "hashlib", "secrets", "socket", "shutil", "csv", "platform", "tomllib", "traceback", "random",
    "getpass", "sysconfig", "select",
    "rpd.pipeline.live_backend", "rpd.record.plugin", "rpd.execute.pod.checkpoint", "rpd.remote.detached", "rpd.project.ignore",
)  # fmt: skip
"""What a dry run has no use for; it was a third of its time. A dataclass is compiled at every start: rpd has cheaper ones."""


def test_a_dry_run_loads_little(tmp_path: Path) -> None:
    """It loads nothing that records, connects, transfers or draws, and no class that is compiled."""
    text = "import rpd\n@rpd.job\n@rpd.mark.parametrize('seed', [1, 2])\ndef fit(pod, seed):\n    pod.run('true')\n"
    (tmp_path / "deploy_x.py").write_text(text, encoding="utf-8")
    loaded = python(f"from rpd.cli import main\nassert main(['--dry-run']) == 0\n{IMPORTED}", tmp_path)
    assert not set(ONLY_LIVE) & set(loaded)
    own = [name for name in loaded if name.split(".")[0] == "rpd"]
    assert len(own) <= 224, own


@pytest.mark.parametrize("flag", ["--version", "--help"])
def test_help_and_version_load_no_parser(flag: str, tmp_path: Path) -> None:
    """Commands that need no settings load neither the parser nor plugins nor the settings."""
    loaded = set(python(f"from rpd.cli import main\nassert main(['{flag}']) == 0\n{IMPORTED}", tmp_path))
    assert not loaded & {"argparse", "pluggy", "inspect", "tomllib", "dataclasses", "rpd.config", "rpd.hooks"}


def test_the_help_of_a_command_loads_no_command(tmp_path: Path) -> None:
    """Neither the module of any command nor those it works with: only the parser and the settings."""
    text = (
        "from rpd.cli import main\nfrom rpd.cli.commands import COMMANDS\nimport contextlib, io\n"
        "with contextlib.redirect_stdout(io.StringIO()):\n"
        "    for name in COMMANDS:\n"
        "        with contextlib.suppress(SystemExit):\n"
        "            main([name, '--help'])\n"
    )
    own = {name for name in python(f"{text}{IMPORTED}", tmp_path) if name.split(".")[0] == "rpd"}
    assert not own & {command.module for command in COMMANDS.values()}
    assert len(own) <= 60, sorted(own)


def test_importing_rpd_loads_one_module() -> None:
    """``import rpd`` loads that module alone; ``typing`` and its kin wait for a word to be used."""
    new = python(
        "import sys, json\nbefore = set(sys.modules)\nimport rpd\nprint(json.dumps(sorted(set(sys.modules) - before)))"
    )
    assert set(new) == {"__future__", "rpd"}


def test_public_names_are_pinned() -> None:
    """``rpd`` shows exactly the words a deploy file may use, and every one resolves."""
    assert set(rpd.__all__) == PUBLIC
    assert set(dir(rpd)) >= PUBLIC
    for name in PUBLIC:
        assert getattr(rpd, name) is not None
    with pytest.raises(AttributeError, match="no_such_word"):
        _ = rpd.no_such_word  # type: ignore[attr-defined]


def hookspecs() -> dict[str, Any]:
    return {
        name: each
        for name, each in vars(hooks).items()
        if name.startswith("rpd_") and inspect.isfunction(each)
    }


@pytest.mark.parametrize("name", hookspecs())
def test_every_hook_is_told(name: str) -> None:
    """Every hook has a paragraph that says when it is called, and is a hookspec."""
    function = hookspecs()[name]
    assert inspect.getdoc(function)
    assert hasattr(function, "rpd_spec")


def test_every_module_names_its_one_idea() -> None:
    """Every module begins with a docstring whose first line is one sentence."""
    for path in MODULES:
        text = ast.get_docstring(tree(path))
        assert text, path
        assert text.split("\n\n")[0].rstrip().endswith((".", ":", "``")), path


DOORS = {"cli/output.py", "terminal/screen.py"}
"""Where text goes to the terminal: of what it could act with, nothing (or only colours) passes."""
NAME_A_STREAM = DOORS | {
    "__main__.py",  # flushed before the process ends at once
    "cli/__init__.py",  # a reader that has gone: points standard output at nothing
    "pipeline/parser.py",  # whether help is read on a terminal
    "terminal/view.py", "terminal/stored_run.py", "api/running.py",  # give it to the Screen
    "terminal/streams.py",  # copies of both, put back after whatever a job did to them
    "execute/node/silence.py",  # wrapped while a failed job is called again
    "record/report_output.py",  # flushed before a report goes to /dev/stdout
    "runpod/graphql/sdk.py",  # whether there is one: the SDK asks it something while it is imported
    "collect/imports.py",  # prints of a deploy file during its import go to stderr
    "emulator/__main__.py",  # separate processes
}  # fmt: skip
"""Modules that may name sys.stdout and sys.stderr; the first set alone writes to them."""


def named_streams(path: Path) -> set[str]:
    """Return how a module speaks of the standard streams: ``print``, ``sys.stdout`` and the like."""
    collected = set()
    for node in ast.walk(tree(path)):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in ("print", "pprint")
        ):
            collected.add("print")
        if not isinstance(node, ast.Attribute):
            continue
        if node.attr in ("print_exc", "print_exception"):
            collected.add("print")
        if ast.unparse(node) in ("sys.stdout", "sys.stderr", "sys.__stdout__", "sys.__stderr__"):
            collected.add(ast.unparse(node))
    return collected


def test_text_reaches_a_terminal_through_two_doors() -> None:
    """No module prints, and only the doors write to the standard streams: nothing can bypass their filters."""
    named = {path.relative_to(ROOT / "rpd").as_posix(): named_streams(path) for path in MODULES}
    own = {
        name: each for name, each in named.items() if each and not name.startswith("emulator/guest/tools/")
    }
    assert set(own) <= NAME_A_STREAM
    assert not [name for name, each in own.items() if "print" in each]
    ruff = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
    assert "T20" in ruff["select"]
    assert not [
        where for where, rules in ruff["per-file-ignores"].items() if "T20" in rules and "rpd" in where
    ]


def test_hooks_are_called_through_one_door() -> None:
    """Every call has a typed method in ``Events``; only that and the guards of ``hooks`` name pluggy's ``hook``."""
    called = {
        path.relative_to(ROOT / "rpd").as_posix()
        for path in MODULES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Attribute) and node.attr == "hook"
    }
    assert called == {"events.py", "hooks.py"}


def test_threads_come_from_one_place() -> None:
    """``rpd.threads`` knows what to do if the system has no thread left; the rest are servers, and code of pods."""
    making = {
        path.relative_to(ROOT / "rpd").as_posix()
        for path in MODULES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("threading.Thread", "Thread")
    }
    others = {name for name in making if not name.startswith("emulator/")}
    assert others <= {"threads.py", "api/running.py", "cluster/preflight_probe.py"}


def test_python_source_is_parsed_at_one_place() -> None:
    """``parse_python`` knows what threads do to each other's trees; a command that reads an expression has one."""
    parsing = {
        path.relative_to(ROOT / "rpd").as_posix()
        for path in MODULES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "ast.parse"
    }
    assert parsing == {"user_text.py", "query/expression.py"}


def test_no_modules_import_each_other() -> None:
    """Nowhere in rpd do imports run in a circle, those for type checkers and those in functions included."""
    names = {_module(path): path for path in MODULES}
    del names["rpd"]  # re-exports the public words for type checkers
    imports = {name: set(_own_imports(path, names)) - {name} for name, path in names.items()}
    TopologicalSorter(imports).prepare()  # raises CycleError, which names the circle


def _module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def _own_imports(path: Path, names: Collection[str]) -> Iterator[str]:
    """Yield those of the modules ``names`` that a module imports anywhere."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in names)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if f"{node.module}.{alias.name}" in names:
                    yield f"{node.module}.{alias.name}"
                elif node.module in names:
                    yield node.module


MOST_SETTINGS = 3
"""A function that reads no more settings than this takes their values, or their section."""


def test_functions_take_the_settings_that_they_read() -> None:
    """Who takes the whole Config reads more of it than a few settings, or passes it on.

    Hooks take it because their signatures are public, entries of commands because all are called in the same way.
    """
    entries = {(command.module, command.function) for command in COMMANDS.values()}
    wide = [
        f"{path.relative_to(ROOT)}:{function.lineno} {function.name}"
        for path in MODULES
        for function in ast.walk(tree(path))
        if isinstance(function, ast.FunctionDef) and not function.name.startswith("rpd_")
        if (_module(path), function.name) not in entries
        for parameter in (*function.args.args, *function.args.kwonlyargs)
        if parameter.annotation is not None and ast.unparse(parameter.annotation) == "Config"
        if len(_settings_read(function, parameter.arg)) <= MOST_SETTINGS
    ]
    assert not wide


def _settings_read(function: ast.FunctionDef, config: str) -> Collection[str]:
    """Return the settings that a function reads of its parameter; more than a few where it passes that on."""
    inside = {child: parent for parent in ast.walk(function) for child in ast.iter_child_nodes(parent)}
    read = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Name) and node.id == config:
            member = inside[node]
            if not isinstance(member, ast.Attribute):
                return range(MOST_SETTINGS + 1)
            further = inside[member]
            read.add(ast.unparse(further if isinstance(further, ast.Attribute) else member))
    return read


def test_the_module_of_a_fixture_is_asked_for_at_one_place() -> None:
    """A function made by ``exec`` has none: ``FixtureDef.module`` and ``is_built_in`` know."""
    reads = [
        path.relative_to(ROOT).as_posix()
        for path in MODULES
        if "function.__module__" in path.read_text(encoding="utf-8")
    ]
    assert not reads


OF_THEIR_OWN = ("api", "cli", "emulator", "values")
"""Packages whose modules are called after words, commands, a world of their own, and nouns."""
SHARED = {"__init__", "plugin", "pods", "provider", "report", "series", "shell", "source", "telemetry"}
"""Names of more than one module, which stand for one idea: docs/architecture.md says how."""


def test_a_name_stands_for_one_idea() -> None:
    """No two modules have the same name, but for wings side by side, and nouns with those who work on them."""
    inside = [path for path in MODULES if path.relative_to(ROOT / "rpd").parts[0] not in OF_THEIR_OWN]
    count = Counter(path.stem for path in inside)
    assert {name for name, times in count.items() if times > 1} == SHARED


def test_no_module_is_a_drawer() -> None:
    """No module has an empty name such as "utils": every name says what is in the module."""
    assert not [
        path for path in MODULES if path.stem in ("utils", "util", "helpers", "misc", "common", "base")
    ]


def test_the_package_is_typed() -> None:
    """Users' type checkers see rpd's types."""
    assert (ROOT / "rpd" / "py.typed").is_file()
