"""``--trace-config``: rpd's place and the loaded plugins."""

from __future__ import annotations

import sys
from pathlib import Path

from rpd.cli.output import note
from rpd.collect.conftests import is_conftest_plugin
from rpd.config import Config
from rpd.hooks import PluginManager, hookimpl


class Trace:
    """Prints root folder, configuration file, plugins and conftests to stderr, once all files are collected."""

    def __init__(self, config: Config, manager: PluginManager) -> None:
        self._config = config
        self._manager = manager

    @hookimpl(trylast=True)
    def rpd_collected(self) -> None:
        """Print it; conftests are known only now."""
        note("\n".join(lines(self._config.rootdir, self._config.config_file, self._manager)))


def lines(rootdir: Path, config_file: Path | None, manager: PluginManager) -> list[str]:
    """Return root folder, configuration file, and each plugin and conftest with the file it is in."""
    loaded = [(name, plugin) for name, plugin in manager.list_name_plugin() if plugin is not None]
    plugins = [(name, _file(plugin)) for name, plugin in loaded if not is_conftest_plugin(name)]
    conftests = [Path(name) for name, _ in loaded if is_conftest_plugin(name)]
    blocked = [name for name, plugin in manager.list_name_plugin() if plugin is None]
    width = max((len(name) for name, _ in plugins), default=0)
    return [
        f"root folder: {rootdir}",
        f"configuration file: {config_file or 'none'}",
        "plugins:",
        *(f"  {name:<{width}}  {file}".rstrip() for name, file in plugins),
        *(f"  {name} (switched off)" for name in blocked),
        "conftests:" if conftests else "conftests: none",
        *(f"  {_shown(path, rootdir)}" for path in conftests),
    ]


def _file(plugin: object) -> str:
    """Return the file of a module, or of the class of an object."""
    module = plugin if hasattr(plugin, "__file__") else sys.modules.get(type(plugin).__module__)
    return str(getattr(module, "__file__", None) or "")


def _shown(path: Path, rootdir: Path) -> str:
    return path.relative_to(rootdir).as_posix() if path.is_relative_to(rootdir) else str(path)
