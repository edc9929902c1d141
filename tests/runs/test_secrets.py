"""The canary: neither a secret's value nor the API key is anywhere that somebody else may look."""

from __future__ import annotations

import base64
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from rpd.emulator.launch import launch
from rpd.testing import RpdRun, RunResult
from tests.runs.conftest import outcomes, write_project

SECRET = "canary-7f3Q9zXw-51ab"
FILE_SECRET = "second line\ncanary/+8&<\"'\\-end"

DEPLOY = """
import os
import rpd
from rpd import Budget, Gpu, Secret

job = rpd.job(
    gpu=Gpu("NVIDIA RTX A4000"), budget=Budget(cost_cap_usd=0.5), env={"PLAIN": "visible"},
    secrets=[Secret("HF_TOKEN"), Secret("FROM_FILE", file="SECRET_FILE")],
)
VALUE = os.environ["HF_TOKEN"]

@job
@rpd.mark.parametrize("token", [rpd.param(VALUE, id="t")])
def has_it(pod, record_metric, token):
    pod.run('test "$HF_TOKEN" = "$WANTED" && test "$PLAIN" = visible && echo got it', env={"WANTED": VALUE})
    pod.run('printf "%s" "$FROM_FILE" > whole; wc -c < whole; rm whole')
    record_metric("token", f"a {VALUE} b")

@job
def prints_it(pod):
    pod.run('echo "token=$HF_TOKEN"; echo "$HF_TOKEN" >&2; echo "$FROM_FILE"; exit 1')

@job
def prints_it_in_pieces(pod):
    pod.run('for i in $(seq ${#HF_TOKEN}); do printf "%s" "$(printf "%s" "$HF_TOKEN" | cut -c$i)"; sleep 0.02; done; echo; exit 1')

@job
def names_it(pod):
    pod.run(f"echo {VALUE} > /dev/null", name=f"step {VALUE}")
    pod.write("f", f"{VALUE}")
    raise ValueError(f"could not log in with {VALUE}")

@job
def keeps_it_from_others(pod):
    pod.run("! tr '\\\\0' '\\\\n' < /proc/1/environ | grep -q HF_TOKEN")
    pod.run('! grep -rqs "canary-[7]f" /root /etc /tmp /workspace /dev/shm 2>/dev/null')
    pod.run("! ps axww -o args 2>/dev/null | grep -q 'canary-[7]f'")

@rpd.fixture
def broken():
    raise RuntimeError(f"fixture has {VALUE}")

@job
def errs_with_it(broken): ...
"""


