"""The dry run: the whole plan, and no network, no key, no home folder, no run folder."""

from __future__ import annotations

import re
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from rpd.testing import RpdRun, RunResult
from tests.waiting import wait_until

Project = Callable[[dict[str, str]], Path]

DEPLOY = """
from pathlib import Path
import rpd
from rpd import Budget, Gpu, Secret

train = rpd.job(
    gpu=Gpu("NVIDIA RTX A4000", "NVIDIA L4", max_price_usd=1), budget=Budget(cost_cap_usd=2.5),
    secrets=[Secret("HF_TOKEN")], datacenters=("EU-RO-1",), env={"A": "1"},
)

@train
@rpd.mark.parametrize("seed", [1, 2])
def fit(pod, staged_dir, record_metric, seed):
    done = pod.run(f"python train.py --seed {seed}", cwd=staged_dir)
    assert done.exit_code == 0
    assert pod.id and pod.workspace == "/workspace"
    pod.write("note", "text")
    pod.pull("results/", cwd=staged_dir)
    record_metric("m", 1)

@rpd.job
def preflight():
    (Path(__file__).parent / "preflight-ran").touch()
"""


def dry(rpd: RpdRun, folder: Path, *args: str, **env: str) -> RunResult:
    """Run dry without key, secrets, or an API that answers; the home folder does not exist."""
    nothing: dict[str, str | None] = {"RUNPOD_API_KEY": None, "HF_TOKEN": None, "HOME": str(folder / "home")}
    return rpd(folder, "--dry-run", *args, env={**nothing, **env})


def left_behind(folder: Path) -> set[str]:
    """Return the new files of a project, without caches (outcomes of nodes without a pod are remembered)."""
    files = {path.relative_to(folder) for path in folder.rglob("*")}
    caches = ("__pycache__", ".rpd_cache")
    return {path.name for path in files if path.parts[0] not in caches} - {"rpd.toml", "deploy_x.py"}


def test_it_tells_the_plan(rpd: RpdRun, project: Project) -> None:
    """It shows request, offers in order with prices, steps, release and worst case of each node; podless jobs run."""
    folder = project({"deploy_x.py": DEPLOY, "train.py": ""})
    result = dry(rpd, folder)
    assert result.exit_code == 0, result.out + result.err
    first, second = (
        result.out.index("1. NVIDIA RTX A4000 in EU-RO-1"),
        result.out.index("2. NVIDIA L4 in EU-RO-1"),
    )
    assert first < second
    for words in ("deploy_x.py::fit[seed1]", "python train.py --seed 2", "put", "write note", "results/", "/h",
                  "delete on success", "at most $2.50", "worst case $5.00", "3 planned"):  # fmt: skip
        assert words in result.out
    assert left_behind(folder) == {"preflight-ran", "train.py"}
    assert result.run_dir is None


def test_the_short_form_is_the_same(rpd: RpdRun, project: Project) -> None:
    """``rpd --dry-run`` is ``rpd run --dry-run``."""
    folder = project({"deploy_x.py": "import rpd\n@rpd.job\ndef check(): ...\n"})
    result = rpd(folder, "--dry-run", command="")
    assert result.exit_code == 0
    assert "1 planned" in result.out


REACHES = {
    "connect": "socket.create_connection(('127.0.0.1', PORT))",
    "name": "socket.getaddrinfo('localhost', PORT)",
    "http": "urllib.request.urlopen('http://127.0.0.1:PORT/')",
    "process": "subprocess.run(['touch', str(HERE / 'escaped')])",
    "shell": "os.system('touch ' + str(HERE / 'escaped'))",
    "sendto": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', PORT))",
}


def test_user_code_reaches_nothing(rpd: RpdRun, project: Project) -> None:
    """A job or fixture that opens a connection or starts a process in a dry run fails there, and nothing gets out."""
    with socket.create_server(("127.0.0.1", 0)) as trap:
        port = trap.getsockname()[1]
        jobs = "".join(
            f"@rpd.job(gpu=None)\ndef {name}(pod):\n    {code.replace('PORT', str(port))}\n"
            for name, code in REACHES.items()
        )
        fixture = f"@rpd.fixture\ndef reaching():\n    {REACHES['connect'].replace('PORT', str(port))}\n"
        job = "@rpd.job\ndef asks(reaching): ...\n"
        head = "import os, socket, subprocess, urllib.request\nfrom pathlib import Path\nimport rpd\nHERE = Path(__file__).parent\n"
        folder = project({"deploy_x.py": head + jobs + fixture + job})
        result = dry(rpd, folder)
        trap.setblocking(False)
        with pytest.raises(BlockingIOError):
            trap.accept()
    assert result.exit_code == 1
    assert f"{len(REACHES)} failed" in result.out
    assert "1 error" in result.out
    assert result.out.count("is not allowed in a dry run") >= len(REACHES)
    assert left_behind(folder) == set()


def test_mistakes_show_up(rpd: RpdRun, project: Project) -> None:
    """A dry run finds local mistakes: a path that does not exist, an exception, a wrong argument."""
    folder = project(
        {
            "deploy_x.py": """
            import rpd
            job = rpd.job(gpu=rpd.Gpu("NVIDIA L4"))
            @job
            def puts(pod):
                pod.put("no-such-folder", "x")
            @job
            def raises(pod):
                raise KeyError("config")
            @job
            def runs_nothing(pod):
                pod.run("")
            """
        }
    )
    result = dry(rpd, folder)
    assert result.exit_code == 1
    for words in (
        "no-such-folder",
        "KeyError: 'config'",
        "pod.run: expected a shell command as one string, got ''",
        "3 failed",
    ):
        assert words in result.out
    assert "deploy_x.py:6" in result.out


