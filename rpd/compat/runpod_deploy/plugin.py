"""Collecting configurations of runpod-deploy unchanged: the file format ``rpd_collect_file`` of their YAML."""

from __future__ import annotations

import ast
from pathlib import Path
from types import FunctionType, ModuleType

from rpd.collect.source_lines import relative
from rpd.compat.runpod_deploy.spec import looks_like_one, read_spec
from rpd.compat.runpod_deploy.writer import Written, write
from rpd.config import Config
from rpd.errors import CollectionError
from rpd.events import Events
from rpd.hooks import PluginManager
from rpd.user_text import parse_python
from rpd.values.node import LINES_ATTRIBUTE, SOURCE_ATTRIBUTE

SUFFIXES = (".yaml", ".yml")


class RunpodDeployFormat:
    """The plugin: it makes a module of each configuration, whose lines are those of the YAML."""

    def __init__(self, manager: PluginManager) -> None:
        self._manager = manager

    def rpd_collect_file(self, path: Path, config: Config) -> ModuleType | None:
        """Return the deploy file that a configuration stands for; None for other files. Raise CollectionError."""
        if path.suffix not in SUFFIXES or not looks_like_one(path):
            return None
        try:
            written = write(read_spec(path))
        except CollectionError as error:
            error.file = relative(path, config.rootdir)
            raise
        if written.notices:
            count = len(written.notices)
            Events(self._manager).notice(
                text=f"{path.name}: {count} difference{'s' if count > 1 else ''} from runpod-deploy; "
                f"rpd import {_typed(path, config.invocation_dir)} lists them and writes a deploy file"
            )
        return module_of(path, written)


def _typed(path: Path, here: Path) -> str:
    """Return a path as a person would type it in the folder ``here``."""
    return path.relative_to(here).as_posix() if path.is_relative_to(here) else str(path)


def module_of(path: Path, written: Written) -> ModuleType:
    """Return the module that ``written`` is; its functions stand in the lines of the YAML they come from."""
    text = str(written.lines)
    tree = parse_python(text)
    sources = {
        node.name: ast.get_source_segment(text, node)
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
    }
    _move(tree, written.lines.origin)
    assigned = [node for node in tree.body if isinstance(node, ast.Assign)]
    lines = {
        target.id: node.lineno for node in assigned for target in node.targets if isinstance(target, ast.Name)
    }
    module = ModuleType(f"rpd:{path.as_posix().replace('.', '·')}")
    module.__file__ = str(path)
    setattr(module, LINES_ATTRIBUTE, lines)
    exec(compile(tree, str(path), "exec"), vars(module))  # noqa: S102 - the text is ours, made of checked values
    for name, value in vars(module).items():
        if isinstance(value, FunctionType) and name in sources:
            setattr(value, SOURCE_ATTRIBUTE, sources[name])
    return module


def _move(tree: ast.Module, origin: list[int]) -> None:
    """Give every node the line of the configuration, so that tracebacks and places show that."""
    line = 1
    lines = []
    for origin_line in origin:
        line = origin_line or line
        lines.append(line)
    for node in ast.walk(tree):
        if isinstance(node, ast.expr | ast.stmt | ast.arg | ast.keyword | ast.alias | ast.excepthandler):
            node.lineno = node.end_lineno = lines[node.lineno - 1]
            node.end_col_offset = max(node.col_offset, node.end_col_offset or 0)
