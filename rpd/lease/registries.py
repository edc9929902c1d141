"""Registry credentials that a run stores at RunPod for private images, from the intent on disk to their deletion."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from rpd.errors import AmbiguousCreate, ImpossibleRequest, ProviderError, RpdError
from rpd.journal import journal
from rpd.journal.journal import Journal
from rpd.lease.naming import registry_name
from rpd.redaction import NO_SECRETS
from rpd.values.frozen import frozen
from rpd.values.job import Registry
from rpd.values.pod import Provider, RegistryAuth
from rpd.values.suggestions import closest

INTENT, STORED, GONE = "registry_intent", "registry_stored", "registry_deleted"


@frozen
class StoredCredentials:
    """Credentials that a run sent to be stored; ``id`` is empty if the answer was lost."""

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
    """Stores the credentials that a run's jobs bring along, each once, and deletes them. Thread-safe.

    They are in the journal ``written`` before they are stored. ``earlier`` are those left by an earlier process of
    the run. ``passwords`` are the values of secrets by name.
    """

    def __init__(
        self,
        provider: Callable[[], Provider],
        written: Journal,
        *,
        run_id: str,
        passwords: Mapping[str, str],
        earlier: Iterable[StoredCredentials] = (),
    ) -> None:
        self._provider = provider
        self._journal = written
        self._run_id = run_id
        self._passwords = passwords
        self._lock = threading.Lock()
        self._stored = {entry.name: entry for entry in earlier}
        self._ids: dict[Registry | str, str] = {}

    def id_of(self, registry: Registry | str | None) -> str | None:
        """Return the id to create pods with; if the credentials are the job's own, store them first.

        Raise ImpossibleRequest for a name that the account does not have, ProviderError, and LocalError.
        """
        if registry is None:
            return None
        with self._lock:
            if registry not in self._ids:
                self._ids[registry] = (
                    stored_id(self._provider(), registry)
                    if isinstance(registry, str)
                    else self._store(registry)
                )
            return self._ids[registry]

    def _store(self, registry: Registry) -> str:
        name = registry_name(self._run_id, os.urandom(3).hex())
        self._journal.write(INTENT, sync=True, registry_name=name)
        self._journal.check()  # never store credentials that could not be found again
        self._stored[name] = StoredCredentials(name=name)
        password = self._passwords[registry.password.name]
        try:
            auth_id = self._provider().add_registry(name, registry.username, password)
        except AmbiguousCreate:
            # The answer was lost. Our unique name tells whether the credentials were stored.
            stored = next((auth for auth in self._provider().registries() or () if auth.name == name), None)
            if stored is None:
                raise
            auth_id = stored.id
        self._stored[name] = StoredCredentials(name=name, id=auth_id)
        self._journal.write(STORED, sync=True, registry_name=name, registry_id=auth_id)
        return auth_id

    def remove_all(self) -> tuple[str, ...]:
        """Delete the credentials that this run stored; return a sentence for each that could not be deleted."""
        with self._lock:
            self._ids.clear()
            left = []
            for entry in tuple(self._stored.values()):
                try:
                    remove(self._provider(), entry)
                except RpdError as error:
                    left.append(
                        f"the registry credentials {entry.name} are still stored at RunPod ({error}): rpd gc --yes "
                        "deletes them"
                    )
                else:
                    del self._stored[entry.name]
                    self._journal.write(GONE, sync=True, registry_name=entry.name)
            return tuple(left)


def stored_id(provider: Provider, id_or_name: str) -> str:
    """Return the id of the account's credentials with that id or name. Raise ImpossibleRequest."""
    stored = provider.registries()
    if stored is None:
        return id_or_name
    auths = [auth for auth in stored if auth.id == id_or_name] or [
        auth for auth in stored if auth.name == id_or_name
    ]
    if len(auths) == 1:
        return auths[0].id
    if auths:
        ids = ", ".join(auth.id for auth in auths)
        raise ImpossibleRequest(
            f"{len(auths)} registry credentials are named {id_or_name!r}: use an id ({ids})"
        )
    names = [auth.name for auth in stored]
    close = closest(id_or_name, names)
    hint = f"did you mean {close!r}?" if close else f"it has {', '.join(map(repr, names)) or 'none'}"
    raise ImpossibleRequest(f"the account has no registry credentials {id_or_name!r}: {hint}")


def remove(provider: Provider, entry: StoredCredentials) -> None:
    """Delete credentials, by their name if no id is known. They may be gone already. Raise ProviderError."""
    auth_id = entry.id or _id_named(provider.registries() or (), entry.name)
    if auth_id:
        provider.remove_registry(auth_id)


def _id_named(stored: Sequence[RegistryAuth], name: str) -> str:
    return next((auth.id for auth in stored if auth.name == name), "")


def note_removed(path: Path, entry: StoredCredentials) -> None:
    """Record in the journal of a finished run that its credentials are deleted."""
    with suppress(OSError):
        written = journal.FileJournal(path, NO_SECRETS)
        written.write(GONE, sync=True, registry_name=entry.name)
        written.close()


def still_there(provider: Provider, entries: Sequence[StoredCredentials]) -> tuple[StoredCredentials, ...]:
    """Return those credentials that the account still has; all of them if the account cannot be read."""
    if not entries:
        return ()
    try:
        stored = provider.registries()
    except ProviderError:
        return tuple(entries)
    if stored is None:
        return ()
    there = {auth.id for auth in stored} | {auth.name for auth in stored}
    return tuple(each for each in entries if each.id in there or each.name in there)
