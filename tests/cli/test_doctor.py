"""``rpd doctor``: one line a check, exit 1 where a run cannot do well, and nothing made."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rpd.cli import doctor, doctor_code
from rpd.emulator.launch import Launched

Project = Any
DEPLOY = """
    import rpd
    from rpd import Budget, Gpu, Secret, Storage

    @rpd.job(image="{image}", gpu=Gpu("NVIDIA L4"), budget=Budget(cost_cap_usd=5), {more})
    def fit(pod, staged_dir):
        pass
"""


def deploy(project: Project, registry: str, *, tag: str = "there", more: str = "", **files: str) -> None:
    text = DEPLOY.format(image=f"{registry}/team/image:{tag}", more=more)
    project.write({"jobs/deploy_a.py": text, **{f"jobs/{name}": each for name, each in files.items()}})


def findings(project: Project, *args: str, **env: Any) -> tuple[int, dict[str, tuple[str, str]]]:
    """Return the exit code, and check -> (status, text and advice); the worst where a check has several."""
    result = project.command("doctor", "--json", *args, env=env or None)
    by_name: dict[str, tuple[str, str]] = {}
    for row in json.loads(result.out)["findings"]:
        if row["status"] != "ok" or row["check"] not in by_name:
            by_name[row["check"]] = (row["status"], f"{row['text']} {row['advice']}")
    return result.exit_code, by_name


def test_all_is_well(project: Project, emulator: Launched, registry: str) -> None:
    """A project that can run has a line each, all ok, and exit 0; no pod is made."""
    deploy(project, registry, more='secrets=["TOKEN"]')
    result = project.command("doctor", env={"TOKEN": "secret-value"})
    assert (result.exit_code, result.err) == (0, ""), result.out
    lines = [line.split()[:2] for line in result.out.splitlines()]
    assert [first for first, _ in lines] == ["ok"] * 11, result.out
    assert "secret-value" not in result.out
    assert project.command("doctor", "-q", env={"TOKEN": "x"}).out == ""
    assert emulator.pods() == []


def test_checks_are_left_out(project: Project, emulator: Launched, registry: str) -> None:
    """``--skip`` leaves checks out without running them; an unknown name is an error with a suggestion."""
    deploy(project, registry, tag="gone", more='secrets=["TOKEN"]')
    code, checks = findings(
        project, "--skip", "key,image", "--skip", "secrets", RUNPOD_API_KEY=None, HOME="/nonexistent"
    )
    assert (code, checks.keys() & {"key", "image", "secrets", "balance"}) == (0, set())
    assert checks["pods"][0] == "ok"
    wrong = project.command("doctor", "--skip", "images")
    assert wrong.exit_code == 4
    assert "--skip images: unknown check; did you mean 'image'?" in wrong.err


def test_every_check_can_be_left_out() -> None:
    """``CHECKS`` has the name of every finding."""
    sources = [Path(module.__file__ or "").read_text() for module in (doctor, doctor_code)]
    named = {name for text in sources for name in re.findall(r'\b(?:ok|warn|fail)\(\s*"([\w ]+)"', text)}
    assert named <= set(doctor.CHECKS)


def test_no_key_and_a_wrong_one(project: Project, emulator: Launched, registry: str) -> None:
    """Nothing can run without a working key; the advice says how to get one, and does not show the key."""
    deploy(project, registry)
    code, checks = findings(project, RUNPOD_API_KEY=None, HOME="/nonexistent")
    assert (code, checks["key"][0]) == (1, "fail")
    assert "RUNPOD_API_KEY" in checks["key"][1]
    assert checks["pods"][0] == "ok"
    code, checks = findings(project, RUNPOD_API_KEY="rpa_WRONG")
    assert (code, checks["key"][0]) == (1, "fail")
    assert "WRONG" not in checks["key"][1]
    assert "balance" not in checks


@pytest.mark.parametrize(
    ("usd", "status", "words"),
    [
        (0.0, "fail", "add credit"),
        (0.3, "fail", "the price of one hour"),
        (3.0, "warn", "less than all nodes may cost"),
    ],
)
def test_balance(
    project: Project, emulator: Launched, registry: str, usd: float, status: str, words: str
) -> None:
    """Too little for an hour fails, less than the worst case is worth a warning."""
    deploy(project, registry)
    emulator.set_balance(usd)
    code, checks = findings(project)
    emulator.set_balance(100)
    assert checks["balance"][0] == status
    assert words in checks["balance"][1]
    assert code == (1 if status == "fail" else 7 if "stock" in checks else 0)


def test_images(project: Project, emulator: Launched, registry: str) -> None:
    """A tag the registry lacks fails; one that cannot be asked about is a warning."""
    deploy(project, registry, tag="thare")
    code, checks = findings(project)
    assert (code, checks["image"][0]) == (1, "fail")
    assert "team/image:thare" in checks["image"][1]
    deploy(project, "127.0.0.1:9")
    code, checks = findings(project)
    assert (code, checks["image"][0]) == (0, "warn")
    assert "offline" in checks["image"][1]


@pytest.mark.parametrize(
    ("more", "check", "status", "words"),
    [
        ('storage=Storage(network_volume="nix")', "volume", "fail", "no network volume 'nix'"),
        (
            'datacenters=("EU-RO-9",)',
            "data centre",
            "fail",
            "no data centre 'EU-RO-9': did you mean 'EU-RO-1'",
        ),
        ('datacenters=("EUR-IS-5",)', "data centre", "warn", "nothing is in stock in data centre 'EUR-IS-5'"),
        ('cloud="community"', "pods", "fail", "offers nothing that fits"),
        ("secrets=[Secret('NOT_SET_ANYWHERE')]", "secrets", "fail", "NOT_SET_ANYWHERE"),
    ],
)
def test_what_a_job_asks_for(
    project: Project, emulator: Launched, registry: str, more: str, check: str, status: str, words: str
) -> None:
    """Missing volumes, data centres, clouds and secrets are reported with the place in the deploy file."""
    deploy(project, registry, more=more)
    code, checks = findings(project)
    assert checks[check][0] == status
    assert words in checks[check][1]
    assert "jobs/deploy_a.py:" in checks[check][1]
    assert code == (1 if status == "fail" else 7 if "stock" in checks else 0)


def test_gpu_types(project: Project, emulator: Launched, registry: str) -> None:
    """A type that is known to rpd and not rented now, and one that is sold out, are warnings."""
    deploy(project, registry, more="docker_args='sleep 1'")
    text = (project.folder / "jobs/deploy_a.py").read_text()
    (project.folder / "jobs/deploy_a.py").write_text(text.replace('"NVIDIA L4"', '"NVIDIA A30", "NVIDIA L4"'))
    _, checks = findings(project)
    assert checks["gpu"][0] == "warn"
    assert "does not offer 'NVIDIA A30'" in checks["gpu"][1]
    emulator.inject({"kind": "stock-out", "match": {"gpu": "NVIDIA L4"}})
    code, checks = findings(project)
    assert (code, checks["stock"][0]) == (7, "warn")


@pytest.mark.parametrize("path", ["/home/me/data.csv", "/Users/me/data.csv", r"C:\\Users\\me\\data.csv"])
def test_paths_of_any_machine(project: Project, emulator: Launched, registry: str, path: str) -> None:
    """An absolute path into a home folder is found, also where it is not this user's, on any system."""
    deploy(project, registry)
    (project.folder / "jobs/train.py").write_text(f"data = 1\nopen('{path}')\n", encoding="utf-8")
    assert "train.py:2" in findings(project)[1]["paths"][1]
    (project.folder / "jobs/train.py").write_text(
        "open('/homes/data.csv'); 'see https://x/home/me'\n", encoding="utf-8"
    )
    assert "paths" not in findings(project)[1]