@dataclass
class Recorder:
    """An HTTP proxy in front of an emulator that keeps every request; authorization headers apart."""

    target: str
    bodies: list[bytes] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {
                    k: v
                    for k, v in self.headers.items()
                    if k.lower() not in ("host", "connection", "accept-encoding")
                }
                shown = {k: v for k, v in headers.items() if k.lower() != "authorization"}
                recorder.keys.append(headers.get("Authorization", ""))
                recorder.bodies.append(b"\n".join([self.path.encode(), json.dumps(shown).encode(), body]))
                request = urllib.request.Request(
                    recorder.target + self.path, method=self.command, data=body or None, headers=headers
                )
                try:
                    with urllib.request.urlopen(request, timeout=60) as response:
                        status, answer, kind = (
                            response.status,
                            response.read(),
                            response.headers["Content-Type"],
                        )
                except urllib.error.HTTPError as error:
                    status, answer, kind = error.code, error.read(), error.headers["Content-Type"]
                self.send_response(status)
                self.send_header("Content-Type", kind or "text/plain")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_GET = do_POST = do_DELETE = do_PATCH = handle_any

            def log_message(self, *args: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@dataclass(frozen=True)
class Run:
    result: RunResult
    folder: Path
    api_key: str
    requests: list[bytes]
    keys: set[str]
    pods_left: list[object]


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Run jobs that misuse their secrets, past a proxy that records every request."""
    base = tmp_path_factory.mktemp("secrets")
    (base / "secret").write_text(FILE_SECRET, encoding="utf-8")
    folder = write_project(
        base / "project", {"deploy_x.py": DEPLOY.replace("SECRET_FILE", str(base / "secret"))}
    )
    with launch(boot_seconds=0.1) as emulator:
        recorder = Recorder(emulator.base_url)
        env = {"RUNPOD_API_BASE_URL": recorder.url, "RUNPOD_API_KEY": emulator.api_key, "HF_TOKEN": SECRET}
        try:
            result = RpdRun()(folder, "-n", "3", "-vv", "-s", "--junitxml", "junit.xml", env=env)
        finally:
            recorder.close()
        yield Run(
            result, folder, emulator.api_key, recorder.bodies, set(recorder.keys), list(emulator.pods())
        )


def test_commands_have_their_secrets(ended: Run) -> None:
    """A command has every secret of its job in its environment, complete; no other process on the pod has."""
    assert outcomes(ended.result) == {
        "has_it[t]": "passed", "prints_it": "failed", "prints_it_in_pieces": "failed", "names_it": "failed",
        "keeps_it_from_others": "passed", "errs_with_it": "error",
    }, ended.result.out + ended.result.err  # fmt: skip
    output = (Path(ended.result.report("has_it[t]").folder) / "output.log").read_text(encoding="utf-8")
    assert output == f"got it\n{len(FILE_SECRET)}\n"
    assert ended.pods_left == []


def leaks(text: bytes, *secrets: str) -> list[str]:
    """Return the secrets that stand in ``text``, plain or in an encoding they usually travel in."""
    collected = []
    for secret in secrets:
        plain = secret.encode()
        forms = [
            plain,
            base64.b64encode(plain),
            json.dumps(secret)[1:-1].encode(),
            repr(secret)[1:-1].encode(),
        ]
        collected += [secret for form in forms if form in text]
    return collected


def test_no_file_of_the_run_holds_them(ended: Run) -> None:
    """No file of the run, JUnit included, holds a secret or the key; output is masked, not dropped."""
    assert ended.result.run_dir is not None
    files = [path for path in ended.folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert len(files) > 15
    assert ended.folder / "junit.xml" in files
    for path in files:
        secrets = (SECRET, FILE_SECRET, "canary/+8", ended.api_key)
        assert leaks(path.read_bytes(), *secrets) == [] or path.name == "deploy_x.py", path
    for name in ("prints_it", "prints_it_in_pieces"):
        assert "***" in (Path(ended.result.report(name).folder) / "output.log").read_text(encoding="utf-8")


def test_the_screen_shows_none(ended: Run) -> None:
    """Neither stdout nor stderr shows one, with the most verbose output and tracebacks of jobs that hold them."""
    for text in (ended.result.out, ended.result.err):
        assert leaks(text.encode(), SECRET, FILE_SECRET, "canary/+8", ended.api_key) == []
    assert "could not log in with ***" in ended.result.out
    assert "token=***" in ended.result.out


def test_requests_hold_none(ended: Run) -> None:
    """No request to RunPod holds a secret; the key stands in the authorization header alone."""
    assert len(ended.requests) > 20
    assert any(b"visible" in body for body in ended.requests)
    for body in ended.requests:
        assert leaks(body, SECRET, FILE_SECRET, "canary/+8", ended.api_key) == []
    assert ended.keys == {f"Bearer {ended.api_key}"}


def test_reports_are_masked(ended: Run) -> None:
    """Reason, steps, parameters and metrics have their secrets masked."""
    assert ended.result.report("names_it").result.reason == "ValueError: could not log in with ***"
    assert ended.result.report("names_it").steps[0].command == "echo *** > /dev/null"
    assert ended.result.report("errs_with_it").result.reason == "RuntimeError: fixture has ***"
    report = ended.result.report("has_it[t]")
    assert (report.node.parameters["token"], report.metrics["token"]) == ("***", "a *** b")


DRY = """
import os
import rpd

@rpd.job(secrets=["HF_TOKEN", "NOT_SET"])
def login(pod):
    pod.run(f"huggingface-cli login --token {os.environ['HF_TOKEN']}")

@rpd.job(secrets=["HF_TOKEN"])
def fails(pod):
    token = os.environ["HF_TOKEN"]
    raise ValueError(f"refused: {token!r}")
"""


@pytest.mark.parametrize("more", [(), ("-v",), ("-l", "--tb=long"), ("--setup-show",)], ids=" ".join)
def test_a_dry_run_masks_on_the_screen_and_in_reports(
    tmp_path: Path, rpd: RpdRun, more: tuple[str, ...]
) -> None:
    """A secret of the environment is shown nowhere, and one that is not set is no error: nothing needs it."""
    folder = write_project(tmp_path / "project", {"deploy_a.py": DRY})

    result = rpd(
        folder, "--dry-run", "--junitxml", "j.xml", "--html", "h.html", *more, env={"HF_TOKEN": SECRET}
    )

    printed = [
        result.out,
        result.err,
        *((folder / name).read_text(encoding="utf-8") for name in ("j.xml", "h.html")),
    ]
    assert result.exit_code == 1, result.out + result.err
    assert all(SECRET not in text for text in printed)
    assert "--token ***" in result.out
    assert all(
        "refused: '***'" in text or "refused: &#x27;***&#x27;" in text for text in (printed[0], *printed[2:])
    )
