"""Registry credentials of a run: stored once, found again after a lost answer, and deleted or named."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rpd.errors import AmbiguousCreate, ImpossibleRequest, LocalError, ProviderError
from rpd.journal.journal import FileJournal
from rpd.lease.registries import Registries, StoredCredentials, note_removed, stored_by, stored_id
from rpd.redaction import NO_SECRETS
from rpd.runpod.dry.provider import OfflineProvider
from rpd.values.job import Registry, Secret
from rpd.values.pod import RegistryAuth

OWN = Registry(username="me", password=Secret("HUB"))


class Hub(OfflineProvider):
    """An account with registry credentials; ``error`` is raised by the next call that stores or deletes some.

    With ``is_done`` the call has taken effect by then.
    """

    def __init__(self, *stored: RegistryAuth) -> None:
        super().__init__()
        self.stored = list(stored)
        self.passwords: list[str] = []
        self.error: ProviderError | None = None
        self.is_done = False

    def registries(self) -> tuple[RegistryAuth, ...]:
        return tuple(self.stored)

    def add_registry(self, name: str, username: str, password: str) -> str:
        error, self.error = self.error, None
        if error is None or self.is_done:
            self.stored.append(RegistryAuth(id=f"id{len(self.stored)}", name=name))
            self.passwords.append(password)
        if error is not None:
            raise error
        return self.stored[-1].id

    def remove_registry(self, registry_id: str) -> None:
        if self.error is not None:
            raise self.error
        self.stored = [each for each in self.stored if each.id != registry_id]


def registries(hub: Hub, path: Path, *earlier: StoredCredentials) -> Registries:
    journal = FileJournal(path, NO_SECRETS, lambda _error: None)
    return Registries(lambda: hub, journal, run_id="r1", passwords={"HUB": "sesame"}, earlier=earlier)


def test_credentials_are_stored_once_and_deleted(tmp_path: Path) -> None:
    """The journal knows them from before they are stored until they are gone, and never the password."""
    hub, path = Hub(), tmp_path / "events.jsonl"
    made = registries(hub, path)
    assert made.id_of(None) is None
    assert (made.id_of(OWN), made.id_of(OWN), hub.passwords) == ("id0", "id0", ["sesame"])
    (held,) = stored_by(path)
    assert (held.name, held.id) == (hub.stored[0].name, "id0")
    assert made.remove_all() == ()
    assert (hub.stored, stored_by(path)) == ([], ())
    assert "sesame" not in path.read_text()


def test_nothing_is_stored_that_could_not_be_found_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with pods: without the intent on the disk, the call is not made."""
    hub = Hub()
    made = registries(hub, tmp_path / "events.jsonl")

    def fail(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(LocalError):
        made.id_of(OWN)
    assert hub.stored == []


@pytest.mark.parametrize("is_done", [True, False])
def test_a_lost_answer_is_settled_by_the_name(tmp_path: Path, is_done: bool) -> None:
    """If they were not stored, that is the error; either way nothing is left in the end."""
    hub, path = Hub(), tmp_path / "events.jsonl"
    hub.error, hub.is_done = AmbiguousCreate("no answer"), is_done
    made = registries(hub, path)
    if is_done:
        assert made.id_of(OWN) == "id0"
    else:
        with pytest.raises(AmbiguousCreate):
            made.id_of(OWN)
        assert [each.id for each in stored_by(path)] == [""]
    assert made.remove_all() == ()
    assert (hub.stored, stored_by(path)) == ([], ())


def test_what_an_earlier_process_left_is_deleted_by_id_or_name(tmp_path: Path) -> None:
    """What cannot be deleted is named, and stays in the journal for ``rpd gc``."""
    hub = Hub(
        RegistryAuth(id="x", name="rpd-a"),
        RegistryAuth(id="y", name="rpd-b"),
        RegistryAuth(id="z", name="mine"),
    )
    earlier = StoredCredentials(name="rpd-a", id="x"), StoredCredentials(name="rpd-b")
    made = registries(hub, tmp_path / "events.jsonl", *earlier)
    hub.error = ProviderError("busy")
    left = made.remove_all()
    assert ["rpd-a" in left[0], "rpd-b" in left[1], len(left)] == [True, True, 2]
    assert "rpd gc --yes" in left[0]
    hub.error = None
    assert made.remove_all() == ()
    assert [each.id for each in hub.stored] == ["z"]


def test_a_finished_run_is_told_that_its_credentials_are_gone(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    registries(Hub(), path).id_of(OWN)
    (entry,) = stored_by(path)
    note_removed(path, entry)
    assert stored_by(path) == ()


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ("hub", "2 registry credentials are named 'hub': use an id (1, 2)"),
        ("ghrc", "did you mean 'ghcr'?"),
        ("zzz", "it has 'hub', 'hub', 'ghcr'"),
    ],
)
def test_a_name_that_means_none_or_several_is_an_error(wanted: str, told: str) -> None:
    hub = Hub(*[RegistryAuth(id=id_, name=name) for id_, name in (("1", "hub"), ("2", "hub"), ("3", "ghcr"))])
    assert [stored_id(hub, each) for each in ("2", "ghcr")] == ["2", "3"]
    with pytest.raises(ImpossibleRequest) as caught:
        stored_id(hub, wanted)
    assert told in str(caught.value)
