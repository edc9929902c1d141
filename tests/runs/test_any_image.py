"""Images without an SSH server, or that hide the pod's creation variables: whole runs, over both APIs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rpd.emulator.launch import Launched
from rpd.errors import Cause
from rpd.testing import RpdRun, RunResult
from tests.http_server import Quiet, serving
from tests.runs.conftest import HASTY, events, write_project
from tests.waiting import DEADLINE

DEPLOY = """
import rpd

@rpd.job(gpu=None, FIELDS)
def fit(pod):
    pod.run("id -un; echo key=$RUNPOD_API_KEY; cat /tmp/said 2>/dev/null; true")
"""
HASTIER = f"""{HASTY}
boot.SILENT_SECONDS, lease.REFUSED_SECONDS, lease.LOOK_AGAIN_SECONDS = 0, 20, 2
"""
MICROMAMBA = b"""#!/bin/sh
while [ "$1" != -p ]; do shift; done
mkdir -p "$2/sbin" "$2/bin" && cp /opt/emulator/sshd "$2/sbin/" && cp /opt/emulator/ssh-keygen "$2/bin/"
"""


@pytest.fixture(autouse=True)
def _sandboxed(clean_emulator: Launched) -> None:
    if clean_emulator.state()["isolation"] != "root":
        pytest.skip("images are told apart in a sandbox that root makes")


@pytest.fixture
def run(clean_emulator: Launched, rpd: RpdRun, tmp_path: Path) -> Callable[..., RunResult]:
    def run(image: str, fields: str = "", *words: str, rest: bool = False) -> RunResult:
        files = {
            "deploy_a.py": DEPLOY.replace("FIELDS", f"image={image!r}, {fields}"),
            "conftest.py": HASTIER,
        }
        folder = write_project(tmp_path / "p", files)
        if rest:
            (folder / "rpd.toml").write_text('lifecycle = "rest"\n')
        return rpd(folder, *words, timeout=DEADLINE)

    return run


@pytest.fixture
def download() -> Iterator[str]:
    """Where a stand-in for micromamba is to be fetched from."""

    class Handler(Quiet):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(MICROMAMBA)))
            self.end_headers()
            self.wfile.write(MICROMAMBA)

    with serving(Handler) as address:
        yield f"http://{address}/micromamba"


def said(result: RunResult) -> str:
    """Return the output of the job's command, once it is known to have passed."""
    assert result.exit_code == 0, result.out + result.err
    assert result.run_dir is not None
    [log] = result.run_dir.rglob("output.log")
    return log.read_text()


@pytest.mark.parametrize("rest", [False, pytest.param(True, marks=pytest.mark.exhaustive)])
def test_an_image_with_nothing_but_a_package_manager(
    run: Callable[..., RunResult], clean_emulator: Launched, *, rest: bool
) -> None:
    """Its own entry point is not run; the start command, with quotes of all kinds, is, after SSH is up."""
    clean_emulator.add_image("team/bare", packages=["apk", "dnf"], broken=["apk"], entrypoint=["/bin/false"])
    command = """sh -c 'echo "it '\\''is\\" $1" >/tmp/said; exec sleep 1000' sh 'a "b"'"""
    result = run("team/bare", f"docker_args={command!r}", "-v", rest=rest)
    text = said(result)
    assert text.startswith("root\nkey=rpa_")
    assert text.endswith('it \'is" a "b"\n')


@pytest.mark.exhaustive
def test_a_user_who_is_not_root_and_a_server_that_has_to_be_fetched(
    run: Callable[..., RunResult], clean_emulator: Launched, download: str
) -> None:
    """No package manager serves without root: micromamba does, and rpd logs in as the user that the server lets in."""
    clean_emulator.add_image(
        "team/user", packages=["apt-get"], user="app", keeps_user=True, lacks=["curl", "wget"]
    )
    result = run("team/user", f"env={{'RPD_MICROMAMBA_URL': {download!r}}}", "-v")
    assert said(result).startswith("app\nkey=rpa_")
    assert result.run_dir is not None
    assert events(result.run_dir, "ready")[0]["user"] == "app"


