"""Files that hold keys and passwords, by their names: they stay here unless somebody says that they are to be sent."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

_NAMES = frozenset(
    {
        ".netrc", "_netrc", ".pypirc", ".npmrc", ".git-credentials", ".pgpass", ".htpasswd", ".dockercfg",
        ".vault-token", ".envrc", "id_rsa", "id_dsa", "id_ecdsa", "id_ed25519", "id_ecdsa_sk", "id_ed25519_sk",
        "credentials.json", "kaggle.json", "secrets.toml",
    }
)  # fmt: skip
_FOLDERS = frozenset(
    {".aws", ".ssh", ".gnupg", ".kube", ".azure", ".gcloud", ".docker", ".runpod", ".huggingface", ".kaggle"}
)
_ENDINGS = (".p12", ".pfx", ".jks", ".keystore", ".ppk", ".kdbx", ".env")
_MAYBE = (".pem", ".key")
"""Certificates and slides end so, too: what is in them decides."""
_PREFIXES = ("client_secret", "service-account", "service_account")
_HARMLESS = ("example", "sample", "template", "dist", "defaults")
"""Endings of an ``.env`` file that is there to be copied."""
_LOOKED_AT = 64 << 10


def is_key_folder(name: str) -> bool:
    """Whether a folder of that name holds credentials of some tool."""
    return name.lower() in _FOLDERS


def is_key_file(name: str, place: str) -> bool:
    """Whether the file called ``name``, which lies at ``place``, holds a key or passwords."""
    low = name.lower()
    if low in _NAMES or low.endswith(_ENDINGS):
        return True
    if low.startswith(".env."):
        return not low.endswith(_HARMLESS)
    if low.endswith(".json"):
        return low.startswith(_PREFIXES)
    return low.endswith(_MAYBE) and _holds_private_key(place)


def _holds_private_key(place: str) -> bool:
    try:
        with open(place, "rb") as file:  # noqa: PTH123 - as in the walk that asks
            return b"PRIVATE KEY" in file.read(_LOOKED_AT)
    except OSError:
        return True


def secret_rules(root: Path, secret_files: Iterable[Path]) -> tuple[str, ...]:
    """Return rules, as of ``.gitignore``, that leave the files of secrets out of the folder ``root``."""
    return tuple(dict.fromkeys(_rules(root, secret_files)))


def _rules(root: Path, secret_files: Iterable[Path]) -> Iterator[str]:
    for folder in dict.fromkeys((root.absolute(), root.resolve())):
        for file in secret_files:
            for path in (file.absolute(), file.resolve()):
                if path != folder and path.is_relative_to(folder):
                    yield "/" + re.sub(r"([\\*?\[\] !#])", r"\\\1", path.relative_to(folder).as_posix())


def is_secret_file(path: Path, secret_files: Iterable[Path]) -> bool:
    """Whether ``path`` is the file of a secret, by whatever name."""
    return path.exists() and any(path.samefile(file) for file in secret_files if file.exists())


def withheld_text(folder: Path, names: Sequence[str], most: int = 5) -> str:
    """Return a sentence on what is not sent, and how to send it."""
    shown = ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
    one = len(names) == 1
    return (
        f"not sent from {folder}: {shown}. {'It looks' if one else 'They look'} like keys or passwords: give a command "
        f"what it needs by Secret(…), or write !NAME into {folder / '.rpdignore'} to send {'it' if one else 'one'}"
    )
