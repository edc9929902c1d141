"""Mistakes: each ends with its exit code and one clear error, and nothing was created."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from rpd.emulator.launch import Launched
from rpd.testing import RpdRun

Project = Callable[[dict[str, str]], Path]

HEAD = "import rpd\nfrom rpd import Budget, Gpu, Secret\n"
FINE = f"{HEAD}@rpd.job(gpu=Gpu('NVIDIA RTX A4000'))\ndef fit(pod): pod.run('true')\n"


@dataclass(frozen=True)
class Mistake:
    """Files and arguments that are wrong; the exit code, and the required texts of the error: what, where, remedy."""

    exit_code: int
    says: tuple[str, ...]
    deploy: str = FINE
    args: tuple[str, ...] = ()
    command: str = "run"
    files: dict[str, str] = field(default_factory=dict)
    env: dict[str, str | None] = field(default_factory=dict)


VARIABLE = "import rpd\nlr = rpd.variable(type=float)\n@rpd.job\ndef fit(pod, lr): ...\n"

MISTAKES = {
    "unknown GPU": Mistake(
        2,
        ("deploy_x.py:3", "Gpu.ids", "'NVIDIA H100'", "Did you mean 'NVIDIA H100 80GB HBM3'"),
        f"{HEAD}job = rpd.job(gpu=Gpu('NVIDIA H100'))\n@job\ndef fit(pod): ...\n",
    ),
    "unknown job field": Mistake(
        2,
        ("deploy_x.py:3", "Job.imagee", "unknown field", "Did you mean 'image'?"),
        f"{HEAD}@rpd.job(imagee='x')\ndef fit(pod): ...\n",
    ),
    "negative budget": Mistake(
        2,
        ("deploy_x.py:3", "Budget.cost_cap_usd", "expected a number > 0, got -1"),
        f"{HEAD}@rpd.job(budget=Budget(cost_cap_usd=-1))\ndef fit(pod): ...\n",
    ),
    "volume of a CPU pod": Mistake(
        2,
        ("deploy_x.py:3", "Job.storage", "RunPod gives CPU pods no volume", "container_disk_gb"),
        f"{HEAD}@rpd.job(storage=rpd.Storage(volume_gb=20))\ndef fit(pod): ...\n",
    ),
    "Community in a data centre": Mistake(
        2,
        ("deploy_x.py:3", "Job.datacenters", "EU-RO-1", "Community"),
        f"{HEAD}@rpd.job(gpu=Gpu('NVIDIA L4'), cloud='community', datacenters='EU-RO-1')\ndef fit(pod): ...\n",
    ),
    "Community in a data centre by flag": Mistake(
        4,
        ("deploy_x.py:3", "Community Cloud has no data centres", "EU-RO-1"),
        f"{HEAD}@rpd.job(gpu=Gpu('NVIDIA L4'), datacenters='EU-RO-1')\ndef fit(pod): ...\n",
        args=("--cloud", "community", "--dry-run"),
    ),
    "missing fixture": Mistake(
        2,
        (
            "deploy_x.py",
            "line 3",
            "fixture 'stagd_dir' not found",
            "available fixtures: ",
            "did you mean 'staged_dir'?",
        ),
        f"{HEAD}@rpd.job\ndef fit(pod, stagd_dir): ...\n",
    ),
    "syntax error": Mistake(
        2,
        ("deploy_x.py", "line 2", "SyntaxError: '(' was never closed"),
        "import rpd\ndef fit(pod:\n    pass\n",
    ),
    "import error": Mistake(
        2,
        ("deploy_x.py:1: in <module>", "import helper", "helper.py:1", "No module named 'no_such_module'"),
        "import helper\n",
        files={"helper.py": "import no_such_module\n"},
    ),
    "exception while collecting": Mistake(
        2,
        ("deploy_x.py:4", "deploy_x.py:2: in boom", "ZeroDivisionError"),
        "def boom():\n    return 1 / 0\n\nboom()\n",
    ),
    "two jobs of one name": Mistake(
        2,
        ("deploy_x.py", "two jobs are called 'fit'", "lines 4, 6", "rename one"),
        f"{HEAD}@rpd.job\ndef fit(pod): ...\n@rpd.job\ndef fit(pod): ...\n",
    ),
    "conftest with an error": Mistake(2, ("conftest.py:1", "NameError"), files={"conftest.py": "nope\n"}),
    "--gpu-id alone": Mistake(4, ("--gpu-id needs --datacenter-id",), args=("--gpu-id", "NVIDIA L4")),
    "--datacenter-id alone": Mistake(
        4, ("--datacenter-id needs --gpu-id",), args=("--datacenter-id", "EU-RO-1")
    ),
    "unknown --gpu-id": Mistake(
        4,
        ("--gpu-id", "'NVIDIA L44'", "Did you mean 'NVIDIA L4'"),
        args=("--gpu-id", "NVIDIA L44", "--datacenter-id", "EU-RO-1"),
    ),
    "no key": Mistake(
        4, ("no RunPod API key", "set RUNPOD_API_KEY", "--local"), env={"RUNPOD_API_BASE_URL": None}
    ),
    "missing secret": Mistake(
        4,
        ("secret HF_TOKEN", "deploy_x.py:3", "environment variable HF_TOKEN is not set"),
        f"{HEAD}@rpd.job(secrets=[Secret('HF_TOKEN')])\ndef check(): ...\n",
    ),
    "missing secret file": Mistake(
        4,
        ("secret HF_TOKEN", "no-such-file"),
        f"{HEAD}@rpd.job(secrets=[Secret('HF_TOKEN', file='/no-such-file')])\ndef check(): ...\n",
    ),
    "unknown flag": Mistake(4, ("--locall", "did you mean --local?", "rpd run --help"), args=("--locall",)),
    "unknown command": Mistake(4, ("no command 'colect'", "Did you mean 'collect'?"), command="colect"),
    "unknown key": Mistake(
        4,
        ("rpd.toml", "unknown key 'run_dir'", "Did you mean 'runs_dir'?"),
        files={"rpd.toml": "run_dir = 'x'\n"},
    ),
    "wrong type of a key": Mistake(
        4, ("rpd.toml", "n: expected a whole number >= 1, got 'two'"), files={"rpd.toml": "n = 'two'\n"}
    ),
    "broken configuration": Mistake(4, ("rpd.toml", "not valid TOML", "line 1"), files={"rpd.toml": "n =\n"}),
    "unknown field of the job table": Mistake(
        4,
        ("rpd.toml", "Budget.cost_cap", "Did you mean 'cost_cap_usd'?"),
        files={"rpd.toml": "[job.budget]\ncost_cap = 1\n"},
    ),
    "wrong -k": Mistake(4, ("-k", "a and (b", "column 9"), args=("-k", "a and (b")),
    "unknown mark in -m": Mistake(4, ("-m", "slwo", "rpd markers"), args=("-m", "slwo")),
    "no such file": Mistake(4, ("file or directory not found: deploy_y.py",), args=("deploy_y.py",)),
    "no such node": Mistake(
        4, ("not found: deploy_x.py::fti", "deploy_x.py::fit"), args=("deploy_x.py::fti",)
    ),
    "bad --var": Mistake(4, ("--var", "expected NAME=VALUE, got 'epochs'"), args=("--var", "epochs")),
    "no such --vars-file": Mistake(
        4, ("--vars-file none.toml", "No such file"), args=("--vars-file", "none.toml")
    ),
    "broken --vars-file": Mistake(
        4, ("--vars-file v.json",), args=("--vars-file", "v.json"), files={"v.json": "{"}
    ),
    "a --vars-file that is neither": Mistake(
        4, ("--vars-file v.yaml: expected TOML",), args=("--vars-file", "v.yaml"), files={"v.yaml": "lr: 3"}
    ),
    "a --var of the wrong type": Mistake(
        4,
        ("variable 'lr': expected float, got 'x'", "declared at deploy_x.py:2"),
        VARIABLE,
        args=("--var", "lr=x"),
    ),
    "a variable of the wrong type in a file": Mistake(
        4,
        ("variable 'lr': expected float, got True",),
        VARIABLE,
        args=("--vars-file", "v.json"),
        files={"v.json": '{"lr": true}'},
    ),
    "a variable without a value": Mistake(
        4, ("variable 'lr' has no value", "--var lr=VALUE", "deploy_x.py:2"), VARIABLE
    ),
    "a --var that nothing declares": Mistake(
        4,
        ("--var lrr: no collected file declares this variable; did you mean 'lr'?",),
        VARIABLE,
        args=("--var", "lr=1", "--var", "lrr=2"),
    ),
    "a --sweep over a fixture": Mistake(
        4,
        ("--sweep data: no collected file declares this variable",),
        f"{VARIABLE}@rpd.fixture\ndef data(): ...\n",
        args=("--sweep", "data=1,2"),
    ),
    "a --sweep that is given twice": Mistake(
        4,
        ("--sweep lr is given twice", "lr=A,B,C"),
        VARIABLE,
        args=("--sweep", "lr=1", "--sweep", "lr=2"),
    ),
    "a --sweep with a --var": Mistake(
        4,
        ("--sweep lr and --var lr contradict each other",),
        VARIABLE,
        args=("--sweep", "lr=1,2", "--var", "lr=2"),
    ),
    "bad -n": Mistake(4, ("-n", "expected a whole number >= 1, got '0'"), args=("-n", "0")),
    "bad money": Mistake(4, ("--cost-cap-usd", "dollars > 0", "'-3'"), args=("--cost-cap-usd=-3",)),
    "both backends": Mistake(4, ("--local and --dry-run exclude each other",), args=("--local", "--dry-run")),
    "nothing to collect": Mistake(
        5, ("nothing was run: 0 nodes collected; no job in the deploy file",), deploy="import rpd\n"
    ),
    "nothing selected": Mistake(
        5,
        ("1 node collected, 1 deselected, none selected", "-k other selects none of them"),
        args=("-k", "other"),
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_mistake(mistake: Mistake, rpd: RpdRun, project: Project) -> None:
    """A mistake ends with its exit code and an error that names mistake, place and remedy; nothing is left behind."""
    folder = project({"deploy_x.py": mistake.deploy, **mistake.files})
    home = folder / "home"
    env: dict[str, str | None] = {"RUNPOD_API_KEY": None, "HOME": str(home), **mistake.env}
    result = rpd(folder, *mistake.args, command=mistake.command, env=env)
    assert result.exit_code == mistake.exit_code, result.out + result.err
    for words in mistake.says:
        assert words in result.err
    assert "Traceback" not in result.err
    assert "rpd/" not in result.err.replace(str(folder), "")
    assert result.out == ""
    assert not (folder / "rpd-runs").exists()
    assert not home.exists()


def test_collect_finds_the_same_mistakes(rpd: RpdRun, project: Project) -> None:
    """``rpd collect`` shows a broken file's error and still lists the others, exit code 2."""
    folder = project({"deploy_bad.py": "import rpd\nrpd.job(imagee=1)\n", "deploy_good.py": FINE})
    result = rpd(folder, "-q", command="collect")
    assert result.exit_code == 2
    assert result.out == "deploy_good.py::fit\n"
    assert "ERROR collecting deploy_bad.py" in result.err


