"""Finding the API key, without importing the SDK, so that a missing key is reported at once.

RunPod's tools disagree about its place: the Python SDK reads ``[default] api_key`` of
``~/.runpod/config.toml``, runpodctl writes a top-level ``apikey`` into the same file, and if RUNPOD_API_KEY
is set it overrides both.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from rpd.errors import AuthError
from rpd.user_text import parse_toml, read_text

ENVIRONMENT_NAME = "RUNPOD_API_KEY"
CONFIG_FILE = "~/.runpod/config.toml"

NO_KEY = (
    f"no RunPod API key: set {ENVIRONMENT_NAME}, or write one into {CONFIG_FILE} with `runpod config`. "
    "Create one at https://console.runpod.io/user/settings. (--local and a plain --dry-run need none.)"
)


def find_key(environ: Mapping[str, str] | None = None, config_file: Path | None = None) -> str:
    """Return the API key from the environment, else from RunPod's configuration file. Raise AuthError."""
    environment = os.environ if environ is None else environ
    from_environment = environment.get(ENVIRONMENT_NAME, "").strip()
    if from_environment:
        return _sendable(from_environment, ENVIRONMENT_NAME)
    path = Path(CONFIG_FILE).expanduser() if config_file is None else config_file
    from_file = _key_in(path)
    if from_file:
        return _sendable(from_file, str(path))
    raise AuthError(NO_KEY)


def _key_in(path: Path) -> str:
    try:
        table = parse_toml(read_text(path))
    except FileNotFoundError:
        return ""
    except (OSError, ValueError):
        # The message must not quote the file, which contains the key.
        raise AuthError(f"{path} cannot be read as TOML: fix it, or set {ENVIRONMENT_NAME}") from None
    default = table.get("default")
    for value in (default.get("api_key") if isinstance(default, dict) else None, table.get("apikey")):
        if isinstance(value, str) and value.strip():
            return value.strip()
    return ""


def _sendable(key: str, where: str) -> str:
    """Return ``key`` if it can be sent in an HTTP header; a pasted quote or line end is a common mistake."""
    if not key.isascii() or any(not "!" <= character <= "~" for character in key):
        raise AuthError(
            f"the API key in {where} contains a space or a character that no key has: copy it again"
        )
    return key
