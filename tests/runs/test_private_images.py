"""Private images: the credentials of a run, refused early or stored at RunPod for as long as they are needed."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from rpd.emulator.launch import Launched
from rpd.errors import Cause
from rpd.testing import RpdRun
from tests.runs.conftest import HASTY, events, write_project
from tests.waiting import DEADLINE, wait_until

DEPLOY = """
import os, time
from pathlib import Path
import rpd
from rpd import Budget, Gpu, Registry, Secret

HERE = Path(__file__).parent

@rpd.job(image="IMAGE", registry=Registry(username="me", password=Secret("WORD")), budget=Budget(cost_cap_usd=1), FIELDS)
@rpd.mark.parametrize("n", [1, 2])
def fit(pod, n):
    pod.run("true")
    # Called a second time, for its pulls, it does not wait again.
    waits = os.environ.get("WAIT") and not (HERE / f"reached{n}").exists()
    (HERE / f"reached{n}").touch()
    while waits and not (HERE / "go").exists():
        time.sleep(0.02)
"""
WORD = "s3cret\\\"'of mine"


@pytest.fixture
def image(clean_emulator: Launched, monkeypatch: pytest.MonkeyPatch) -> str:
    """A private image in the emulator's own registry."""
    name = f"{clean_emulator.base_url.removeprefix('http://')}/team/private:1"
    clean_emulator.add_image(name, ssh="starts", username="me", password=WORD)
    monkeypatch.setenv("WORD", WORD)
    return name


def project(folder: Path, image: str, fields: str = "gpu=None", *, rest: bool = False) -> Path:
    deploy = DEPLOY.replace("IMAGE", image).replace("FIELDS", fields)
    made = write_project(folder / "p", {"deploy_a.py": deploy, "conftest.py": HASTY})
    if rest:
        (made / "rpd.toml").write_text('lifecycle = "rest"\n')
    return made


def stored(emulator: Launched) -> list[object]:
    return list(emulator.state()["registries"])


@pytest.mark.parametrize(
    ("fields", "rest"),
    [
        ("gpu=None", False),
        pytest.param('gpu=Gpu("NVIDIA L4"), spot=True', False, marks=pytest.mark.exhaustive),
        pytest.param('gpu=Gpu("NVIDIA L4")', True, marks=pytest.mark.exhaustive),
    ],
)
def test_credentials_live_as_long_as_the_run(
    fields: str, rest: bool, image: str, rpd: RpdRun, tmp_path: Path, clean_emulator: Launched
) -> None:
    """Stored once for all nodes, deleted at the end, and the password stands in no file of the run."""
    result = rpd(project(tmp_path, image, fields, rest=rest), "-n", "2", timeout=DEADLINE)
    assert result.exit_code == 0, result.out + result.err
    assert result.run_dir is not None
    assert len(events(result.run_dir, "registry_stored")) == 1
    assert stored(clean_emulator) == []
    for file in result.run_dir.rglob("*"):
        assert not file.is_file() or b"s3cret" not in file.read_bytes(), file


def test_wrong_credentials_are_refused_before_a_pod(
    image: str, rpd: RpdRun, tmp_path: Path, clean_emulator: Launched
) -> None:
    """The registry's words, the place in the deploy file and advice; nothing is created."""
    result = rpd(project(tmp_path, image), env={"WORD": "wrong"})
    assert result.exit_code == 4
    assert "deploy_a.py" in result.err
    assert "refuses the user 'me' and this password (incorrect username or password)" in result.err
    assert "the password in WORD" in result.err
    assert stored(clean_emulator) == clean_emulator.pods() == []


def test_credentials_that_are_stored_already(
    image: str, rpd: RpdRun, tmp_path: Path, clean_emulator: Launched
) -> None:
    """A name that RunPod does not have is refused at once; one that does not open the image, as soon as the log says so."""
    folder = project(tmp_path, image)
    text = (folder / "deploy_a.py").read_text()
    (folder / "deploy_a.py").write_text(
        text.replace('Registry(username="me", password=Secret("WORD"))', '"mine"')
    )
    refused = rpd(folder)
    assert refused.exit_code == 4
    assert "Job.registry: the account has no registry credentials 'mine': it has none" in refused.err
    from rpd.runpod.switch import SwitchingProvider

    account = SwitchingProvider(clean_emulator.api_key)
    wrong = account.add_registry("mine", "me", "wrong")
    result = rpd(folder, timeout=DEADLINE)
    assert {report.result.cause for report in result.reports} == {Cause.CODE}
    assert "whether the credentials in registry are right" in result.reports[0].result.reason
    account.remove_registry(wrong)
    right = account.add_registry("mine", "me", WORD)
    assert rpd(folder, "-n", "2", timeout=DEADLINE).exit_code == 0
    account.remove_registry(right)
    account.remove_registry(right)
    account.close()
    assert stored(clean_emulator) == []


OWN = 'Registry(username="me", password=Secret("WORD"))'