def test_one_broken_file_stops_the_run(rpd: RpdRun, project: Project) -> None:
    """Nothing runs while a file cannot be collected, unless ``--continue-on-collection-errors`` says so; then exit 2."""
    podless = "import rpd\n@rpd.job\ndef check(): print('ran')\n"
    folder = project({"deploy_bad.py": "import nothing_such\n", "deploy_good.py": podless})
    stopped = rpd(folder)
    assert (stopped.exit_code, stopped.reports) == (2, ())
    assert "nothing was run: 1 node collected, 1 error" in stopped.err
    carried_on = rpd(folder, "--continue-on-collection-errors")
    assert (carried_on.exit_code, len(carried_on.reports)) == (2, 1)


def test_a_refused_key_creates_nothing(rpd: RpdRun, project: Project, emulator: object) -> None:
    """A key that RunPod refuses ends the run with exit code 4 before anything is created."""
    folder = project({"deploy_x.py": FINE})
    result = rpd(folder, env={"RUNPOD_API_KEY": "rpa_wrong"})
    assert result.exit_code == 4
    assert "refuse" in result.err
    assert "rpa_wrong" not in result.out + result.err
    assert not (folder / "rpd-runs").exists()


@pytest.mark.parametrize(
    ("fields", "args", "says"),
    [
        ("gpu=None, spot=True", (), "CPU pods cannot be spot pods"),
        ("gpu=None, min_vcpu=999", (), "largest has 32 vCPUs"),
        (
            "gpu=Gpu('NVIDIA L4'), storage=Storage(network_volume='d')",
            ("--cloud", "community"),
            "needs Secure Cloud",
        ),
        (
            "gpu=Gpu('NVIDIA L4'), storage=Storage(network_volume='none such')",
            (),
            "no network volume 'none such'",
        ),
        ("gpu=Gpu('NVIDIA L4'), spot=True", (), "REST v2 has no spot pods"),
    ],
)
def test_a_pod_that_can_never_be_had(
    rpd: RpdRun, project: Project, emulator: Launched, fields: str, args: tuple[str, ...], says: str
) -> None:
    """A request that contradicts itself or the account ends the run with exit code 4 and its place, before it begins."""
    if "spot" in says and "REST" in says:
        emulator.inject({"kind": "gone", "match": {"face": "graphql"}})
    text = f"import rpd\nfrom rpd import Gpu, Storage\n@rpd.job({fields})\ndef fit(pod): pod.run('true')\n"
    folder = project({"deploy_x.py": text, "deploy_y.py": FINE})
    result = rpd(folder, "--yes", *args)
    assert result.exit_code == 4
    assert re.search(rf"rpd: error: deploy_x.py:3: .*{says}", result.err)
    assert not (folder / "rpd-runs").exists()


