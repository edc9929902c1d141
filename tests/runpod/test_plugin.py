"""Which provider a run gets."""

from __future__ import annotations

from pathlib import Path

import pytest

from rpd.config import config_of
from rpd.errors import AuthError, UsageError
from rpd.hooks import make_plugin_manager, register
from rpd.runpod import plugin
from rpd.runpod.dry import provider
from rpd.runpod.dry.provider import OfflineProvider
from rpd.runpod.switch import SwitchingProvider


def provider_of(tmp_path: Path, *, dry_run: bool) -> object:
    manager = make_plugin_manager()
    register(manager, plugin, "runpod")
    register(manager, provider, "offline")
    config = config_of(command="run", rootdir=tmp_path, invocation_dir=tmp_path, dry_run=dry_run)
    return manager.hook.rpd_provider(config=config)


def test_a_dry_run_needs_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dry run is answered by the recorder, whatever the environment holds."""
    monkeypatch.delenv("RUNPOD_API_KEY", raising=False)
    assert isinstance(provider_of(tmp_path, dry_run=True), OfflineProvider)


def test_a_real_run_gets_runpod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a key the pods come from RunPod."""
    monkeypatch.setenv("RUNPOD_API_KEY", "rpa_x")
    assert isinstance(provider_of(tmp_path, dry_run=False), SwitchingProvider)


@pytest.mark.parametrize(
    "url", ["localhost:80", "api.runpod.io", "https://", "ftp://x", "https://[::1", "https://x:port"]
)
def test_an_address_that_is_none_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """A slip in RUNPOD_API_BASE_URL is an error of usage, not a server that cannot be reached."""
    monkeypatch.setenv("RUNPOD_API_KEY", "rpa_x")
    monkeypatch.setenv("RUNPOD_API_BASE_URL", url)
    with pytest.raises(UsageError, match="RUNPOD_API_BASE_URL: expected a URL"):
        provider_of(tmp_path, dry_run=False)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://api.runpod.io", "in clear text"),
        ("http://10.0.0.7:8000", "in clear text"),
        ("http://127.example.com", "in clear text"),
        ("http://127.0.0.1.example.com", "in clear text"),
        ("http://0.0.0.0:8000", "in clear text"),
        ("https://me:secret@api.runpod.io", "without a user name or password"),
        ("http://me@127.0.0.1:8000", "without a user name or password"),
    ],
)
def test_the_key_goes_nowhere_in_clear_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, why: str
) -> None:
    """Plain HTTP beyond this machine, and a password that would take the key's place, are errors of usage."""
    monkeypatch.setenv("RUNPOD_API_KEY", "rpa_x")
    monkeypatch.setenv("RUNPOD_API_BASE_URL", url)
    with pytest.raises(UsageError, match=why) as caught:
        provider_of(tmp_path, dry_run=False)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1", "http://127.9.9.9:1", "http://[::1]:1", "http://localhost:1"]
)
def test_plain_http_on_this_machine_is_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    """An emulator needs no certificate."""
    monkeypatch.setenv("RUNPOD_API_KEY", "rpa_x")
    monkeypatch.setenv("RUNPOD_API_BASE_URL", url)
    assert isinstance(provider_of(tmp_path, dry_run=False), SwitchingProvider)


def test_a_real_run_without_a_key_fails_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The missing key is an error before anything is imported or asked."""
    monkeypatch.delenv("RUNPOD_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(AuthError, match="no RunPod API key"):
        provider_of(tmp_path, dry_run=False)
