"""The live dry run: the plan with the prices, stock, balance and images of now; RunPod is read, and nothing is made."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from rpd.emulator.launch import Launched
from rpd.testing import RpdRun
from tests.http_server import Quiet, serving

Project = Callable[[dict[str, str]], Path]

L4, A4000, H100 = "NVIDIA L4", "NVIDIA RTX A4000", "NVIDIA H100 80GB HBM3"
HEAD = "import rpd\nfrom rpd import Budget, Gpu, Storage\n"


def job(
    registry: str, *, name: str = "fit", tag: str = "there", fields: str = "", body: str = "pod.run('x')"
) -> str:
    """Return a job function whose image is in ``registry`` if its tag is ``there``."""
    image = f"image='{registry}/team/image:{tag}'"
    budget = "budget=Budget(cost_cap_usd=5, max_runtime='45m')"
    return f"@rpd.job({image}, {budget}, {fields})\ndef {name}(pod):\n    {body}\n"


@pytest.fixture
def deploy(project: Project) -> Callable[..., Path]:
    """``deploy(job, …)`` writes a project of these job functions and returns its folder."""
    return lambda *jobs: project({"deploy_x.py": HEAD + "\n".join(jobs)})


@pytest.fixture
def untouched(emulator: Launched) -> Iterator[Launched]:
    """The emulator, with a fault for each operation that is more than reading: the test fails if one has struck."""
    acts = ["create", "stop", "resume", "terminate"]
    emulator.inject({"kind": "server-error", "match": {"operation": acts}})
    yield emulator
    assert [rule["struck"] for rule in emulator.faults() if rule["match"] == {"operation": acts}] == [0]
    assert emulator.pods() == []


def left(folder: Path) -> set[str]:
    """Return the files in a project other than those the test wrote and caches."""
    return {path.name for path in folder.iterdir()} - {
        "rpd.toml",
        "deploy_x.py",
        "__pycache__",
        ".rpd_cache",
    }


def test_it_tells_what_could_be_had_now(
    rpd: RpdRun, deploy: Callable[..., Path], untouched: Launched, registry: str
) -> None:
    """Each node shows its offers with price and stock, those too dear, and its image; the end counts the nodes."""
    gpus = f"gpu=Gpu('{L4}', '{A4000}', max_price_usd=0.4)"
    folder = deploy(
        job(registry, fields=gpus),
        job(registry, name="big", fields=f"gpu=Gpu('{H100}'), datacenters=('EU-RO-1',), cloud='any'"),
        job(registry, name="cpu", fields="gpu=None"),
        "@rpd.job\ndef local(): ...\n",
    )
    result = rpd(folder, "--dry-run=live", command="")
    assert (result.exit_code, result.err) == (0, ""), result.out
    fit, big, cpu = (part.partition("\n\n")[0] for part in result.out.split("deploy_x.py::")[1:4])
    assert re.search(rf"1-\d+\. {A4000} \(secure\)  \$0\.25/h: \S+ high, .* more, then any", fit)
    assert re.search(rf"now +in stock: {A4000} in \S+ \(secure\) at \$0\.25/h", fit)
    assert f"left out, above $0.40/h: {L4} (secure) $0.49/h" in fit
    assert f"image: {registry} has it" in fit
    assert f"1. {H100} in EU-RO-1 (secure)  $3.29/h, stock high" in big
    assert "(community)" not in big  # Secure Cloud only, where data centres are named
    assert "stock unknown: RunPod does not report the stock of CPU pods" in cpu
    assert "2 of 3 nodes could be rented now; stock unknown for 1" in result.out
    assert "the account has $100.00, this run may cost at most $" in result.out
    assert "4 planned" in result.out
    assert left(folder) == set()


def test_what_is_sold_out_says_so(
    rpd: RpdRun, deploy: Callable[..., Path], untouched: Launched, registry: str
) -> None:
    """A node of which nothing is in stock says so and is not counted; with ``-q`` in its one line; exit code 7."""
    untouched.inject({"kind": "stock-out", "match": {"gpu": L4}})
    folder = deploy(
        job(registry, fields=f"gpu=Gpu('{L4}')"), job(registry, name="big", fields=f"gpu=Gpu('{H100}')")
    )
    result = rpd(folder, "--dry-run=live")
    assert result.exit_code == 7, result.out + result.err
    assert "sold out: none of it is in stock now" in result.out
    assert rpd(folder, "--dry-run=live", "-k", "big").exit_code == 0
    assert rpd(folder, "--dry-run").exit_code == 0
    assert "1 of 2 nodes could be rented now\n" in result.out
    quiet = rpd(folder, "--dry-run=live", "-q")
    assert re.search(r"^deploy_x.py::fit  \$\S+  sold out$", quiet.out, re.MULTILINE)
    assert re.search(r"^deploy_x.py::big  \$\S+  in stock$", quiet.out, re.MULTILINE)


def test_the_worst_case_is_at_live_prices(
    rpd: RpdRun, deploy: Callable[..., Path], untouched: Launched, registry: str
) -> None:
    """An hour at RunPod's present prices, in both clouds if both may serve; no cap of money is reached."""
    result = rpd(deploy(job(registry, fields=f"gpu=Gpu('{H100}')")), "--dry-run=live", "-q")
    # 45 minutes and 15 for coming up; $3.29 is the emulator's price, and disks cost a little.
    assert re.search(r"^deploy_x.py::fit  \$3\.(29|30)  in stock$", result.out, re.MULTILINE)


