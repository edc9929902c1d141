"""The start command of a pod whose image has no SSH server, and the lines it writes to the container's log.

Its program is ``ssh_start.sh`` in this folder. It uses the image's SSH server or installs one, and then runs
the container's own command.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping
from functools import cache

from rpd.errors import ImpossibleRequest
from rpd.values.frozen import frozen
from rpd.values.job import SshSource
from rpd.values.late_pattern import late_pattern
from rpd.values.pod import PodRequest

ENVIRONMENT: Mapping[str, str] = {"RUNPOD_POD_USER": "0"}
"""Environment of such a container: it runs as root, whatever user the image names."""

_RUNPODS_OWN = late_pattern(r"(?:(?:index\.)?docker\.io/)?runpod/")
_STARTS_SSH = late_pattern(r"\bsshd?\b|/start\.sh\b|\bdropbear\b")
_PROGRESS = late_pattern(r"rpd-start: (step|ready|failed) (.*)")
_ENTRYPOINT = ("/bin/sh", "-c")
# The program is not part of its own command line text: it can pass itself on, and ``"$@"`` is the command.
_RUN = 'eval "$0"'


def is_needed(request: PodRequest) -> bool:
    """Return whether rpd has to provide the SSH server of such a pod.

    With ``ssh="auto"``, RunPod's own images are known to start one, a template decides for itself, and a
    start command that mentions SSH is assumed to start it.
    """
    if request.ssh is not SshSource.AUTO:
        return request.ssh is SshSource.INSTALL
    if request.template_id is not None:
        return False
    if request.docker_args is not None:
        return not _STARTS_SSH.search(request.docker_args)
    return not _RUNPODS_OWN.match(request.image)


def docker_args(request: PodRequest) -> str | None:
    """Return the start command to create a pod with; None keeps the image's own. Raise ImpossibleRequest."""
    if not is_needed(request):
        return request.docker_args
    words = command_words(request.docker_args or "")
    return json.dumps({"entrypoint": [*_ENTRYPOINT], "cmd": [_RUN, program(), *words]}, ensure_ascii=False)


def environment(request: PodRequest, env: Mapping[str, str]) -> Mapping[str, str]:
    """Return the environment to create a pod with, given its own ``env``."""
    return {**ENVIRONMENT, **env} if is_needed(request) else env


def command_words(text: str) -> tuple[str, ...]:
    """Return the words of a start command, which is written as for a shell or as RunPod's JSON.

    Raise ImpossibleRequest for unclosed quotes, and for JSON that is not a command.
    """
    if text.lstrip().startswith("{"):
        return _json_words(text)
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise ImpossibleRequest(f"docker_args is not a command line ({error}): close its quotes") from None


def _json_words(text: str) -> tuple[str, ...]:
    try:
        parts = json.loads(text)
    except ValueError:
        parts = None
    if isinstance(parts, dict) and set(parts) <= {"entrypoint", "cmd"}:
        words = [*_texts(parts.get("entrypoint")), *_texts(parts.get("cmd"))]
        if words and all(isinstance(word, str) for word in words):
            return tuple(map(str, words))
    raise ImpossibleRequest(
        'docker_args begins with { but is not RunPod\'s JSON: write {"entrypoint": ["…"], "cmd": ["…"]}'
    )


def _texts(value: object) -> list[object]:
    return value if isinstance(value, list) else [] if value is None else [value]


@cache
def program() -> str:
    """Return the program without its comments: it travels in the create call."""
    from importlib import resources  # no dry run needs it

    text = resources.files(__package__).joinpath("ssh_start.sh").read_text()
    lines = (line.strip() for line in text.splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("#")) + "\n"


@frozen
class Progress:
    """The progress of a container: its last step in words, the user who can log in, why there is no server."""

    step: str = ""
    user: str = ""
    failure: str = ""


def progress(lines: Iterable[str]) -> Progress:
    """Return the progress in the lines of a container's log; later starts override earlier ones."""
    step = user = failure = ""
    for match in filter(None, map(_PROGRESS.search, lines)):
        kind, text = match[1], match[2].strip()
        step = text if kind == "step" else step
        user = text if kind == "ready" else user
        failure = text if kind == "failed" else ""
    return Progress(step=step, user=user, failure=failure)
