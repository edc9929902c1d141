"""Notices: their texts and targets, and that neither a secret nor a target that hangs gets in the way."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from rpd.cli import main
from rpd.errors import ExitCode, UsageError
from rpd.events import Events
from rpd.hooks import hookimpl, make_plugin_manager
from rpd.notify import plugin as notify_plugin
from rpd.notify import targets
from rpd.notify.message import Kind, Message
from rpd.notify.plugin import Notices
from rpd.notify.targets import Target, Webhook, target
from rpd.redaction import MASK, Redactor
from rpd.values.report import CostRecord, NodeRecord, NodeReport, Outcome, Result, RunSummary
from tests.waiting import wait_until

SECRET = "hush-4711-hush"


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may take its time: the tests check what arrives, not when."""
    monkeypatch.setattr(notify_plugin, "LAST_SECONDS", 120.0)
    monkeypatch.setattr(targets, "SECONDS", 60.0)


class Hook:
    """A webhook: its requests, and the status of its answers; it hangs while ``held`` is not set."""

    def __init__(self) -> None:
        self.got: list[tuple[str, Any]] = []
        self.status = 204
        self.held = threading.Event()
        self.held.set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.held.wait(30)
                outer.got.append((self.path, json.loads(body)))
                self.send_response(outer.status)
                self.send_header("Location", "http://127.0.0.1:9/")
                self.end_headers()

            def log_message(self, *args: object) -> None:
                """Stay quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook/{SECRET}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        self.held.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def hook() -> Iterator[Hook]:
    made = Hook()
    yield made
    made.close()


def report(name: str, outcome: Outcome = Outcome.PASSED, usd: float = 0.0, reason: str = "") -> NodeReport:
    node = NodeRecord(id=f"deploy_a.py::{name}", job=name, file="deploy_a.py", line=1)
    return NodeReport(
        node=node, result=Result(outcome=outcome, reason=reason), cost=CostRecord(estimated_usd=usd)
    )


class Heard:
    """A run whose notices go to some targets; ``notices`` are the sentences for the screen."""

    def __init__(self, *targets: Target, budget: float | None = None, secrets: tuple[str, ...] = ()) -> None:
        self.notices: list[str] = []
        manager = make_plugin_manager([])
        heard = self.notices

        class Screen:
            @hookimpl
            def rpd_notice(self, text: str) -> None:
                heard.append(text)

        manager.register(Screen())
        self.plugin = Notices(targets, redactor=Redactor(secrets), events=Events(manager), budget=budget)

    def run(self, *reports: NodeReport, **how: Any) -> None:
        for each in reports:
            self.plugin.rpd_node_report(report=each)
        self.plugin.rpd_run_finished(
            summary=RunSummary(folder="/r/RUN", reports=reports, seconds=61.0, **how)
        )


def test_a_webhook_is_told_once_of_each_kind(hook: Hook) -> None:
    """The first failure, the budget, pods left and the end, in this order; later failures are in the last one."""
    failed = report("b", Outcome.FAILED, 3.0, "it diverged")
    heard = Heard(Webhook(hook.url), budget=5.0)
    heard.run(
        report("a", usd=2.0),
        failed,
        report("c", Outcome.ERROR, 1.0),
        failed,
        unreleased=("p1",),
        leftover=("p2",),
    )
    bodies = {body["event"]: body for _, body in hook.got}
    assert list(bodies) == ["failed", "budget", "not_released", "kept", "finished"]
    assert len(hook.got) == 5
    assert bodies["failed"]["text"] == "deploy_a.py::b: it diverged"
    assert bodies["budget"]["text"].startswith("$5.00 of the run's budget of $5.00")
    assert bodies["not_released"]["pods"] == ["p1"]
    assert bodies["finished"]["text"] == "1 passed, 2 failed, 1 error in 1m01s, $9.00. Run RUN"
    assert bodies["finished"]["run"] == "RUN"
    assert heard.notices == []


def test_secrets_and_controls_are_not_told(hook: Hook) -> None:
    """Also where a colour code cuts a secret in two; a long reason is cut."""
    heard = Heard(Webhook(hook.url), secrets=("sesame-81f2",))
    heard.run(report("sesame-81f2", Outcome.FAILED, reason="sesame\x1b[0m-81f2 \x07" + "x" * 5000))
    body = hook.got[0][1]
    assert "81f2" not in json.dumps(hook.got)
    assert body["text"].startswith(f"deploy_a.py::{MASK}: {MASK} xxx")
    assert len(body["text"]) == 1000
    assert body["node"] == f"deploy_a.py::{MASK}"


@pytest.mark.parametrize("status", [302, 404, 500])
def test_a_target_that_refuses_costs_one_sentence(hook: Hook, status: int) -> None:
    """It is reported once, without the address; a redirection is not followed."""
    hook.status = status
    heard = Heard(Webhook(hook.url))
    heard.run(report("a", Outcome.FAILED))
    assert len(hook.got) == 2
    (notice,) = heard.notices
    assert f"it answered {status}" in notice
    assert SECRET not in notice


def test_a_target_that_hangs_holds_up_nothing(hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another target gets everything, and the end of the run waits a bounded time."""
    monkeypatch.setattr(notify_plugin, "LAST_SECONDS", 0.3)
    other = Hook()
    hook.held.clear()
    heard = Heard(Webhook(hook.url), Webhook(other.url))
    heard.run(report("a", Outcome.FAILED))
    wait_until(lambda: len(other.got) == 2)
    other.close()
    assert [body["event"] for _, body in other.got] == ["failed", "finished"]
    assert [notice for notice in heard.notices if "did not answer in time" in notice]