def test_a_data_centre_that_is_not_there(rpd: RpdRun, project: Project, emulator: object) -> None:
    """A slip in the id of a data centre ends a live run with exit code 4 and the likeliest id, before a pod is made."""
    placed = FINE.replace("gpu=", "datacenters=['EU-R0-1'], gpu=")
    folder = project({"deploy_x.py": FINE, "deploy_y.py": placed})
    pinned = rpd(folder, "deploy_x.py", "--gpu-id", "NVIDIA RTX A4000", "--datacenter-id", "EU-RO-9")
    assert pinned.exit_code == 4
    assert "--datacenter-id: RunPod has no data centre 'EU-RO-9': did you mean 'EU-RO-1'" in pinned.err
    written = rpd(folder)
    assert written.exit_code == 4
    assert "deploy_y.py:3: Job.datacenters: RunPod has no data centre 'EU-R0-1'" in written.err
    assert not (folder / "rpd-runs").exists()


def test_a_data_centre_that_is_not_known_in_a_dry_run(rpd: RpdRun, project: Project) -> None:
    """Where RunPod cannot be asked a data centre that rpd does not know is worth a word: it may be a new one."""
    folder = project({"deploy_x.py": FINE.replace("gpu=", "datacenters=['eu-ro-1', 'EU-RO-9'], gpu=")})
    result = rpd(folder, "--dry-run")
    assert result.exit_code == 0
    assert (
        "deploy_x.py:3: Job.datacenters: rpd knows no data centre 'EU-RO-9': did you mean 'EU-RO-1'"
        in result.out
    )
    assert "'eu-ro-1'" not in result.out


