"""The live page: who may open it, and its contents while a run is in progress."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from rpd.cli import main
from rpd.errors import ExitCode
from rpd.journal import driver_alive
from rpd.journal.files import folder_name
from rpd.record import manifest, run_info
from rpd.record.run_info import RunInfo
from rpd.web.document import Document
from rpd.web.live_runs import LiveLog, LiveRun, LiveRuns
from rpd.web.server import serve
from tests.web import browser as browsers
from tests.web.browser import Browser
from tests.web.conftest import RUN, at, lines, report_of, write_node, write_run

Scenario = Callable[[aiohttp.ClientSession, str], Awaitable[None]]
SECONDS = 60.0


def begin_run(runs_path: Path, name: str = RUN) -> Path:
    """Write an unfinished run of three nodes: one is over, one works, one has not begun."""
    folder = runs_path / name
    folder.mkdir(parents=True)
    run_info.write(
        folder / "run.toml",
        RunInfo(id=name, argv=("run",), nodes=3, width=2, started=at(0), worst_case_usd=9.0),
    )
    ids = [report_of(0.01, seed, 2).node.id for seed in (1, 2, 3)]
    # As if this process drove the run: the one that reads must not be the one that is looked for.
    identity = {
        **driver_alive.identity(),
        "pid": os.getppid(),
        "process": driver_alive.birth(os.getppid()) or "",
    }
    (folder / "events.jsonl").write_text(
        lines(
            [{"at": at(0), "event": "run_started", **identity}, {"at": at(0), "event": "planned", "ids": ids}]
        )
    )
    write_node(folder, report_of(0.01, 1, 2), start=0)
    works = folder / folder_name(ids[1])
    works.mkdir()
    (works / "events.jsonl").write_text(
        lines(
            [
                {"at": at(1), "event": "node_started", "node": ids[1], "attempt": 1},
                {"at": at(2), "event": "intent", "pod_name": "rpd-2", "offer": "NVIDIA A40 in US-KS-2 (secure)"},
                {"at": at(3), "event": "created", "pod_name": "rpd-2", "pod_id": "p2", "offer": "NVIDIA A40 in US-KS-2", "usd_per_hr": 0.4},
                {"at": at(9), "event": "ready", "pod_name": "rpd-2"},
                {"at": at(10), "event": "step_started", "index": 0, "kind": "run", "command": "python train.py"},
            ]
        )
    )  # fmt: skip
    (works / "output.log").write_text("epoch 1\n10%\r20%")
    return folder


@asynccontextmanager
async def served(runs: LiveRuns) -> AsyncIterator[tuple[aiohttp.ClientSession, str]]:
    """Yield a session and the address of a server that looks often."""
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve(runs, ready=ready.set_result, look_seconds=0.02))
    try:
        address = await asyncio.wait_for(ready, SECONDS)
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(SECONDS)) as session:
            yield session, address
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


def carry_out(runs: LiveRuns, scenario: Scenario) -> None:
    async def act() -> None:
        async with served(runs) as (session, address):
            await scenario(session, address)

    asyncio.run(act())


async def event(response: aiohttp.ClientResponse, name: str) -> Any:
    """Return the data of the next event of that name."""
    seen = ""
    while line := (await response.content.readline()).decode():
        if line.startswith("event: "):
            seen = line[7:].strip()
        elif line.startswith("data: ") and seen == name:
            return json.loads(line[6:])
    raise AssertionError(f"the stream ended without {name}")


def test_only_this_machine_with_the_token_may_read(folder: Path) -> None:
    """Another token, host, site or method is refused; no other site may frame, keep or read an answer."""

    async def scenario(session: aiohttp.ClientSession, address: str) -> None:
        async with session.get(address) as answer:
            assert answer.status == 200
            assert "connect-src 'self'" in answer.headers["Content-Security-Policy"]
            assert answer.headers["X-Frame-Options"] == "DENY"
            assert answer.headers["Cache-Control"] == "no-store"
            assert "Access-Control-Allow-Origin" not in answer.headers
        port = address.split(":")[2].partition("/")[0]
        refused: list[tuple[str, str, dict[str, str]]] = [
            ("GET", f"http://127.0.0.1:{port}/", {}),
            ("GET", f"http://127.0.0.1:{port}/{'x' * 22}/runs", {}),
            ("GET", f"{address}runs", {"Host": "evil.example"}),
            ("GET", f"{address}runs", {"Host": "evil.example:80"}),
            ("GET", f"{address}runs", {"Origin": "https://evil.example"}),
            ("GET", f"{address}runs", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}),
            ("POST", f"{address}runs", {}),
            ("DELETE", f"{address}runs", {}),
        ]
        for method, url, headers in refused:
            async with session.request(method, url, headers=headers) as answer:
                assert answer.status == 403, (method, url, headers)
                assert RUN not in await answer.text()
        for host in ("localhost:9000", "[::1]:7", "127.0.0.1"):
            async with session.get(address, headers={"Host": host}) as answer:
                assert answer.status == 200, host

    carry_out(LiveRuns(folder.parent, is_run=False), scenario)


def test_files_are_pictures_or_downloads(folder: Path) -> None:
    """A picture is shown, a page from a pod is saved, and nothing outside of the artifacts is read."""
    node = next(folder.glob("*lr0.01-seed1-depth2*"))
    (node / "artifacts" / "out").symlink_to(folder)

    async def scenario(session: aiohttp.ClientSession, address: str) -> None:
        base = f"{address}file/{RUN}/{node.name}"
        async with session.get(f"{base}/results/plot.png") as answer:
            assert (answer.status, answer.content_type) == (200, "image/png")
        async with session.get(f"{base}/results/page.html") as answer:
            assert answer.content_type == "application/octet-stream"
            assert answer.headers["Content-Disposition"] == "attachment"
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
        for name in ("../manifest.toml", "%2e%2e/manifest.toml", "out/run.toml", "results", "none"):
            async with session.get(f"{base}/{name}") as answer:
                assert answer.status in (403, 404), name
        for node_name in ("..", "%2e%2e", "..%2f..", "none"):
            async with session.get(f"{address}file/{RUN}/{node_name}/results/plot.png") as answer:
                assert answer.status in (403, 404), node_name

    carry_out(LiveRuns(folder, is_run=True), scenario)


def test_a_run_that_goes_on_is_told_as_it_goes(tmp_path: Path) -> None:
    """The document first, then nodes that changed; the log by the line; a new run in the list."""
    folder = begin_run(tmp_path)
    second, third = (report_of(0.01, seed, 2) for seed in (2, 3))
    name = folder_name(second.node.id)

    async def scenario(session: aiohttp.ClientSession, address: str) -> None:
        async with (
            session.get(f"{address}run/{RUN}") as stream,
            session.get(f"{address}log/{RUN}/{name}") as log,
        ):
            document = await event(stream, "document")
            assert document["runs"][0]["state"] == "running"
            outcomes = {node["id"]: node["outcome"] for node in document["nodes"]}
            assert sorted(outcomes.values()) == ["passed", "planned", "running"]
            works = next(node for node in document["nodes"] if node["outcome"] == "running")
            assert (works["gpu"], works["rate"], works["doing"]) == ("NVIDIA A40", 0.4, "python train.py")
            assert works["usd"] > 0
            assert works["spans"][-1][0] == "working"
            assert await event(log, "text") == "epoch 1\n"
            assert await event(log, "rest") == "20%"
            with (folder / name / "output.log").open("a") as file:
                file.write("\r100%\n\x1b[31mnext\n")
            assert await event(log, "text") == "100%\nnext\n"
            manifest.write(folder / name / "manifest.toml", second)
            while True:
                changed = await event(stream, "changed")
                if any(
                    node["id"] == second.node.id and node["outcome"] == "passed" for node in changed["nodes"]
                ):
                    break
        async with session.get(f"{address}runs") as runs:
            assert [each["id"] for each in await event(runs, "runs")] == [RUN]
            begin_run(tmp_path, "20270102T030405Z-abcdef")
            assert [each["state"] for each in await event(runs, "runs")] == ["running", "running"]
        assert third.node.id in outcomes

    carry_out(LiveRuns(tmp_path, is_run=False), scenario)


def test_folders_from_anywhere_are_told_as_far_as_they_go(tmp_path: Path) -> None:
    """A half-written run, nonsense, links and folders in the place of files: an answer, never an error."""
    folder = begin_run(tmp_path)
    live = LiveRun(folder)
    assert len(live.document()["nodes"]) == 3
    over = next(each for each in folder.iterdir() if (each / "manifest.toml").exists())
    (over / "manifest.toml").write_text("schema_version = 1\n[no")
    changed = live.changes()
    assert changed is not None
    assert [node["outcome"] for node in changed["nodes"] if node["folder"] == str(over)] == ["damaged"]
    assert any("manifest.toml" in note for note in changed["notes"])
    (folder / "run.toml").write_bytes(b"\xff\xfe")
    (folder / "events.jsonl").unlink()
    (folder / "events.jsonl").mkdir()
    (over / "metrics.jsonl").unlink()
    os.mkfifo(over / "metrics.jsonl")
    (over / "output.log").unlink()
    (over / "output.log").symlink_to("/etc/passwd")
    made = LiveRun(folder).document()
    assert made["runs"][0]["state"] == "damaged"
    assert made["nodes"]
    assert LiveLog(over / "output.log", Document()).look() == []
    assert LiveRuns(folder, is_run=True).listed()[0]["state"] == "damaged"
    assert LiveRuns(tmp_path / "none", is_run=False).listed() == []
    assert LiveRuns(tmp_path, is_run=False).folder("..") is None


def test_a_run_of_another_machine(tmp_path: Path) -> None:
    """It counts as running while its files change; once they have been quiet, no money runs and the page says why."""
    folder = begin_run(tmp_path)
    path = folder / "events.jsonl"
    path.write_text(path.read_text().replace(socket.gethostname(), "elsewhere-7"))
    assert LiveRun(folder).document()["runs"][0]["state"] == "running"
    for file in folder.rglob("*"):
        os.utime(file, (1, 1))
    made = LiveRun(folder).document()
    assert made["runs"][0]["state"] == "unfinished"
    assert [node["outcome"] for node in made["nodes"]].count("unfinished") == 1
    assert not any(node.get("rate") for node in made["nodes"] if not node["seconds"] or node.get("going"))
    assert any("elsewhere-7" in note for note in made["notes"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nowhere",), "expected a run folder"),
        (("empty",), "neither a run folder"),
        (("a", "b"), "takes one path"),
        (("--port", "70000"), "port"),
    ],
)
def test_mistakes_are_told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    message: str,
) -> None:
    """A path without runs is an error before anything is served."""
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    assert main(["ui", *words]) == ExitCode.USAGE_ERROR
    assert message in capsys.readouterr().err


# --- in a browser -----------------------------------------------------------------------------------------------------


@pytest.fixture
def address(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The address of the live page of an unfinished run, served from a thread, and the folder of the run."""
    folder = begin_run(tmp_path / "rpd-runs")
    loop = asyncio.new_event_loop()
    heard: list[str] = []
    is_ready = threading.Event()

    def ready(message: str) -> None:
        heard.append(message)
        is_ready.set()

    async def act() -> None:
        await serve(LiveRuns(folder.parent, is_run=False), ready=ready, look_seconds=0.05)

    task: list[asyncio.Task[None]] = []

    def work() -> None:
        asyncio.set_event_loop(loop)
        task.append(loop.create_task(act()))
        with pytest.raises(asyncio.CancelledError):
            loop.run_until_complete(task[0])
        loop.close()

    thread = threading.Thread(target=work)
    thread.start()
    assert is_ready.wait(SECONDS)
    yield heard[0], folder
    loop.call_soon_threadsafe(task[0].cancel)
    thread.join(SECONDS)


