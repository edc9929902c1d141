"""The bill: hourly charges of the platform, for pods that still exist and for those that are gone."""

from __future__ import annotations

from collections.abc import Mapping

from rpd.values.frozen import EMPTY, frozen

HOUR = 3600.0


@frozen
class PodBill:
    """The cost of one pod in the hour that began at ``start`` (s since 1970), in USD."""

    pod_id: str
    start: float
    compute_usd: float = 0.0
    """GPU or CPU."""
    disk_usd: float = 0.0

    @property
    def usd(self) -> float:
        """All of it."""
        return self.compute_usd + self.disk_usd


@frozen
class VolumeBill:
    """The cost of one network volume in the hour that began at ``start`` (s since 1970), in USD."""

    volume_id: str
    start: float
    usd: float = 0.0


@frozen
class Billing:
    """A bill for the hours from ``since`` until ``until`` (s since 1970, whole hours).

    ``others`` has the account's other charges (serverless, endpoints, clusters), in USD by name.
    """

    since: float
    until: float
    pods: tuple[PodBill, ...] = ()
    volumes: tuple[VolumeBill, ...] = ()
    others: Mapping[str, float] = EMPTY
