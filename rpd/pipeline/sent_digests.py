"""Digests of the files that pods are sent, as they are on this machine now."""

from __future__ import annotations

import os
from pathlib import Path

from rpd.errors import UsageError
from rpd.project.fingerprint import Sent
from rpd.project.ignore import Kind, content_digest, staging, tree_digest
from rpd.project.own_output import OwnOutput


class SentDigests:
    """Computes each digest once; ``own`` are files that rpd itself writes, which are not sent."""

    def __init__(self, rootdir: Path, own: OwnOutput) -> None:
        self._rootdir = rootdir
        self._own = own
        self._known: dict[str, str] = {}

    def of(self, sent: Sent) -> str:
        """Return the digest that a path would have if it were sent now; empty if it no longer exists."""
        if sent.part not in self._known:
            self._known[sent.part] = self._computed(sent)
        return self._known[sent.part]

    def _computed(self, sent: Sent) -> str:
        folder = Path(os.path.normpath(self._rootdir / sent.path))
        try:
            rules = (*sent.exclude, *self._own.below(folder))
            files = staging(folder, rules, ignored=sent.ignored).files
            return tree_digest(
                (file, content_digest(file.path) if file.kind is Kind.FILE else "") for file in files
            )
        except (UsageError, OSError):
            return ""
