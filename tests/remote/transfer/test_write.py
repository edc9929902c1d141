"""One file written on the pod."""

import pytest

from rpd.errors import TransferError
from rpd.remote.ssh import SshRemote
from tests.remote.conftest import Machine
from tests.remote.transfer.conftest import entries


def test_a_written_file_has_its_bytes_and_mode(remote: SshRemote, machine: Machine) -> None:
    """Any bytes, any mode, in a folder that is made."""
    data = bytes(range(256)) * 300
    target = machine.files / "a b" / "-c'd"
    remote.write(str(target), data, mode=0o600)
    assert target.read_bytes() == data
    assert target.stat().st_mode & 0o777 == 0o600
    remote.write(str(target), b"", mode=0o755)
    assert (target.read_bytes(), target.stat().st_mode & 0o777) == (b"", 0o755)
    assert entries(target.parent) == [target.name]


def test_a_folder_is_not_written_over(remote: SshRemote, machine: Machine) -> None:
    """Nothing is moved into a folder of that name."""
    with pytest.raises(TransferError, match="it is a folder"):
        remote.write(str(machine.files), b"x")
    assert entries(machine.files) == []
