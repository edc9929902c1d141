"""The formats of other tools that rpd can read, loaded only where a file may have one."""

from __future__ import annotations

from collections.abc import Sequence

from rpd.hooks import PluginManager


def register_formats(manager: PluginManager, texts: Sequence[str]) -> None:
    """Register readers of other file formats, if one of the paths or patterns is such a file."""
    if any(text.partition("::")[0].endswith((".yaml", ".yml")) for text in texts):
        from rpd.compat.runpod_deploy.plugin import RunpodDeployFormat  # few name one

        if not manager.is_blocked("runpod-deploy"):
            manager.register(RunpodDeployFormat(manager), "runpod-deploy")
