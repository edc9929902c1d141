"""The pulls of one node: the local paths they claim, and those that repeat until it ends."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

from rpd.errors import RemoteError, UsageError
from rpd.execute.pod.destinations import Destinations
from rpd.values.frozen import frozen


@frozen
class Ending:
    """An activity that runs in parallel with a job and has to be brought to an end.

    ``finish(required=…)`` ends it properly and raises RemoteError if that fails; ``close`` gives it up.
    """

    finish: Callable[..., None]
    close: Callable[[], None]


class Pulls:
    """The pulls of a node from its pods; ``endings`` are its activities that run in parallel with the job."""

    def __init__(self) -> None:
        self.endings: list[Ending] = []
        self.checkpoints: set[str] = set()
        """Folders on its pods that hold its checkpoints."""

    @cached_property
    def destinations(self) -> Destinations:
        """The local paths that its pulls write to."""
        return Destinations()

    @cached_property
    def expected(self) -> Destinations:
        """The local paths they will write to, as far as they are known without a pod, such as in a dry run."""
        return Destinations()

    def finish(self, *, required: bool) -> None:
        """Bring all parallel activities to their end; then raise the first of their errors."""
        errors: list[RemoteError | UsageError] = []
        while self.endings:
            try:
                self.endings.pop(0).finish(required=required)
            except (RemoteError, UsageError) as error:
                errors.append(error)
        if errors:
            raise errors[0]

    def close(self) -> None:
        """Give up the activities that still run."""
        for ending in self.endings:
            ending.close()
