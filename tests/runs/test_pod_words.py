"""Methods of a pod other than commands: secrets as files, the environment, kept files, marks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from rpd.emulator.launch import Launched
from rpd.testing import RpdRun, RunResult
from tests.runs.conftest import outcomes, write_project

KEY = bytes(range(256)) * 3
JSON = '{"username": "me", "key": "canary-4711-abcd"}'

DEPLOY = """
import rpd
from rpd import Budget, Gpu, Lifecycle, Secret, Storage

job = rpd.job(
    gpu=Gpu("NVIDIA RTX A4000"), budget=Budget(cost_cap_usd=0.5), storage=Storage(volume_gb=5),
    secrets=[
        Secret("BLOB", file="KEY_FILE", to="/root/deep/key.bin", mode=0o400),
        Secret("KAGGLE", env="KAGGLE_JSON", to="/workspace/kaggle.json"),
    ],
    lifecycle=Lifecycle(on_success="recycle"),
    required_paths=["tree", "data/{seed}.csv"],
)

@rpd.fixture
def ready(pod, seed):
    pod.setenv(FROM_FIXTURE="it's", SEED=seed)
    pod.source("extra.env", required=False)

@job
@rpd.mark.parametrize("seed", [7, 8])
def words(pod, ready, seed):
    pod.run("stat -c '%a %s' /root/deep/key.bin /workspace/kaggle.json; cat /workspace/kaggle.json; "
            "sha256sum < /root/deep/key.bin; test -z \\"$BLOB$KAGGLE\\"")
    pod.run('test "$FROM_FIXTURE $SEED" = "it\\'s 7" && test -z "$PLAIN"')
    pod.write("extra.env", "PLAIN=sourced\\n")
    pod.run('test "$(env | grep ^PLAIN)" = PLAIN=sourced && test "$SEED" = 9', env={"SEED": 9})
    # What stays on the pod.
    pod.put("tree", "proj", keep=[".venv/", "/kept/*.bin", "**/deep/x"])
    pod.run("cd proj && mkdir -p .venv sub/.venv kept a/deep lost && touch .venv/it sub/.venv/it kept/a.bin kept/b.txt "
            "a/deep/x lost/y 'kept/odd\\n.bin'")
    pod.put("tree", "proj", keep=[".venv/", "/kept/*.bin", "**/deep/x"])
    pod.run("cd proj && find . -type f -print0 | sort -z | tr '\\\\0\\\\n' '\\\\n?'; ls -A /workspace", name="kept")
    pod.put("more", "proj", delete=False, ignored=True)
    pod.run("cd proj && test -e .venv/it && cat ignored.log file && ls -A /workspace")
    # What a script says.
    pod.run("rpd-step first part; rpd-step second >/dev/null; sleep 0.3; echo ::rpd-step; echo '::rpd-stepping'")
    pod.run("mkdir -p out/in; echo 1 > out/in/a; ln -s in/a out/link; echo h > out/.hidden")
    pod.pull("out/", "contents/")
    pod.pull("out", "whole/")
    pod.pull("out/", label="labelled", exclude=["link"])

@job(secrets=[], required_paths=[])
def after(pod):
    pod.run("test -e /workspace/proj && test ! -e /workspace/kaggle.json && test ! -e /root/deep/key.bin")

@job
@rpd.mark.parametrize("seed", [7])
def lacks(pod, seed):
    pod.source("/nowhere.env")
    pod.run("echo never")
"""


@dataclass(frozen=True)
class Run:
    result: RunResult
    folder: Path
    env: dict[str, str | None]

    def rpd(self, *args: str, command: str) -> RunResult:
        return RpdRun()(self.folder, *args, command=command, env=self.env)


@pytest.fixture(scope="module")
def ended(_shared_emulator: Launched, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Run both jobs once, on the emulator of all tests."""
    base = tmp_path_factory.mktemp("words")
    (base / "key.bin").write_bytes(KEY)
    files = {
        "deploy_x.py": DEPLOY.replace("KEY_FILE", str(base / "key.bin")),
        "tree/file": "local\n",
        "more/file": "replaced\n",
        "more/.gitignore": "*.log\n",
        "more/ignored.log": "ignored\n",
        "data/7.csv": "",
    }
    folder = write_project(base / "project", files)
    env: dict[str, str | None] = {
        "RUNPOD_API_BASE_URL": _shared_emulator.base_url,
        "RUNPOD_API_KEY": _shared_emulator.api_key,
        "KAGGLE_JSON": JSON,
    }
    made = Run(RpdRun()(folder, "-s", "--continue-on-collection-errors", "--yes", env=env), folder, env)
    yield made
    assert made.rpd("--stopped", command="stop").exit_code == 0


def test_the_outcomes(ended: Run) -> None:
    """The node without its data is reported and not run; the other does its work; a file to source must exist."""
    assert outcomes(ended.result) == {
        "words[seed7]": "passed",
        "after": "passed",
        "lacks[seed7]": "failed",
    }, ended.result.out + ended.result.err
    assert f"required_paths: {ended.folder}/data/8.csv is missing" in ended.result.out + ended.result.err
    assert "cannot source /nowhere.env: no such file" in ended.result.out
    log = Path(ended.result.report("lacks[seed7]").folder) / "output.log"
    assert log.read_text() == "rpd: cannot source /nowhere.env: no such file\n"
    collected = ended.rpd("-q", command="collect")
    assert (collected.exit_code, "data/8.csv is missing" in collected.out + collected.err) == (2, True)


def test_secrets_are_files_on_the_pod(ended: Run) -> None:
    """They arrive byte for byte, with their mode; nothing shows them, and a pod that stays has them no more."""
    out = ended.result.out
    assert f"400 {len(KEY)}" in out
    assert f"600 {len(JSON)}" in out
    assert hashlib.sha256(KEY).hexdigest() in out
    assert "canary-4711" not in out
    folder = ended.result.run_dir
    assert folder is not None
    content = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert b"canary-4711" not in content
    assert KEY[:32] not in content
    assert ended.result.report("after").pod.reused  # the pod of the first job, where it found none of them


def test_what_stays_in_a_tree(ended: Run) -> None:
    """``keep`` leaves the named paths alone, and nothing else; ``delete=False`` adds; ``ignored`` sends all."""
    log = (Path(ended.result.report("words[seed7]").folder) / "output.log").read_text()
    begin = log.index("./.venv/it")
    files, _, workspace = log[begin:].partition("./sub/.venv/it\n")
    assert files.splitlines() == ["./.venv/it", "./a/deep/x", "./file", "./kept/a.bin", "./kept/odd?.bin"]
    assert workspace.split()[:3] == ["extra.env", "kaggle.json", "proj"]
    assert "ignored\nreplaced\n" in log
    steps = [step.command for step in ended.result.report("words[seed7]").steps if step.kind == "put"]
    assert steps[0].endswith("/workspace/proj, keeping .venv/ /kept/*.bin **/deep/x")


def test_a_script_says_what_it_does(ended: Run) -> None:
    """``rpd-step`` and a line make marks in journal, manifest and ``rpd show``, however its output is redirected."""
    report = ended.result.report("words[seed7]")
    assert [mark.name for mark in report.marks] == ["first part", "second"]
    assert report.marks[1].seconds > 0
    assert len({mark.step for mark in report.marks}) == 1
    events = ended.rpd("words", command="events").out
    assert events.count("step_mark") == 3
    shown = ended.rpd("words", command="show").out
    assert "  first part" in shown
    assert "labelled: /workspace/out -> artifacts/labelled  2 files" in shown


def test_a_slash_pulls_the_contents(ended: Run) -> None:
    """With a place, the contents of ``out/`` go there, links and hidden files too; without the slash the folder."""
    artifacts = Path(ended.result.report("words[seed7]").folder) / "artifacts"
    files = {path.relative_to(artifacts).as_posix() for path in artifacts.glob("*/**/*") if not path.is_dir()}
    assert files == {
        *(f"contents/{name}" for name in ("in/a", "link", ".hidden")),
        *(f"whole/out/{name}" for name in ("in/a", "link", ".hidden")),
        *(f"labelled/{name}" for name in ("in/a", ".hidden")),
    }
    assert (artifacts / "contents/link").readlink() == Path("in/a")
    verified = ended.rpd(command="verify")
    assert verified.exit_code == 0, verified.out
    assert [a.label for a in ended.result.report("words[seed7]").artifacts] == ["", "", "labelled"]