def test_a_folder_that_is_home_is_not_staged(project: Project, emulator: Launched, registry: str) -> None:
    """Sending a home folder to a pod is refused before anything is read of it."""
    deploy(project, registry)
    code, checks = findings(project, HOME=str(project.folder / "jobs"))
    assert (code, checks["staging"][0]) == (1, "fail")
    assert "home folder" in checks["staging"][1]


def test_code_that_will_not_do_on_a_pod(
    project: Project, emulator: Launched, registry: str, tmp_path: Path
) -> None:
    """Paths of this machine, torch without a CUDA index and uv's cache on the volume are found where they stand."""
    home = tmp_path / "me"
    files = {
        "train.py": f"data = 1\nopen('{home}/data.csv')\n",
        "requirements.txt": "numpy\ntorch>=2.4\n",
        "go.sh": "export UV_CACHE_DIR=/workspace/.uv\nuv sync\n",
    }
    deploy(project, registry, **files)
    code, checks = findings(project, HOME=str(home))
    assert code == 0
    assert "train.py:2" in checks["paths"][1]
    assert "requirements.txt" in checks["torch"][1]
    assert "/workspace/.uv" in checks["uv cache"][1]
    (project.folder / "jobs/.rpdignore").write_text("*.py\n*.txt\n*.sh\n")
    assert {"paths", "torch", "uv cache"} & set(findings(project, HOME=str(home))[1]) == set()


