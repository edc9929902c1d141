"""The texts of a create call that both APIs share: validation, and which of them are secret."""

from __future__ import annotations

import unicodedata

from rpd.errors import ImpossibleRequest
from rpd.values.pod import PodSpec

SSH_PORT = "22/tcp"

_LINES_AND_TABS = frozenset("\n\r\t")


def sendable(text: str, what: str, *, lines: bool = False) -> str:
    """Return ``text`` if it can be sent to RunPod; ``lines`` allows line ends and tabs.

    Raise ImpossibleRequest for a control character or a lone surrogate; the message names ``what``, never the
    text.
    """
    for character in text:
        category = unicodedata.category(character)
        if category == "Cs" or (category == "Cc" and not (lines and character in _LINES_AND_TABS)):
            raise ImpossibleRequest(
                f"{what} contains the character U+{ord(character):04X}, which cannot be sent to RunPod: remove it"
            )
    return text


def secret_texts(spec: PodSpec) -> tuple[str, ...]:
    """Return the texts that no message may repeat: values of the environment, words of ``docker_args``."""
    command = spec.request.docker_args or ""
    return (*spec.env.values(), command, *command.split())