def test_nobody_listens_there() -> None:
    """A closed port and a library that raises anything are one sentence each."""

    class Broken:
        name = "broken"

        def send(self, message: Message) -> None:
            raise ZeroDivisionError(SECRET)

    heard = Heard(Webhook(f"http://127.0.0.1:9/{SECRET}"), Broken())
    heard.run(report("a", Outcome.FAILED))
    assert min(heard.notices).endswith("(broken: ZeroDivisionError)")
    assert "could not be reached" in max(heard.notices)
    assert SECRET not in "".join(heard.notices)


def test_slack_and_discord_get_what_they_expect() -> None:
    """Their own fields, with the special characters of their markup made harmless."""
    message = Message(kind=Kind.FAILED, title="a <b>", text="@everyone <!channel> &")
    slack = Webhook("https://hooks.slack.com/services/x")._body(message)
    assert slack == {"text": "*a &lt;b&gt;*\n@everyone &lt;!channel&gt; &amp;"}
    discord = Webhook("https://discord.com/api/webhooks/x")._body(message)
    assert discord["allowed_mentions"] == {"parse": []}


def test_the_desktop_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through notify-send, with texts as arguments that are no options and no markup."""
    if sys.platform == "darwin":
        pytest.skip("macOS has notices of its own")
    said = tmp_path / "told"
    program = tmp_path / "notify-send"
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >> {said}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("DISPLAY", ":0")
    desktop = target("desktop")
    assert desktop is not None
    desktop.send(Message(kind=Kind.FAILED, title="--help", text="<b>x</b>"))
    assert said.read_text().splitlines() == ["--app-name=rpd", "--", "--help", "&lt;b&gt;x&lt;/b&gt;"]
    program.write_text("#!/bin/sh\nexit 3\n")
    heard = Heard(desktop)
    heard.run()
    assert "it ended with 3" in heard.notices[0]


def test_anything_that_apprise_knows(hook: Hook) -> None:
    """An address of apprise goes through apprise."""
    pytest.importorskip("apprise")
    chosen = target(hook.url.replace("http://", "json://"))
    assert chosen is not None
    assert SECRET not in chosen.name
    heard = Heard(chosen)
    heard.run(report("a"))
    assert hook.got[0][1]["title"] == "rpd: 1 passed"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected desktop"),
        ("desktp", "expected desktop"),
        (f"http://example.org/{SECRET}", "https://"),
        (f"https:///{SECRET}", "no host"),
        (f"https://[::1/{SECRET}", "no host"),
        (f"nosuch://{SECRET}", "Apprise"),
    ],
)
def test_mistakes_are_told_without_the_address(text: str, message: str) -> None:
    """A wrong target is an error before anything runs."""
    with pytest.raises(UsageError, match=message) as raised:
        target(text)
    assert SECRET not in str(raised.value)


def test_a_run_tells_and_keeps_the_address_to_itself(
    hook: Hook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From flag and environment; a dry run notifies no target; no file of the run holds the address."""
    (tmp_path / "rpd.toml").write_text("")
    (tmp_path / "deploy_a.py").write_text("import rpd\n@rpd.job\ndef fit():\n    assert False, 'no luck'\n")
    monkeypatch.chdir(tmp_path)
    assert main(["run", "--dry-run", "--notify", hook.url]) == ExitCode.FAILED
    assert hook.got == []
    monkeypatch.setenv("RPD_NOTIFY", hook.url)
    assert main(["run", "--html", "page.html"]) == ExitCode.FAILED
    assert [body["event"] for _, body in hook.got] == ["failed", "finished"]
    assert "no luck" in hook.got[0][1]["text"]
    monkeypatch.delenv("RPD_NOTIFY")
    assert main(["run", "--notify", hook.url, "--notify", "desktp"]) == ExitCode.USAGE_ERROR
    assert main(["run", "--notify", hook.url]) == ExitCode.FAILED
    assert len(hook.got) == 4
    shown = capsys.readouterr()
    written = [path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file()]
    assert not [text for text in (*written, shown.out, shown.err) if SECRET in text]