def test_nothing_on_offer_is_told(rpd: RpdRun, project: Project) -> None:
    """A job that nothing RunPod rents can serve is an error in a dry run already."""
    text = "import rpd\n@rpd.job(gpu=rpd.Gpu('NVIDIA L4', max_price_usd=0.01))\ndef fit(pod): ...\n"
    result = dry(rpd, project({"deploy_x.py": text}))
    assert result.exit_code == 1
    assert "offers nothing that fits: NVIDIA L4 up to $0.01/h" in result.out


def test_a_node_is_told_once(rpd: RpdRun, project: Project) -> None:
    """The last node of a shared pod, whose report is written again by its teardown, is neither drawn nor counted twice."""
    text = """
    import rpd
    @rpd.fixture(scope="session")
    def shared(provision):
        with provision(gpu=None) as pod:
            yield pod
    @rpd.job(gpu=None, budget=rpd.Budget(cost_cap_usd=2))
    @rpd.mark.parametrize("seed", [1, 2])
    def fit(shared, seed):
        shared.run("x")
    """
    result = dry(rpd, project({"deploy_x.py": text}))
    assert result.exit_code == 0, result.out + result.err
    assert result.out.count("deploy_x.py::fit[seed2]") == 1
    assert "worst case $4.00" in result.out


def test_ctrl_c_in_a_job_ends_it(rpd: RpdRun, project: Project) -> None:
    """Ctrl-C while a job waits is the end of that node and of the run, with exit code 2."""
    text = """
    import threading
    from pathlib import Path
    import rpd
    @rpd.job(gpu=None)
    def waits(pod):
        (Path(__file__).parent / "waiting").touch()
        threading.Event().wait(120)
    @rpd.job(gpu=None)
    def later(pod): ...
    """
    folder = project({"deploy_x.py": text})
    running = rpd.start(folder, "--dry-run")
    wait_until((folder / "waiting").exists)
    running.send_signal(signal.SIGINT)
    result = running.finish()
    assert result.exit_code == 2
    assert "1 error, 1 not run" in result.out


def test_ctrl_c_between_jobs_ends_it(rpd: RpdRun, project: Project) -> None:
    """Ctrl-C outside of a job's code is no internal error, and pods are not mentioned, since a dry run has none."""
    hook = "def rpd_dry_run_node(node):\n    raise KeyboardInterrupt\n"
    result = dry(rpd, project({"deploy_x.py": DEPLOY, "train.py": "", "conftest.py": hook}))
    assert (result.exit_code, result.err) == (2, "rpd: interrupted\n")
    assert "internal error" not in result.out
    assert "released" not in result.out


def test_it_imports_nothing_heavy(cold: None, rpd: RpdRun, project: Project) -> None:
    """A dry run does not pay for loading the SDK, fabric or the emulator."""
    tell = "import atexit, sys\natexit.register(lambda: print('LOADED', sorted(set(sys.modules) & set(HEAVY))))\n"
    heavy = "HEAVY = ['runpod', 'fabric', 'paramiko', 'asyncssh', 'aiohttp', 'graphql', 'requests', 'boto3', 'httpx']\n"
    job = "import rpd\n@rpd.job(gpu=None)\ndef fit(pod): pod.run('x')\n"
    folder = project({"deploy_x.py": heavy + tell + job})
    result = rpd(
        folder, "--dry-run", env={"PYTHONUNBUFFERED": "1"}
    )  # an interpreter that has loaded nothing yet
    assert result.exit_code == 0, result.err
    assert "LOADED []" in result.out


THREADS = """
import concurrent.futures
import socket
import threading
import rpd

pool = concurrent.futures.ThreadPoolExecutor(1)
pool.submit(int).result()  # its thread is there before any job

def call():
    with socket.create_connection(("127.0.0.1", {port}), timeout=5) as there:
        there.sendall(b"hello")

@rpd.job
def from_a_thread(pod):
    thread = threading.Thread(target=call)
    thread.start()
    thread.join()

@rpd.job
def from_a_pool(pod):
    pool.submit(call)
    pool.submit(int).result()

@rpd.fixture
def tidied():
    yield
    call()

@rpd.job
def in_a_teardown(tidied):
    pass

@rpd.fixture(scope="session")
def shared():
    yield
    call()

@rpd.job
def in_a_shared_teardown(shared):
    pass

@rpd.job
def later(pod):
    threading.Timer(0.05, call).start()

@rpd.job
def innocent(pod):
    threading.Event().wait(0.3)
"""


def test_threads_and_teardowns_reach_nothing_either(rpd: RpdRun, project: Project) -> None:
    """The guard holds for the whole process: for threads that a job starts, for those that were there, and at teardown."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.01)
        folder = project({"deploy_x.py": THREADS.format(port=server.getsockname()[1])})
        result = dry(rpd, folder)
        with pytest.raises(TimeoutError):
            server.accept()
    assert result.exit_code == 1
    for job in ("from_a_thread", "from_a_pool", "in_a_teardown", "in_a_shared_teardown"):
        assert re.search(rf"(ERROR|FAILED) deploy_x.py::{job} - .*not allowed in a dry run", result.out), job
