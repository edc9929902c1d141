"""The start command that brings an SSH server: when it is sent, its contents, and its messages."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpd.errors import ImpossibleRequest
from rpd.remote import ssh_start
from rpd.values.job import SshSource
from rpd.values.pod import PodRequest

BARE = PodRequest(image="pytorch/pytorch:2.8.0", gpu=None)


@pytest.mark.parametrize(
    ("changes", "needed"),
    [
        ({}, True),
        ({"image": "ghcr.io/me/runpod/x:1"}, True),
        ({"image": "runpod/pytorch:1"}, False),
        ({"image": "docker.io/runpod/base:1"}, False),
        ({"image": "runpod/pytorch:1", "docker_args": "python serve.py"}, True),
        ({"docker_args": "bash -c 'service ssh start; sleep infinity'"}, False),
        ({"docker_args": "bash -c 'prepare && /start.sh'"}, False),
        ({"template_id": "mine"}, False),
        ({"ssh": SshSource.IMAGE}, False),
        ({"ssh": SshSource.INSTALL, "image": "runpod/pytorch:1"}, True),
    ],
)
def test_when_rpd_brings_the_server(changes: dict[str, object], needed: bool) -> None:
    """``auto`` leaves alone whatever is known to start SSH: RunPod's images, templates, commands that mention it."""
    request = replace(BARE, **changes)  # type: ignore[arg-type]
    assert ssh_start.is_needed(request) is needed
    assert (ssh_start.docker_args(request) != request.docker_args) is needed
    assert ssh_start.environment(request, {"A": "b"}) == {
        "A": "b",
        **({"RUNPOD_POD_USER": "0"} if needed else {}),
    }


@given(st.lists(st.text(st.characters(blacklist_categories=("Cs", "Cc"))), min_size=1))
def test_every_word_of_the_users_command_arrives(words: list[str]) -> None:
    """However it is quoted, and as RunPod's JSON as well."""
    text = shlex.join(words)
    if not text.lstrip().startswith("{"):
        assert ssh_start.command_words(text) == tuple(words)
    as_json = json.dumps({"entrypoint": words[:1], "cmd": words[1:]})
    assert ssh_start.command_words(as_json) == tuple(words)
    sent = json.loads(ssh_start.docker_args(replace(BARE, docker_args=as_json, ssh=SshSource.INSTALL)) or "")
    assert sent["entrypoint"] == ["/bin/sh", "-c"]
    assert sent["cmd"] == ['eval "$0"', ssh_start.program(), *words]


@pytest.mark.parametrize("text", ["sh -c 'x", '{"cmd": ', '{"cmd": [1]}', "{}", '{"command": ["x"]}'])
def test_a_command_that_nobody_can_run(text: str) -> None:
    with pytest.raises(ImpossibleRequest, match="docker_args"):
        ssh_start.command_words(text)


def test_what_a_log_tells() -> None:
    """Other lines mean nothing, and a container that was started again begins anew."""
    first = [
        "Pod Started",
        "2026-11-28 rpd-start: step installing",
        "rpd-start: ready root",
        "rpd-start: step running",
    ]
    assert ssh_start.progress([]) == ssh_start.Progress()
    assert ssh_start.progress(first[:2]).step == "installing"
    assert ssh_start.progress(first[:3]).user == ssh_start.progress(first).user == "root"
    assert ssh_start.progress([*first[:2], "rpd-start: failed no network"]).failure == "no network"
    assert ssh_start.progress([*first[:2], "rpd-start: failed no network", *first[:2]]).failure == ""


def test_the_program_is_small_enough_to_travel() -> None:
    """It goes into the create call with the environment; comments stay here."""
    assert len(ssh_start.program()) < 8000
    assert not [line for line in ssh_start.program().splitlines() if line.startswith("#")]
