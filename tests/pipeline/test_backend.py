"""The backend: slow things begin before they are needed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import sys, threading
from pathlib import Path
from rpd.config.merge import make_config
from rpd.hooks import make_plugin_manager
from rpd.pipeline.live_backend import LiveBackend
from rpd.runpod.dry.provider import OfflineProvider

def importing():
    return any(thread.name == "rpd-import-sdk" for thread in threading.enumerate()) or "runpod" in sys.modules

class Plugin:
    def rpd_provider(self, config):
        print(importing())
        return OfflineProvider()

here = Path.cwd()
config = make_config(
    command="run", rootdir=here, invocation_dir=here, config_file=None, file_values={"lifecycle": LIFECYCLE}, flags={}, args=(),
)
manager = make_plugin_manager()
manager.register(Plugin(), NAME)
backend = LiveBackend(config, manager)
backend.prepare()
backend.provider()
backend.close()
"""


@pytest.mark.parametrize(
    ("name", "lifecycle", "begun"),
    [("rpd.runpod.plugin", "sdk", True), ("rpd.runpod.plugin", "rest", False), ("another", "sdk", False)],
)
def test_sdk_import_begins_before_the_provider(
    name: str, lifecycle: str, begun: bool, tmp_path: Path
) -> None:
    """The SDK is being imported when the provider is asked for (or an emulator started), if it rents the pods."""
    code = CODE.replace("LIFECYCLE", repr(lifecycle)).replace("NAME", repr(name))
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(begun)]