@pytest.mark.parametrize(
    ("usd", "says"),
    [(0.0, "the account has no credit"), (0.1, "the account has $0.10, less than this run may cost")],
)
def test_too_little_credit_stops_nothing(
    rpd: RpdRun, deploy: Callable[..., Path], untouched: Launched, registry: str, usd: float, says: str
) -> None:
    """Too little credit is a notice, and the plan is still shown."""
    untouched.set_balance(usd)
    result = rpd(deploy(job(registry, fields=f"gpu=Gpu('{L4}')")), "--dry-run=live")
    assert result.exit_code == 0
    assert f"rpd: {says}" in result.out
    assert "1 of 1 node could be rented now" in result.out


def test_an_image_that_is_not_there(
    rpd: RpdRun, deploy: Callable[..., Path], untouched: Launched, registry: str
) -> None:
    """A tag that the registry lacks is reported once for the run, and once for nodes that ask for the same pod."""
    jobs = [job(registry, name=name, tag="thare", fields=f"gpu=Gpu('{L4}')") for name in ("a", "b")]
    result = rpd(deploy(*jobs), "--dry-run=live")
    missing = f"{registry} has no team/image:thare"
    assert (
        result.out.count(f"rpd: image {registry}/team/image:thare: {missing}; check the tag for a typo") == 1
    )
    assert result.out.count(f"image: {missing}") == 1  # of the first, and the other is as above
    assert "2 of 2 nodes could be rented now" in result.out


def test_a_network_volume(
    rpd: RpdRun, deploy: Callable[..., Path], untouched: Launched, registry: str
) -> None:
    """A volume is shown with its data centre, to which the offers are confined; a missing one is an error."""
    fields = f"gpu=Gpu('{L4}'), storage=Storage(network_volume='data')"
    folder = deploy(job(registry, fields=fields))
    headers = {"Authorization": f"Bearer {untouched.api_key}"}
    with httpx.Client(base_url=untouched.base_url, headers=headers, trust_env=False) as client:
        body = {"name": "data", "size": 10, "dataCenter": "US-KS-2"}
        made = client.post("/v2/network-volumes", json=body).json()
        try:
            result = rpd(folder, "--dry-run=live")
        finally:
            client.delete(f"/v2/network-volumes/{made['id']}")
    assert result.exit_code == 0, result.out + result.err
    assert "network volume: data is in US-KS-2, 10 GB" in result.out
    assert f"1. {L4} in US-KS-2 (secure)" in result.out
    assert "EU-RO-1" not in result.out
    gone = rpd(folder, "--dry-run=live")
    assert gone.exit_code == 4
    assert "rpd: error: deploy_x.py:3: the account has no network volume 'data'" in gone.err


def test_a_job_reaches_nothing_while_rpd_asks(
    rpd: RpdRun, deploy: Callable[..., Path], untouched: Launched, registry: str
) -> None:
    """A job can open no connection, not even to RunPod; a pod that only its code asks for is still looked up."""
    address = urlsplit(untouched.base_url)
    connects = f"import socket; socket.create_connection(('{address.hostname}', {address.port}))"
    rents = f"""
@rpd.job(gpu=None, image='{registry}/team/image:there')
def rents(provision):
    with provision(gpu='{H100}', datacenters=('EU-RO-1',)) as pod:
        assert (pod.gpu, pod.datacenter, pod.rate_usd_per_hr) == ('{H100}', 'EU-RO-1', 3.29)
"""
    result = rpd(deploy(job(registry, fields="gpu=None", body=connects), rents), "--dry-run=live")
    assert "socket.getaddrinfo is not allowed in a dry run" in result.out
    assert "1 planned, 1 failed" in result.out
    assert result.exit_code == 1


def test_only_reads_reach_runpod(
    rpd: RpdRun, deploy: Callable[..., Path], untouched: Launched, registry: str
) -> None:
    """Of all that is sent, each request is a GET or a GraphQL query; none is a mutation."""
    folder = deploy(job(registry, fields=f"gpu=Gpu('{L4}'), spot=True"))
    with _recorded(untouched.base_url) as (url, sent):
        result = rpd(folder, "--dry-run=live", env={"RUNPOD_API_BASE_URL": url})
    assert result.exit_code == 0, result.out + result.err
    assert sent
    for method, path, body in sent:
        assert method == "GET" or (method == "POST" and path.startswith("/graphql")), (method, path)
        assert "mutation" not in body