@pytest.mark.exhaustive
@pytest.mark.parametrize("lifecycle", ["sdk", "auto", "rest"])
def test_credentials_without_graphql(
    lifecycle: str, image: str, rpd: RpdRun, tmp_path: Path, clean_emulator: Launched
) -> None:
    """Right, wrong and missing ones, brought along or stored, while GraphQL answers 410: each ends as it does with it."""
    clean_emulator.inject({"kind": "gone", "match": {"face": "graphql"}})
    folder = project(tmp_path, image, 'gpu=Gpu("NVIDIA L4")')
    (folder / "rpd.toml").write_text(f'lifecycle = "{lifecycle}"\n')
    file = folder / "deploy_a.py"
    text = file.read_text()
    wrong = rpd(folder, env={"WORD": "wrong"})
    assert wrong.exit_code == 4
    assert "refuses the user 'me' and this password" in wrong.err
    file.write_text(text.replace(OWN, "None"))
    none = rpd(folder)
    assert none.exit_code == 1, none.out + none.err
    assert "does not show it without credentials; is the name right? A private image needs" in none.out
    assert {report.result.cause for report in none.reports} == {Cause.CODE}, "one pod shows it for both"
    assert none.run_dir is not None
    assert len(events(none.run_dir, "created")) == 1
    file.write_text(text.replace(OWN, '"mine"'))
    missing = rpd(folder)
    assert missing.exit_code == 4
    assert "the account has no registry credentials 'mine': it has none" in missing.err
    assert stored(clean_emulator) == clean_emulator.pods() == []
    from rpd.runpod.switch import SwitchingProvider

    account = SwitchingProvider(clean_emulator.api_key)
    stale = account.add_registry("mine", "me", "wrong")
    refused = rpd(folder, timeout=DEADLINE)
    assert {report.result.cause for report in refused.reports} == {Cause.CODE}, refused.out
    assert "whether the credentials in registry are right" in refused.reports[0].result.reason
    account.remove_registry(stale)
    account.close()
    file.write_text(text)
    right = rpd(folder, timeout=DEADLINE)
    assert right.exit_code == 0, right.out + right.err
    assert stored(clean_emulator) == clean_emulator.pods() == []


def test_credentials_of_a_killed_run(
    image: str, rpd: RpdRun, tmp_path: Path, clean_emulator: Launched
) -> None:
    """Ctrl-C deletes them; after SIGKILL resume and gc know of them."""
    folder = project(tmp_path, image, 'gpu=Gpu("NVIDIA L4")')
    running = rpd.start(folder, "-k", "n1", env={"WAIT": "1"})
    wait_until((folder / "reached1").exists, "the job")
    running.send_signal(signal.SIGINT)
    assert running.finish().exit_code == 2
    assert stored(clean_emulator) == []
    (folder / "reached1").unlink()
    running = rpd.start(folder, "-k", "n1", env={"WAIT": "1"})
    wait_until((folder / "reached1").exists, "the job")
    running.send_signal(signal.SIGKILL)
    running.finish()
    assert len(stored(clean_emulator)) == 1
    printed = rpd(folder, command="gc")
    assert "its run ended without deleting them" in printed.out
    reaped = rpd(folder, "--yes", command="gc")
    assert "deleted registry credentials rpd-" in reaped.out, reaped.out + reaped.err
    assert stored(clean_emulator) == clean_emulator.pods() == []
    assert "nothing to delete" in rpd(folder, command="gc").out


def test_a_resumed_run_deletes_them(
    image: str, rpd: RpdRun, tmp_path: Path, clean_emulator: Launched
) -> None:
    """``rpd resume`` uses what the killed process stored, stores nothing again, and deletes it at its end."""
    folder = project(tmp_path, image)
    running = rpd.start(folder, "-k", "n1", env={"WAIT": "1"})
    wait_until((folder / "reached1").exists, "the job")
    running.send_signal(signal.SIGKILL)
    running.finish()
    [credential] = stored(clean_emulator)
    (folder / "go").touch()
    result = rpd(folder, command="resume", timeout=DEADLINE)
    assert result.exit_code == 0, result.out + result.err
    assert len(events(folder / "rpd-runs" / "latest", "registry_stored")) == 1
    assert stored(clean_emulator) == clean_emulator.pods() == []
    assert credential


@pytest.mark.parametrize(
    ("traits", "code", "told"),
    [
        ({"platform": "linux/arm64"}, 4, "it was built for linux/arm64, but they need linux/amd64"),
        ({"lacks": ["curl", "wget", "python3"]}, 4, "its history shows no SSH server"),
        (None, 4, "has no team/none:2. Check the tag for a typo"),
    ],
)
def test_a_public_image_is_asked_for_before_a_pod(
    traits: dict[str, object] | None,
    code: int,
    told: str,
    rpd: RpdRun,
    tmp_path: Path,
    clean_emulator: Launched,
) -> None:
    """An image that no host could run, or hardly be used, is reported before anything bills."""
    here = clean_emulator.base_url.removeprefix("http://")
    image = f"{here}/team/{'none' if traits is None else 'own'}:2"
    if traits is not None:
        clean_emulator.add_image(image, **traits)
    deploy = f"import rpd\n@rpd.job(image={image!r})\ndef fit(pod): ...\n"
    folder = write_project(tmp_path / "p", {"deploy_a.py": deploy, "conftest.py": HASTY})
    result = rpd(
        folder, "--cost-cap-usd", "50"
    )  # more than a run may cost unasked: it ends there at the latest
    assert told in result.out + result.err
    assert result.exit_code == code
    assert result.run_dir is None
