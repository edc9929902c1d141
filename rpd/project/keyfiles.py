"""Files that hold keys and passwords, by their names: rpd neither uploads them nor saves them in a diff by itself."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

_FOLDERS = frozenset(
    {".aws", ".ssh", ".gnupg", ".kube", ".azure", ".gcloud", ".docker", ".runpod", ".huggingface", ".kaggle"}
)
_NAMES = re.compile(
    r".*\.env|\.env\..*|\.envrc|\.netrc|_netrc|\.pypirc|\.npmrc|\.git-credentials|\.pgpass|\.htpasswd|\.dockercfg"
    r"|\.vault-token|\.boto|\.s3cfg|kaggle\.json|id_(?:rsa|dsa|ecdsa|ed25519)(?:_sk)?"
    r"|.*\.(?:p12|pfx|jks|keystore|kdbx|ppk)"
    r"|(?:.*[._-])?(?:credentials?|secrets?)(?:\.(?:json|ya?ml|toml|ini|txt|env|cfg|conf))?"
    r"|(?:client[._-]?secret|service[._-]?account).*\.json|application_default_credentials\.json",
    re.IGNORECASE,
)
_HARMLESS = re.compile(r".*[._-](?:example|sample|template|dist|defaults)", re.IGNORECASE)
"""Names of files that are there to be copied: ``.env.example``."""
_MAYBE = re.compile(r".*\.(?:pem|key)", re.IGNORECASE)
"""Private keys are named like this, but so are certificates and slides."""
_LAST_LETTERS = frozenset({
    "env", "trc", "son", "rsa", "dsa", "519", "_sk", "p12", "pfx", "jks", "ore", "dbx", "ppk", "ial", "als", "ret",
    "ets", "aml", "yml", "oml", "ini", "txt", "cfg", "onf", "pem", "key",
})  # fmt: skip
"""How the names end that these match, but for those that begin with a dot: most names need not be matched."""
_LOOKED_AT = 64 << 10


def is_key_folder(name: str) -> bool:
    """Return whether a folder of that name holds the credentials of a tool."""
    return name.lower() in _FOLDERS


def is_key_file(name: str, place: str) -> bool:
    """Return whether the file ``name`` at ``place`` holds a key or passwords; a ``.pem`` or ``.key`` is read."""
    if name[-3:].lower() not in _LAST_LETTERS and name[0] != "." and name.isascii():
        return False
    return _is_named_so(name) or (_MAYBE.fullmatch(name) is not None and _holds_private_key(place))


def is_key_path(path: str) -> bool:
    """Return whether a file (``path`` with ``/``, relative to its project) may hold a key or passwords, by its path.

    The file need not exist: a diff also has the content of those that were deleted or changed.
    """
    *folders, name = path.split("/")
    return any(map(is_key_folder, folders)) or _is_named_so(name) or _MAYBE.fullmatch(name) is not None


def _is_named_so(name: str) -> bool:
    return _NAMES.fullmatch(name) is not None and _HARMLESS.fullmatch(name) is None


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
    """Return whether ``path`` is the file of a secret, by whatever name."""
    return path.exists() and any(path.samefile(file) for file in secret_files if file.exists())


def withheld_text(folder: Path, names: Sequence[str], most: int = 5) -> str:
    """Return a sentence about the files that are not sent, and how to send them."""
    shown = ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
    one = len(names) == 1
    return (
        f"not sent from {folder}: {shown}. {'It looks' if one else 'They look'} like keys or passwords: pass secrets "
        f"to commands with Secret(…), or write !NAME into {folder / '.rpdignore'} to send {'it' if one else 'one'}"
    )
