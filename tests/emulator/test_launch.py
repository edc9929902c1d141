"""Starting an emulator and every way it can end: nothing may be left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rpd.emulator.errors import EmulatorError
from rpd.emulator.launch import Launched, launch

Platform = Any


def _processes_with(marker: str) -> list[int]:
    """Return the processes of this machine whose command line holds ``marker``."""
    collected = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if marker.encode() in entry.read_bytes():
                collected.append(int(entry.parent.name))
        except OSError:
            continue
    return collected


@pytest.fixture
def busy(platform_of: Any) -> Iterator[tuple[Launched, str, Path]]:
    """A separate emulator with a pod that runs a detached command; its marker; its folder."""
    with launch(boot_seconds=0.02) as emulator, platform_of(emulator) as platform:
        words = ("sleep", str(100_000 + emulator.process.pid))
        platform.run(
            platform.connect(platform.boot()), f"setsid {' '.join(words)} > /dev/null 2>&1 < /dev/null &"
        )
        marker = "\0".join(words)
        platform.eventually(lambda: _processes_with(marker))
        yield emulator, marker, Path(emulator.state()["folder"])


def _kill(emulator: Launched) -> None:
    os.kill(emulator.process.pid, signal.SIGKILL)


def _terminate(emulator: Launched) -> None:
    emulator.process.terminate()


def _hang_up(emulator: Launched) -> None:
    """Close the pipe, as the death of the driver does."""
    assert emulator.process.stdin is not None
    emulator.process.stdin.close()


@pytest.mark.parametrize("end", [_kill, _terminate, _hang_up])
def test_nothing_is_left_however_it_ends(
    platform: Platform, busy: tuple[Launched, str, Path], end: Callable[[Launched], None]
) -> None:
    """No process of a pod, no folder and no mount outlives the emulator, even after SIGKILL."""
    emulator, marker, folder = busy
    assert folder.is_dir()
    end(emulator)
    emulator.process.wait(20)
    platform.eventually(lambda: not _processes_with(marker), what="the end of the pod's processes")
    platform.eventually(lambda: not folder.exists(), what="the end of the pod's disks")
    assert "rpd-emulator" not in Path("/proc/mounts").read_text()


def test_close_returns_when_all_is_gone(busy: tuple[Launched, str, Path]) -> None:
    """After close nothing needs to be waited for, and closing twice is fine."""
    emulator, marker, folder = busy
    emulator.close()
    assert (_processes_with(marker), folder.exists()) == ([], False)
    emulator.close()


def test_the_emulator_ends_when_its_zygote_does(platform: Platform, busy: tuple[Launched, str, Path]) -> None:
    """Without the process that forks pods there is no platform: the pods end, and so does the server."""
    emulator, marker, folder = busy
    (zygote,) = (
        pid for pid in _processes_with("rpd.emulator.guest.zygote") if _parent(pid) == emulator.process.pid
    )
    os.kill(zygote, signal.SIGKILL)
    emulator.process.wait(20)
    platform.eventually(lambda: not _processes_with(marker), what="the end of the pod's processes")
    assert not folder.exists()


def _parent(pid: int) -> int:
    """Return the parent of a process; 0 for one that has ended since, as those of other tests do."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def test_lingering() -> None:
    """With ``linger`` the emulator outlives its driver."""
    with launch(linger=60) as emulator:
        _hang_up(emulator)
        assert emulator.state()["isolation"] in ("root", "user", "plain")


def test_a_fixed_port_and_key() -> None:
    """Both can be chosen; a port that is taken is one clear error."""
    with launch(api_key="my-key") as first:
        port = int(first.base_url.rpartition(":")[2])
        assert first.api_key == "my-key"
        with pytest.raises(EmulatorError, match="before it was ready"):
            launch(port=port)


def test_launching_imports_no_server() -> None:
    """The process that launches loads neither the web server nor GraphQL nor the SSH server."""
    code = (
        "import sys, rpd.emulator.launch; "
        "print([m for m in ('aiohttp', 'graphql', 'asyncssh', 'asyncio') if m in sys.modules])"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env).stdout == "[]\n"
    )


def test_an_emulator_that_cannot_start_pods_says_so_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The error ends its process with a message and no traceback."""

    from rpd.emulator import __main__ as emulator_main  # half a second, for this test alone

    def serve(**options: object) -> None:
        raise EmulatorError("cannot start pods: no namespaces")

    monkeypatch.setattr(emulator_main, "serve", serve)
    monkeypatch.setattr("sys.argv", ["emulator"])
    assert emulator_main.main() == 1
    assert capsys.readouterr().err == "rpd emulator: cannot start pods: no namespaces\n"
