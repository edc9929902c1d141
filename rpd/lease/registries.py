"""Registry credentials that a run stores at RunPod for private images, from the intent on disk to their deletion."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from rpd.errors import AmbiguousCreate, ImpossibleRequest, ProviderError, RpdError
from rpd.journal import journal
from rpd.lease.naming import registry_name
from rpd.redaction import NO_SECRETS
from rpd.values.frozen import frozen
from rpd.values.job import Registry
from rpd.values.pod import Provider, RegistryAuth
from rpd.values.suggestions import closest

INTENT, STORED, GONE = "registry_intent", "registry_stored", "registry_deleted"


class Note(Protocol):
    """Writes one event to the journal of the run; ``sync`` ones are on the disk when it returns."""

    def __call__(self, event: str, /, *, sync: bool = False, **detail: Any) -> None: ...


@frozen
class StoredCredentials:
    """Credentials that a run asked to be stored; ``id`` is empty where no answer was read."""

    name: str
    id: str = ""


def stored_by(path: Path) -> tuple[StoredCredentials, ...]:
    """Return the credentials that the run of this journal stored and has not deleted."""
    left: dict[str, StoredCredentials] = {}
    for event in journal.read(path):
        name = str(event.get("registry_name", ""))
        match event["event"]:
            case "registry_intent":
                left[name] = StoredCredentials(name=name)
            case "registry_stored":
                left[name] = StoredCredentials(name=name, id=str(event.get("registry_id", "")))
            case "registry_deleted":
                left.pop(name, None)
    return tuple(left.values())


class Registries:
    """Stores the credentials that jobs of a run bring along, each once, and deletes them. Thread-safe.

    ``earlier`` are those that an earlier process of the run left. ``passwords`` are the values of secrets by name.
    """

    def __init__(
        self,
        provider: Callable[[], Provider],
        note: Note,
        *,
        run_id: str,
        passwords: Mapping[str, str],
        earlier: Iterable[StoredCredentials] = (),
    ) -> None:
        self._provider = provider
        self._note = note
        self._run_id = run_id
        self._passwords = passwords
        self._lock = threading.Lock()
        self._stored = {entry.name: entry for entry in earlier}
        self._ids: dict[Registry | str, str] = {}

    def id_of(self, wanted: Registry | str | None) -> str | None:
        """Return the id to create pods with, storing the credentials first if they are the job's own.

        Raises ImpossibleRequest for a name that the account does not have, and ProviderError.
        """
        if wanted is None:
            return None
        with self._lock:
            if wanted not in self._ids:
                self._ids[wanted] = (
                    stored_id(self._provider(), wanted) if isinstance(wanted, str) else self._store(wanted)
                )
            return self._ids[wanted]

    def _store(self, wanted: Registry) -> str:
        name = registry_name(self._run_id, secrets.token_hex(3))
        self._note(INTENT, sync=True, registry_name=name)
        self._stored[name] = StoredCredentials(name=name)
        password = self._passwords[wanted.password.name]
        try:
            auth_id = self._provider().add_registry(name, wanted.username, password)
        except AmbiguousCreate:
            known = next((auth for auth in self._provider().registries() or () if auth.name == name), None)
            if known is None:
                raise
            auth_id = known.id
        self._stored[name] = StoredCredentials(name=name, id=auth_id)
        self._note(STORED, sync=True, registry_name=name, registry_id=auth_id)
        return auth_id

    def remove_all(self) -> tuple[str, ...]:
        """Delete what this run stored; return a sentence for each that could not be deleted."""
        with self._lock:
            self._ids.clear()
            left = []
            for entry in tuple(self._stored.values()):
                try:
                    remove(self._provider(), entry)
                except RpdError as error:
                    left.append(
                        f"the registry credentials {entry.name} stay at RunPod ({error}): rpd gc --yes deletes them"
                    )
                else:
                    del self._stored[entry.name]
                    self._note(GONE, sync=True, registry_name=entry.name)
            return tuple(left)


def stored_id(provider: Provider, wanted: str) -> str:
    """Return the id of the credentials that the account has stored as ``wanted``. Raises ImpossibleRequest."""
    known = provider.registries()
    if known is None:
        return wanted
    auths = [auth for auth in known if auth.id == wanted] or [auth for auth in known if auth.name == wanted]
    if len(auths) == 1:
        return auths[0].id
    if auths:
        ids = ", ".join(auth.id for auth in auths)
        raise ImpossibleRequest(f"{len(auths)} registry credentials are named {wanted!r}: use an id ({ids})")
    names = [auth.name for auth in known]
    close = closest(wanted, names)
    hint = f"did you mean {close!r}?" if close else f"it has {', '.join(map(repr, names)) or 'none'}"
    raise ImpossibleRequest(f"the account has no registry credentials {wanted!r}: {hint}")


def remove(provider: Provider, entry: StoredCredentials) -> None:
    """Delete credentials, by their name where no id is known. Raises ProviderError; they may be gone already."""
    auth_id = entry.id or _id_named(provider.registries() or (), entry.name)
    if auth_id:
        provider.remove_registry(auth_id)


def _id_named(known: Sequence[RegistryAuth], name: str) -> str:
    return next((auth.id for auth in known if auth.name == name), "")


def note_removed(path: Path, entry: StoredCredentials) -> None:
    """Tell the journal of a run that is over that its credentials are deleted."""
    with suppress(OSError):
        written = journal.FileJournal(path, NO_SECRETS)
        written.write(GONE, sync=True, registry_name=entry.name)
        written.close()


def still_there(provider: Provider, entries: Sequence[StoredCredentials]) -> tuple[StoredCredentials, ...]:
    """Return those credentials that the account still has; all of them where nobody can tell."""
    if not entries:
        return ()
    try:
        known = provider.registries()
    except ProviderError:
        return tuple(entries)
    if known is None:
        return ()
    there = {auth.id for auth in known} | {auth.name for auth in known}
    return tuple(each for each in entries if each.id in there or each.name in there)