@pytest.mark.parametrize(
    ("name", "text", "is_found"),
    [
        ("requirements.txt", "torch==2.8.0\n", True),
        ("requirements.txt", "--extra-index-url https://download.pytorch.org/whl/cu128\ntorch\n", False),
        ("requirements.txt", "torchmetrics\npytorch-lightning\n", False),
        ("requirements-gpu.txt", "torchvision ; sys_platform == 'linux'\n", True),
        ("pyproject.toml", '[project]\ndependencies = [\n    "torch>=2",\n]\n', True),
        ("notes.txt", "torch\n", False),
    ],
)
def test_torch(
    project: Project, emulator: Launched, registry: str, name: str, text: str, is_found: bool
) -> None:
    """Only lists of requirements count, and only torch itself."""
    deploy(project, registry, **{name: text})
    assert ("torch" in findings(project)[1]) is is_found


def test_broken_deploy_files_and_none(project: Project, emulator: Launched) -> None:
    """An uncollectable file fails, no file at all is a warning; the other checks still run."""
    code, checks = findings(project)
    assert (code, checks["deploy files"][0], checks["key"][0]) == (0, "warn", "ok")
    project.write({"deploy_a.py": "import nothing_of_that_name"})
    code, checks = findings(project)
    assert (code, checks["deploy files"][0], checks["key"][0]) == (1, "fail", "ok")


@pytest.fixture
def limited(emulator: Launched) -> Iterator[Launched]:
    yield emulator
    emulator.set_role("admin")
    emulator.set_limits()


def test_what_the_account_may(project: Project, limited: Launched, registry: str) -> None:
    """Permissions, the limits of money and of calls, and locked pods have a line each, with advice."""
    deploy(project, registry, more="")
    emulator = limited
    emulator.set_role("dev")
    emulator.set_limits(usd_per_hr=0.3)
    code, found = findings(project)
    assert (code, found["permissions"][0], found["balance"][0]) == (0, "ok", "warn")
    assert "RunPod does not show it to this key ask an admin" in found["balance"][1]
    emulator.set_role("admin")
    emulator.set_limits(usd_per_hr=0.3, calls=17, seconds=60)
    code, found = findings(project)
    assert code == 1
    assert found["spend limit"][0] == "fail"
    assert "now: a pod at $0.49 an hour exceeds it" in found["spend limit"][1]
    emulator.set_limits()
    emulator.set_role("basic")
    code, found = findings(project)
    assert (code, found["permissions"][0]) == (1, "fail")
    assert "may read, but not rent" in found["permissions"][1]