def test_no_way_to_get_a_server(run: Callable[..., RunResult], clean_emulator: Launched) -> None:
    """The error comes in seconds, lists the attempts, on two pods; the time for booting is not waited out."""
    clean_emulator.add_image("team/nothing", lacks=["curl", "wget", "python3"])
    result = run("team/nothing")
    [report] = result.reports
    assert report.result.cause is Cause.CODE
    assert "none of curl, wget and python3 is there to fetch one" in report.result.reason
    assert "Install openssh-server in the image" in report.result.reason
    assert result.run_dir is not None
    assert len(events(result.run_dir, "created")) == 2


@pytest.mark.exhaustive
def test_an_image_that_starts_no_server_is_told_of_early(
    run: Callable[..., RunResult], clean_emulator: Launched
) -> None:
    """With ``ssh="image"`` the container's acts are unknown; so its log is shown, with advice."""
    clean_emulator.add_image("team/mute", command=["sh", "-c", "echo loading the model; sleep 1000"])
    result = run("team/mute", 'ssh="image"', "--ssh-ready-timeout-sec", "3")
    assert result.exit_code == 1
    assert (
        'Its log ends with: loading the model. If the image does not start one, set ssh="install"'
        in result.out
    )
    assert "Its log ends with: loading the model" in result.reports[0].result.reason


@pytest.mark.exhaustive
def test_a_start_command_that_becomes_sshd(run: Callable[..., RunResult], clean_emulator: Launched) -> None:
    """PID 1 has written over its variables: commands and the watchdog take them from where they still are."""
    clean_emulator.add_image("team/ssh", ssh="present")
    start = (
        "mkdir -p /run/sshd ~/.ssh; ssh-keygen -A; echo $PUBLIC_KEY >>~/.ssh/authorized_keys; "
        "env -i KEPT=1 sleep 1000 & (sleep 1000) & exec env -i /opt/bin/sshd -D"
    )
    result = run("team/ssh", f"docker_args={f'bash -c {start!r}'!r}")
    assert said(result).startswith("root\nkey=rpa_")


MANAGERS = ("apt-get", "apk", "dnf", "microdnf", "yum")
IMAGES: dict[str, dict[str, object]] = {
    "sshd is there": {"ssh": "present"},
    **{f"only {name}": {"packages": [name]} for name in MANAGERS},
    **{
        f"{broken} reaches nothing": {"packages": [broken, other], "broken": [broken]}
        for broken, other in zip(MANAGERS, (*MANAGERS[1:], MANAGERS[0]), strict=True)
    },
    "a user who may become root": {"packages": ["apt-get"], "user": "app"},
    "an entry point that ends": {"packages": ["apk"], "entrypoint": ["/bin/false"]},
}


@pytest.mark.exhaustive
@pytest.mark.parametrize("interface", ["sdk", "rest", "retired"])
@pytest.mark.parametrize("traits", IMAGES.values(), ids=IMAGES)
def test_every_image_over_every_interface(
    traits: dict[str, object], interface: str, run: Callable[..., RunResult], clean_emulator: Launched
) -> None:
    """Quotes, backslashes and blanks in the start command and the environment arrive unchanged."""
    if interface == "retired":
        clean_emulator.inject({"kind": "gone", "match": {"face": "graphql"}})
    clean_emulator.add_image("team/any", **traits)
    command = r"""sh -c 'echo "$ODD it '\''is\" $1" >/tmp/said; exec sleep 1000' sh 'a "b" \ c'"""
    fields = f"docker_args={command!r}, env={{'ODD': 'x \"y\" z'}}"
    text = said(run("team/any", fields, "-v", rest=interface == "rest"))
    assert text.startswith("root\nkey=rpa_")
    assert text.endswith('x "y" z it \'is" a "b" \\ c\n')
