"""The keys of a run."""

import subprocess
from pathlib import Path

import paramiko

from rpd.remote.keys import make_keypair, user_public_lines


def test_a_key_pair_is_one_that_ssh_can_use(tmp_path: Path) -> None:
    """The private key is OpenSSH's own format, readable by its owner alone, and belongs to the public line."""
    keys = make_keypair(tmp_path / "keys")
    assert keys.private_key.stat().st_mode & 0o777 == 0o600
    assert keys.private_key.parent.stat().st_mode & 0o777 == 0o700
    assert keys.private_key.read_text().startswith("-----BEGIN OPENSSH PRIVATE KEY-----")
    key = paramiko.Ed25519Key.from_private_key_file(str(keys.private_key))
    assert keys.public_line.split()[:2] == ["ssh-ed25519", key.get_base64()]
    assert (tmp_path / "keys" / "id_ed25519.pub").read_text() == keys.public_line + "\n"


def test_a_key_pair_is_made_once(tmp_path: Path) -> None:
    """A run that is resumed finds its keys."""
    assert make_keypair(tmp_path) == make_keypair(tmp_path)


def test_two_runs_have_two_keys(tmp_path: Path) -> None:
    """No key is shared between runs."""
    assert make_keypair(tmp_path / "a").public_line != make_keypair(tmp_path / "b").public_line


def test_the_users_own_public_keys_are_found(tmp_path: Path) -> None:
    """Every *.pub with a key counts once, in the order of names; certificates and other files do not."""
    (tmp_path / "b.pub").write_text("ssh-rsa AAAA b@host\n")
    (tmp_path / "a.pub").write_text("ssh-ed25519 AAAA a@host\n")
    (tmp_path / "c.pub").write_text("ssh-rsa AAAA b@host\n\n# a remark\n")
    (tmp_path / "d-cert.pub").write_text("ssh-ed25519-cert-v01@openssh.com AAAA d\n")
    (tmp_path / "e.pub").write_bytes(b"\xff\xfe")
    (tmp_path / "id_rsa").write_text("ssh-rsa AAAA not-a-pub\n")
    assert user_public_lines(tmp_path) == ("ssh-ed25519 AAAA a@host", "ssh-rsa AAAA b@host")


def test_no_ssh_folder_is_no_keys(tmp_path: Path) -> None:
    """Users need no key pair."""
    assert user_public_lines(tmp_path / "none") == ()


def test_ssh_keygen_accepts_the_pair(tmp_path: Path) -> None:
    """Where OpenSSH is installed, it derives the same public key from the private one."""
    keys = make_keypair(tmp_path)
    try:
        derived = subprocess.run(
            ["ssh-keygen", "-y", "-f", keys.private_key], capture_output=True, text=True, check=True
        )
    except FileNotFoundError:
        return
    assert derived.stdout.split()[:2] == keys.public_line.split()[:2]
