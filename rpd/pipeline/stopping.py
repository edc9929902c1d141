"""Stopping, as it is told: to plugins always, to the person at the screen where no signal told it already."""

from __future__ import annotations

from rpd.hooks import PluginManager
from rpd.stop import Stop, StopLevel

_SENTENCES = {
    StopLevel.DRAIN: "starting nothing new; what runs may finish",
    StopLevel.END: "starting nothing new; running commands are ended, artifacts pulled, pods released",
}


def tell_of_stopping(stop: Stop, manager: PluginManager) -> None:
    """Call the hook ``rpd_stopping`` at every change of level from now on."""

    def told(level: StopLevel) -> None:
        manager.hook.rpd_stopping(how=level.name.lower(), reason=stop.reason)
        if level in _SENTENCES and not stop.is_interrupted:
            manager.hook.rpd_notice(text=f"{stop.reason}: {_SENTENCES[level]}")

    stop.listen(told)
