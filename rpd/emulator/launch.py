"""Starting an emulator as a child process, and talking to its control endpoint."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import sys
import sysconfig
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from rpd.emulator.errors import EmulatorError

_CLOSE_SECONDS = 30.0
_LAUNCH_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Launched:
    """A running emulator: point ``RUNPOD_API_BASE_URL`` at ``base_url``. A context manager that closes itself."""

    base_url: str
    api_key: str
    process: subprocess.Popen[str]
    notices: tuple[str, ...] = ()

    def close(self) -> None:
        """End the emulator and every pod, and wait until they are gone."""
        if self.process.stdin is not None:
            with contextlib.suppress(OSError):
                self.process.stdin.close()
        self.process.terminate()
        try:
            self.process.wait(_CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def __enter__(self) -> Launched:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def inject(self, rule: Mapping[str, Any]) -> None:
        """Add a fault (see ``rpd.emulator.faults``). Raise ValueError for a rule that is none."""
        self._ask("POST", "faults", rule)

    def clear_faults(self) -> None:
        """Forget every fault."""
        self._ask("DELETE", "faults")

    def faults(self) -> list[dict[str, Any]]:
        """Return the faults in force; ``struck`` counts."""
        rules: list[dict[str, Any]] = self._ask("GET", "faults")
        return rules

    def state(self) -> dict[str, Any]:
        """Return the account: ``pods``, ``volumes``, ``balance``, ``spend_per_hr`` (USD), ``isolation`` and more.

        ``folder`` is where the emulator keeps everything on this machine; ``requests`` counts GraphQL calls.
        """
        state: dict[str, Any] = self._ask("GET", "state")
        return state

    def pods(self) -> list[dict[str, Any]]:
        """Return every pod the account has, running or stopped."""
        pods: list[dict[str, Any]] = self.state()["pods"]
        return pods

    def set_balance(self, usd: float) -> None:
        """Set the balance of the account; at zero the pods end."""
        self._ask("POST", "balance", {"usd": usd})

    def set_limits(
        self,
        *,
        usd_per_hr: float = 80.0,
        pods: int | None = None,
        calls: int | None = None,
        seconds: int = 60,
        member_ends: str = "itself",
    ) -> None:
        """Set the account's limits: USD per hour, pods that run at once, and API calls.

        ``calls`` is for each window of ``seconds``; further calls are answered with 429. None: any number.
        ``member_ends`` is what a member of a cluster may end: ``itself``, the whole ``cluster``, or
        ``nothing``.
        """
        limits = {"usd_per_hr": usd_per_hr, "pods": pods, "calls": calls, "seconds": seconds}
        self._ask("POST", "limits", {**limits, "member_ends": member_ends})

    def set_role(self, role: str) -> None:
        """Set the role of the account's key: ``admin``, ``dev``, ``billing`` or ``basic`` (reads only).

        Raise ValueError for others.
        """
        self._ask("POST", "role", {"role": role})

    def lock(self, pod_id: str, *, locked: bool = True) -> None:
        """Lock a pod, as somebody might in the console: it is neither stopped nor deleted. Raise ValueError."""
        self._ask("POST", "lock", {"pod": pod_id, "locked": locked})

    def set_stock(self, gpu: str, place: str, free: int) -> None:
        """Leave exactly ``free`` GPUs of a type in a data centre, or in ``community``."""
        self._ask("POST", "stock", {"gpu": gpu, "place": place, "free": free})

    def add_image(self, name: str, **traits: Any) -> str:
        """Define the contents of the images whose name fits ``name``, a shell pattern; return their digest.

        ``traits`` are the fields of ``rpd.emulator.images.Image``. Raise ValueError for others.
        """
        answer: dict[str, str] = self._ask("POST", "images", {"name": name, **traits})
        return answer["digest"]

    def make_volume(self, name: str, datacenter: str | None = None, size: int = 100) -> None:
        """Make a network volume of ``size`` GB, in any data centre that has some unless one is named.

        Raise ValueError if the data centre has none.
        """
        self._ask("POST", "volumes", {"name": name, "datacenter": datacenter, "size": size})

    def bill(self, usd: float, **line: str) -> None:
        """Charge ``usd``, on top of the usual cost of the account's pods and volumes.

        ``pod``, ``volume`` or ``cluster`` is an id, which need not exist; without any of them the charge is
        for another product. ``part`` is the amount of RunPod's record (``gpu``, ``cpu``, ``disk``,
        ``standard``, ``cluster_gpu``, ``serverless_gpu``, ...), ``at`` the hour (ISO 8601; default: now).
        Raise ValueError for anything else.
        """
        self._ask("POST", "bill", {"usd": usd, **line})

    def set_billing_lag(self, seconds: float) -> None:
        """Let the bill be late: it does not show the hours that began in the last ``seconds``."""
        self._ask("POST", "bill", {"lag": seconds})

    def settle(self) -> None:
        """Wait until no stopped or deleted pod has a process or a disk left."""
        self._ask("POST", "settle")

    def _ask(self, method: str, name: str, body: Mapping[str, Any] | None = None) -> Any:
        request = urllib.request.Request(  # noqa: S310 - always http, on this machine
            f"{self.base_url}/_emulator/{name}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.api_key}", "Content-Type": "application/json"},
        )
        # No proxy stands between a process and its own machine.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=60) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            raise ValueError(json.load(error)["error"]) from None


def launch(
    *,
    balance: float = 100.0,
    boot_seconds: float = 0.3,
    linger: float = 0.0,
    port: int = 0,
    api_key: str = "",
    isolation: str = "auto",
    wrapper: Sequence[str] = (),
    gpus: bool = False,
    python: str = "",
    pod_memory_mb: int | None = None,
    pod_processes: int | None = None,
    pod_disk_mb: int | None = None,
) -> Launched:
    """Start an emulator in a new session and return once it serves.

    It ends, with all its pods, when ``close`` is called or ``linger`` seconds after this process ended,
    however it ended. ``wrapper`` is put before its command line. Raise EmulatorError if it does not start.
    """
    options = {"balance": balance, "boot-seconds": boot_seconds, "linger": linger, "port": port, "api-key": api_key,
               "isolation": isolation}  # fmt: skip
    own = {"python": python or None, "pod-memory-mb": pod_memory_mb, "pod-processes": pod_processes,
           "pod-disk-mb": pod_disk_mb}  # fmt: skip
    words = [f"--{name}={value}" for name, value in {**options, **own}.items() if value is not None]
    words += ["--gpus"] if gpus else []
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(_import_path())}
    process = subprocess.Popen(
        [*wrapper, sys.executable, "-P", "-m", "rpd.emulator", *words],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True, env=env,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        line = _first_line(process.stdout)
    except BaseException:
        process.kill()
        process.communicate()
        raise
    if not line:
        process.communicate()
        raise EmulatorError(f"the emulator exited with code {process.returncode} before it was ready")
    facts = json.loads(line)
    if "error" in facts:
        process.communicate()
        raise EmulatorError(facts["error"])
    return Launched(
        base_url=facts["base_url"], api_key=facts["api_key"], process=process, notices=tuple(facts["notices"])
    )


def _first_line(output: IO[str]) -> str:
    """Return the line that says where the emulator serves; empty if it exited. Raise EmulatorError after a while."""
    with selectors.DefaultSelector() as selector:
        selector.register(output, selectors.EVENT_READ)
        if not selector.select(_LAUNCH_SECONDS):
            raise EmulatorError(
                f"the emulator was not ready within {_LAUNCH_SECONDS:g} s: run `rpd emulator` to see why"
            )
    return output.readline()


def _import_path() -> list[str]:
    """Return the import path of the child: the installed packages, then rpd's own folder, then ``PYTHONPATH``.

    A user's folders on the path of this process are left out: a file ``http.py`` there is not meant for the
    child.
    """
    package_folders = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    installed = [entry for entry in sys.path if entry.startswith(tuple(filter(None, package_folders)))]
    requested = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    return list(dict.fromkeys([*installed, str(Path(__file__).parents[2]), *requested]))