def test_the_page_follows_a_run(address: tuple[str, Path]) -> None:
    """Rows, money per hour, the log of a node and the end of it come by themselves."""
    program = browsers.find()
    if program is None:
        pytest.skip("there is no Chromium here (apt-get install chromium, or name one in RPD_CHROMIUM)")
    url, folder = address
    second = report_of(0.01, 2, 2)
    name = folder_name(second.node.id)
    page = Browser(program)
    try:
        page.show()
        page.open(url)
        page.until("document.querySelectorAll('#grid tbody tr').length === 3")
        head = page.js("document.getElementById('head').textContent")
        for text in ("running", "$0.40 per hour", "1 node running", "2 nodes, about", "of at most $9.00"):
            assert text in head
        page.js(
            "[...document.querySelectorAll('#grid tbody button')].find(each => each.textContent.includes('seed2')).click()"
        )
        page.until("document.getElementById('live-log')?.textContent === 'epoch 1\\n20%'")
        with (folder / name / "output.log").open("a") as file:
            file.write("\r<b>100%</b>\n")
        page.until("document.getElementById('live-log')?.textContent === 'epoch 1\\n<b>100%</b>\\n'")
        write_node(folder / "new", second, start=0)
        (folder / "new" / name / "manifest.toml").replace(folder / name / "manifest.toml")
        page.until("document.querySelectorAll('#grid .outcome.passed').length === 2")
        page.until("document.querySelector('#node .outcome')?.textContent.includes('passed')")
        write_run(folder.parent, "20270102T030405Z-abcdef")
        page.until("document.querySelectorAll('#run-choice option').length === 2")
        page.js("location.hash = '20270102T030405Z-abcdef'")
        page.until("document.querySelectorAll('#grid tbody tr').length === 18")
        assert [error for error in page.errors if "favicon" not in error] == []
    finally:
        page.close()
