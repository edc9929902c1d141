"""Catalogues cached on disk, so that not every command has to ask for prices."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any

from platformdirs import user_cache_path

from rpd.runpod.address import api_url, is_local
from rpd.runpod.catalogue.model import Catalogue, GpuRow
from rpd.user_text import read_text

FRESH_SECONDS = 3600.0


class CatalogueStore:
    """A folder of catalogues, one per API address and question; ``folder`` None stores nothing.

    ``url`` is that address, by default the one in the environment. ``refresh`` ignores stored catalogues and
    replaces them. A file that cannot be read or written is no error: RunPod is asked instead.
    """

    def __init__(
        self,
        folder: Path | None,
        *,
        url: str | None = None,
        refresh: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._url = url or api_url()
        self._folder = folder
        self._refresh = refresh
        self._clock = clock

    def read(self, question: str) -> Catalogue | None:
        """Return the answer to ``question`` if it is less than an hour old."""
        if self._folder is None or self._refresh:
            return None
        try:
            document = json.loads(read_text(self._path(self._folder, question)))
            if not 0 <= self._clock() - document["read_at"] < FRESH_SECONDS:
                return None
            return _from_table(document)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def write(self, question: str, catalogue: Catalogue) -> None:
        """Store the answer to ``question``."""
        if self._folder is None:
            return
        path = self._path(self._folder, question)
        # Renamed into place: several rpd processes may read and write the same file.
        temporary = path.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            text = json.dumps({"read_at": self._clock(), "url": self._url, **_to_table(catalogue)})
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(path)

    def _path(self, folder: Path, question: str) -> Path:
        name = hashlib.sha256(f"{self._url}\n{question}".encode()).hexdigest()[:24]
        return folder / f"{name}.json"


def default_store(url: str | None = None, *, refresh: bool = False) -> CatalogueStore:
    """Return the store in the user's cache folder; for an API on this machine it stores nothing."""
    url = url or api_url()
    folder = None if is_local(url) else user_cache_path("rpd") / "catalogue"
    return CatalogueStore(folder, url=url, refresh=refresh)


def _to_table(catalogue: Catalogue) -> dict[str, Any]:
    offered = catalogue.offered
    return {
        "gpus": [asdict(row) for row in catalogue.gpus.values()],
        "stock": {gpu: dict(places) for gpu, places in catalogue.stock.items()},
        "stock_known": catalogue.stock_known,
        "complete": catalogue.complete,
        "offered": None if offered is None else {gpu: sorted(places) for gpu, places in offered.items()},
        "cpus": dict(catalogue.cpu_usd_per_vcpu_hr),
    }


def _from_table(document: Mapping[str, Any]) -> Catalogue:
    offered = document["offered"]
    return Catalogue(
        gpus=MappingProxyType({raw["id"]: GpuRow(**raw) for raw in document["gpus"]}),
        stock=MappingProxyType({gpu: MappingProxyType(places) for gpu, places in document["stock"].items()}),
        stock_known=document["stock_known"],
        complete=document["complete"],
        offered=None
        if offered is None
        else MappingProxyType({gpu: frozenset(places) for gpu, places in offered.items()}),
        cpu_usd_per_vcpu_hr=MappingProxyType(document["cpus"]),
    )
