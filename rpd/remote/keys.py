"""The SSH keys of a run: a fresh pair that need not be registered anywhere, and the user's own public keys."""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from rpd.user_text import read_text
from rpd.values.frozen import frozen

_PUBLIC_TYPES = ("ssh-", "ecdsa-", "sk-ssh-", "sk-ecdsa-")


@frozen
class RunKeys:
    """A key pair: the file of the private key and the line that a pod's ``authorized_keys`` needs."""

    private_key: Path
    public_line: str


def make_keypair(folder: Path, *, name: str = "id_ed25519", comment: str = "rpd") -> RunKeys:
    """Return the key pair in ``folder``, creating the folder (mode 0700) and the pair if necessary.

    The private key is an unencrypted ed25519 key in OpenSSH's format with mode 0600; ``name.pub`` is next to
    it, so that plain ``ssh -i`` can use both.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)  # the umask may have removed bits that we need
    private_path = folder / name
    public_path = folder / f"{name}.pub"
    if private_path.exists() and public_path.exists():
        return RunKeys(private_key=private_path, public_line=public_path.read_text(encoding="ascii").strip())
    key = Ed25519PrivateKey.generate()
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    line = f"{public.decode('ascii')} {comment}"
    _write_private(private_path, secret)
    public_path.write_text(f"{line}\n", encoding="ascii")
    return RunKeys(private_key=private_path, public_line=line)


def user_public_lines(folder: Path | None = None) -> tuple[str, ...]:
    """Return the public keys in ``~/.ssh/*.pub`` (or in ``folder``), one line each, in the order of file names.

    Certificates and files without a key are left out; an unreadable folder counts as empty.
    """
    ssh = Path.home() / ".ssh" if folder is None else folder
    lines: dict[str, None] = {}
    try:
        paths = sorted(ssh.glob("*.pub"))
    except OSError:
        return ()
    for path in paths:
        try:
            text = read_text(path) if path.is_file() else ""  # reading a FIFO would block
        except (OSError, UnicodeDecodeError):
            continue
        lines.update(dict.fromkeys(line for raw in text.splitlines() if _is_public_key(line := raw.strip())))
    return tuple(lines)


def _is_public_key(line: str) -> bool:
    kind, _, rest = line.partition(" ")
    return kind.startswith(_PUBLIC_TYPES) and "-cert-" not in kind and bool(rest.strip())


def _write_private(path: Path, data: bytes) -> None:
    # Written to a temporary file and renamed: a killed run leaves no half key, and the mode is never wider
    # for a moment.
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    temporary.chmod(0o600)
    temporary.replace(path)