@contextmanager
def _recorded(base_url: str) -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
    """Stand between a client and an API; yield the address to call, and the calls: method, path, body."""
    sent: list[tuple[str, str, str]] = []

    class Between(Quiet):
        def _pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            sent.append((self.command, self.path, body.decode()))
            headers = {name: value for name, value in self.headers.items() if name.lower() in _PASSED_ON}
            answer = client.request(self.command, base_url + self.path, content=body, headers=headers)
            self.send_response(answer.status_code)
            self.send_header("Content-Type", answer.headers["Content-Type"])
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _pass_on

    with httpx.Client(trust_env=False, timeout=60) as client, serving(Between) as address:
        yield f"http://{address}", sent


_PASSED_ON = ("authorization", "content-type", "accept", "user-agent")


def test_without_a_key(rpd: RpdRun, deploy: Callable[..., Path], registry: str, tmp_path: Path) -> None:
    """It needs a key; a plain dry run, and a live one of jobs without pods, need none."""
    folder = deploy(job(registry, fields=f"gpu=Gpu('{L4}')"), "@rpd.job\ndef local(): ...\n")
    nothing = {"RUNPOD_API_KEY": None, "HOME": str(tmp_path / "home")}
    result = rpd(folder, "--dry-run=live", env=nothing)
    assert (result.exit_code, result.out) == (4, "")
    assert re.fullmatch(r"rpd: error: no RunPod API key: .*\n", result.err)
    assert rpd(folder, "--dry-run", env=nothing).exit_code == 0
    podless = rpd(folder, "--dry-run=live", "-k", "local", env=nothing)
    assert podless.exit_code == 0, podless.err
    assert "could be rented" not in podless.out


@pytest.mark.parametrize(
    ("fault", "says", "code"),
    [
        ({"kind": "unauthorized"}, "RunPod refuses the API key", 4),
        ({"kind": "rate-limit", "retry_after": 0}, "RunPod limits the rate of calls", 1),
        ({"kind": "server-error"}, "temporary RunPod error: HTTP 502", 1),
        (
            {
                "kind": "server-error",
                "match": {"operation": ["gpus", "gpuTypes", "datacenters", "dataCenters"]},
            },
            "temporary RunPod error: HTTP 502",
            1,
        ),
    ],
    ids=["401", "429", "502", "no prices"],
)
def test_an_api_that_does_not_answer(
    rpd: RpdRun,
    deploy: Callable[..., Path],
    untouched: Launched,
    registry: str,
    fault: dict[str, object],
    says: str,
    code: int,
) -> None:
    """Where RunPod does not tell, one line says why, and no shipped price stands in for a live one."""
    folder = deploy(job(registry, fields=f"gpu=Gpu('{L4}')"))
    acts = untouched.faults()
    untouched.clear_faults()
    untouched.inject(fault)
    result = rpd(folder, "--dry-run=live")
    untouched.clear_faults()
    for rule in acts:
        untouched.inject({"kind": rule["kind"], "match": rule["match"]})
    assert (result.exit_code, result.out) == (code, "")
    assert re.fullmatch(rf"rpd: error: {says}.*\n", result.err)
    assert left(folder) == set()


def test_nobody_at_the_address(
    rpd: RpdRun, deploy: Callable[..., Path], emulator: Launched, registry: str
) -> None:
    """An address without a server is one line."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    folder = deploy(job(registry, fields=f"gpu=Gpu('{L4}')"))
    result = rpd(folder, "--dry-run=live", env={"RUNPOD_API_BASE_URL": f"http://127.0.0.1:{port}"})
    assert (result.exit_code, result.out) == (1, "")
    assert re.match(r"rpd: error: RunPod cannot be reached at ", result.err)
    assert result.err.count("\n") == 1


@pytest.mark.parametrize("value", ["liv", "", "yes"])
@pytest.mark.parametrize("command", ["run", ""])
def test_a_wrong_value(rpd: RpdRun, deploy: Callable[..., Path], value: str, command: str) -> None:
    """Anything but ``live`` is a usage error, with a suggestion."""
    result = rpd(deploy("@rpd.job\ndef local(): ...\n"), f"--dry-run={value}", command=command)
    assert (result.exit_code, result.out) == (4, "")
    assert f"expected --dry-run or --dry-run=live, got --dry-run={value}; did you mean" in result.err


def test_it_excludes_an_emulator(rpd: RpdRun, deploy: Callable[..., Path]) -> None:
    """``--local`` would look at an account that no one pays for."""
    result = rpd(deploy("@rpd.job\ndef local(): ...\n"), "--dry-run=live", "--local")
    assert result.exit_code == 4
    assert "--local and --dry-run exclude each other" in result.err