def test_an_address_where_nobody_answers(rpd: RpdRun, project: Project) -> None:
    """Where the API cannot be reached nothing is created, and one error says so."""
    folder = project({"deploy_x.py": FINE})
    result = rpd(folder, env={"RUNPOD_API_KEY": "rpa_x", "RUNPOD_API_BASE_URL": "http://127.0.0.1:9"})
    assert result.exit_code == 1
    assert "cannot be reached" in result.err
    assert not (folder / "rpd-runs").exists()


def test_a_dear_run_needs_yes(rpd: RpdRun, project: Project, emulator: object) -> None:
    """Without a terminal a run that may cost more than ``confirm_above_usd`` needs ``--yes``; nothing is created."""
    folder = project({"deploy_x.py": FINE, "rpd.toml": "confirm_above_usd = 0.5\n"})
    result = rpd(folder)
    assert result.exit_code == 4
    assert "may cost up to $10.00" in result.err
    assert "--yes" in result.err
    assert not (folder / "rpd-runs").exists()
    cheap = rpd(folder, "--cost-cap-usd", "0.4")
    assert cheap.exit_code == 0, cheap.err
    assert rpd(folder, "--yes").exit_code == 0


def test_a_volume_that_a_fixture_takes_away(rpd: RpdRun, project: Project, emulator: Launched) -> None:
    """Where only a fixture makes it a CPU pod, the node is an error before anything is rented, dry as well as live."""
    source = f"""{HEAD}
@rpd.fixture
def gpu(): return None

@rpd.job(gpu=Gpu("NVIDIA L4"), storage=rpd.Storage(volume_gb=20), budget=Budget(cost_cap_usd=1))
def fit(pod): ...
"""
    folder = project({"deploy_x.py": source})
    for args in (["--dry-run"], []):
        result = rpd(folder, *args)
        assert result.exit_code == 1, result.out + result.err
        assert "RunPod gives CPU pods no volume" in result.out
    assert [report.result.cause for report in result.reports] == ["code"]
    assert emulator.pods() == []
