"""Uploads: which local files a run may send to pods, and how much."""

from __future__ import annotations

import os
from pathlib import Path

from rpd.errors import UsageError
from rpd.events import Events
from rpd.execute.project_folder import check_weight
from rpd.project.own_output import OwnOutput
from rpd.project.upload_size import Scales, Weight
from rpd.values.mutable import fresh, mutable


@mutable
class Uploads:
    """The run's knowledge of the folders that nodes send. Thread-safe."""

    rootdir: Path
    events: Events
    limit_mb: float
    """How much ``staged_dir`` may send, in MB."""
    secret_files: tuple[Path, ...] = ()
    """Files that secrets are read from; they are never sent to a pod."""
    scales: Scales = fresh(factory=Scales)
    own: OwnOutput = fresh(factory=OwnOutput)
    """The files this process writes itself, so that they are not sent."""

    def weigh(self, local: Path, exclude: tuple[str, ...], *, ignored: bool = False) -> Weight:
        """Return the size of the files that would be sent from ``local``. Raise UsageError if it does not exist."""
        return self.scales.weigh(local, exclude, ignored=ignored)

    def check(self, folder: Path) -> None:
        """Raise UsageError if a project's folder is larger than may be sent."""
        check_weight(folder, self.limit_mb, self.scales)

    def rules_for(self, local: Path) -> tuple[str, ...]:
        """Return ignore rules that keep files of secrets from being sent. Raise UsageError if ``local`` is one."""
        if not self.secret_files:
            return ()
        from rpd.project.keyfiles import is_secret_file, secret_rules

        if is_secret_file(local, self.secret_files):
            raise UsageError(
                f"{local} is the file of a secret, so it is not sent: commands have its value in their environment"
            )
        return secret_rules(local, self.secret_files)

    def tell_withheld(self, local: Path, names: tuple[str, ...]) -> None:
        """Report, once per folder, the key files that are not sent."""
        if notice := self.scales.news(local, names):
            self.events.notice(notice)

    def known_as(self, local: Path) -> str:
        """Return a local path relative to the root folder."""
        return Path(os.path.relpath(local, self.rootdir)).as_posix()
