"""Targets of notices: parses the text of ``--notify`` and makes the sender."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from typing import Any, Protocol
from urllib.parse import urlsplit

from rpd.errors import RpdError, UsageError
from rpd.notify.message import Message
from rpd.redaction import MASK

SECONDS = 10.0
"""How long one notice may take."""
DESKTOP = "desktop"
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_RULE = "expected desktop, an https:// address, or an Apprise URL, such as ntfys://ntfy.sh/topic"


class Target(Protocol):
    """Somewhere a notice can go; ``name`` can be shown, it holds no secret."""

    name: str

    def send(self, message: Message) -> None:
        """Send a notice, within some seconds. Raise RpdError if it did not get there."""
        ...


class Webhook:
    """An address that takes a POST: Slack and Discord get their own formats, any other address JSON."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._host = urlsplit(url).hostname or ""
        self.name = f"webhook at {self._host}"

    def send(self, message: Message) -> None:
        import httpx  # only where something is sent

        try:
            answer = httpx.post(self._url, json=self._body(message), timeout=SECONDS, follow_redirects=False)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            # Never the text of the error: the address is in it.
            raise RpdError(f"it could not be reached ({type(error).__name__})") from None
        if answer.status_code >= 300:
            raise RpdError(f"it answered {answer.status_code}")

    def _body(self, message: Message) -> dict[str, Any]:
        if self._host == "hooks.slack.com":
            return {"text": f"*{_for_slack(message.title)}*\n{_for_slack(message.text)}"}
        if self._host in ("discord.com", "discordapp.com"):
            # Names of nodes may say @everyone.
            return {"content": f"**{message.title}**\n{message.text}", "allowed_mentions": {"parse": []}}
        return message.to_json()


def _for_slack(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


class Desktop:
    """The notices of this desktop."""

    name = "desktop"

    def __init__(self, command: Callable[[Message], list[str]]) -> None:
        self._command = command

    def send(self, message: Message) -> None:
        try:
            done = subprocess.run(
                self._command(message),
                timeout=SECONDS,
                check=False,
                capture_output=True,
                stdin=subprocess.DEVNULL,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise RpdError(f"it did not answer ({type(error).__name__})") from None
        if done.returncode:
            raise RpdError(f"it ended with {done.returncode}")


def _notify_send(message: Message) -> list[str]:
    # Its text is a kind of markup.
    return ["notify-send", "--app-name=rpd", "--", message.title, _for_slack(message.text)]


def _osascript(message: Message) -> list[str]:
    # The texts are arguments of the script and no part of it.
    lines = ("on run argv", "display notification (item 2 of argv) with title (item 1 of argv)", "end run")
    return ["osascript", *(word for line in lines for word in ("-e", line)), message.title, message.text]


class _Apprise:
    """Anything that apprise knows."""

    def __init__(self, url: str, apprise: Any) -> None:
        self._sender = apprise.Apprise()
        if not self._sender.add(url):
            raise UsageError(
                f"--notify: Apprise does not know this kind of URL ({_scheme(url)}://…); {_RULE}"
            )
        self.name = f"{_scheme(url)}://…"

    def send(self, message: Message) -> None:
        if not self._sender.notify(title=message.title, body=message.text):
            raise RpdError("Apprise could not send it")


def target(text: str) -> Target | None:
    """Return where ``text`` leads. None for an address that was masked: a run that is resumed has no other.

    Raise UsageError, which does not repeat the address.
    """
    text = text.strip()
    if text == DESKTOP:
        return _desktop()
    if MASK in text:
        return None
    scheme = _scheme(text)
    if scheme in ("http", "https"):
        return _webhook(text, scheme)
    if not scheme:
        raise UsageError(f"--notify: {_RULE}")
    try:
        import apprise
    except ImportError:
        raise UsageError(
            f"--notify {scheme}://…: needs apprise: pip install 'rpd[notify]'; {_RULE}"
        ) from None
    return _Apprise(text, apprise)


def _webhook(url: str, scheme: str) -> Webhook:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host:
        raise UsageError("--notify: the address has no host")
    if scheme == "http" and host not in _LOOPBACK:
        raise UsageError(
            "--notify: an address outside of this machine must begin with https://, because it is a secret"
        )
    return Webhook(url)


def _desktop() -> Desktop:
    if sys.platform == "darwin":
        return Desktop(_osascript)
    if shutil.which("notify-send") and (
        os.environ.get("DBUS_SESSION_BUS_ADDRESS") or os.environ.get("DISPLAY")
    ):
        return Desktop(_notify_send)
    raise UsageError("--notify desktop: no desktop here can show notices (notify-send, or macOS)")


def _scheme(text: str) -> str:
    return text.partition("://")[0].lower() if "://" in text else ""
