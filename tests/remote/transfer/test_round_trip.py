"""A tree that is put and pulled again is unchanged."""

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rpd.remote.ssh import SshRemote
from tests.remote.conftest import Machine
from tests.remote.transfer.conftest import picture


def test_busybox_alone_will_do_both_ways(
    busybox: None, remote: SshRemote, machine: Machine, tree: Path, tmp_path: Path
) -> None:
    """A pod with busybox's tools takes a tree and gives it back."""
    remote.put(tree, str(machine.files / "t"))
    assert picture(machine.files / "t") == picture(tree)
    remote.pull(str(machine.files / "t"), tmp_path / "l")
    assert picture(tmp_path / "l/t") == picture(tree)


_NAME = st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1, max_size=12).filter(
    lambda name: name not in {".", "..", ".git", ".gitignore", ".rpdignore"} and len(name.encode()) < 200
)
_FILE = st.tuples(st.binary(max_size=2000), st.sampled_from([0o644, 0o755, 0o600]))
_TREE = st.recursive(
    st.dictionaries(_NAME, _FILE, max_size=4),
    lambda inner: st.dictionaries(_NAME, st.one_of(_FILE, inner), max_size=4),
    max_leaves=8,
)


def _grow(root: Path, content: dict[str, object]) -> None:
    root.mkdir()
    for name, value in content.items():
        if isinstance(value, dict):
            _grow(root / name, value)
        else:
            data, mode = value  # type: ignore[misc]
            (root / name).write_bytes(data)
            (root / name).chmod(mode)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=_TREE)
def test_any_tree_makes_the_round_trip(
    remote: SshRemote,
    machine: Machine,
    tmp_path_factory: pytest.TempPathFactory,
    content: dict[str, object],
) -> None:
    """A tree that is put and pulled again is unchanged."""
    here = tmp_path_factory.mktemp("here")
    _grow(here / "tree", content)
    remote.put(here / "tree", str(machine.files / "t"))
    remote.pull(str(machine.files / "t"), here / "back")
    assert picture(here / "back" / "t") == picture(here / "tree") == picture(machine.files / "t")
    for line in (here / "back.sha256").read_bytes().split(b"\n"):
        if line and not line.startswith(b"\\"):
            digest, _, name = line.partition(b"  ")
            data = Path(os.fsdecode(os.fsencode(here / "back") + b"/" + name)).read_bytes()
            assert hashlib.sha256(data).hexdigest().encode() == digest
